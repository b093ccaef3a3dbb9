#!/usr/bin/env bash
# Builds the wheel, installs it in a clean environment and uses it from outside the checkout.
# Usage: tests/wheel_check.sh PYTHON
set -euo pipefail
python=$(realpath -s "$1")
here=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps -w "$work/wheel" "$here"
wheel=$(ls "$work"/wheel/*.whl)

if "$python" -m zipfile -l "$wheel" | grep -E 'solutions|BEGIN SOLUTION|tests/'; then
  echo "the wheel holds files that students must not have" >&2
  exit 1
fi

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$here/constraints/newest.txt" "$wheel"
cd "$work"
if grep -rl "BEGIN SOLUTION" venv/lib/python*/site-packages/aidl_jax --include='*.py' --include='*.ipynb' | grep -v exercise/source.py; then
  echo "an installed file holds a solution" >&2
  exit 1
fi
venv/bin/aidl --help >help.txt
venv/bin/aidl start ws
cd ws
../venv/bin/aidl >map.txt
set +e
../venv/bin/aidl check s02/linear_regression >check.txt
status=$?
set -e
cat check.txt
[ "$status" -eq 1 ] || { echo "an unsolved exercise should exit with 1, not $status" >&2; exit 1; }
grep -q "predict is still to be written" check.txt
echo "the wheel works from outside the checkout"
