#!/usr/bin/env bash
# Gradescope runs this once, when it builds the container: Python, this package in an environment of its own, the sandbox.
set -euo pipefail
root=${AIDL_AUTOGRADER:-/autograder}
export DEBIAN_FRONTEND=noninteractive

find_python() {
  for name in python3 python3.13 python3.12 python3.11; do
    if "$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  return 1
}

apt-get update -qq
apt-get install -y -qq --no-install-recommends bubblewrap || echo "bubblewrap could not be installed: there will be no sandbox"
find_python >/dev/null || apt-get install -y -qq python3.12 python3.12-venv || apt-get install -y -qq python3.11 python3.11-venv
python=$(find_python) || { echo "Python 3.11 or newer is needed: choose a newer base image" >&2; exit 1; }
"$python" -m venv "$root/venv"
"$root/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/source/constraints.txt" "$root"/source/aidl_jax-*.whl
