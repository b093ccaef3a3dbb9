# Two commands on a fresh machine: `make demo` and `make test`. Each makes .venv and installs what it needs.

VENV := .venv
BIN := $(VENV)/bin
ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c '$(ENOUGH)' 2>/dev/null && echo $$p && break; done)
DEMO := demo-out

# Tests of one file share what it compiles, so they stay in one process.
BY_FILE := -n auto --dist loadfile

# Hundreds of processes import the same modules: they are compiled once, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo sandbox test test-all test-oldest lint wheel-check stress build clean

demo: $(VENV)/core sandbox
	@echo '$$ aidl check examples/class/dora.py'
	@$(BIN)/aidl check examples/class/dora.py || [ $$? -eq 1 ]
	@echo
	@echo '$$ aidl grade examples/class --out $(DEMO)'
	@rm -rf $(DEMO)
	@if $(BIN)/aidl doctor >/dev/null; then $(BIN)/aidl grade examples/class --out $(DEMO); \
		else $(BIN)/aidl doctor | tail -2; echo "Some of these hand-ins are hostile: they are graded in a sandbox or not at all."; fi
	@echo
	@echo '$$ aidl train digits --out $(DEMO)-digits'
	@rm -rf $(DEMO)-digits
	@$(BIN)/aidl train digits --out $(DEMO)-digits

# What holds student code while it is graded (Linux): installed where that can be done, else how to do it.
sandbox:
	@[ "$$(uname)" != Linux ] || command -v bwrap >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap; } \
		>/dev/null 2>&1 || echo "For the sandbox: sudo apt-get install bubblewrap (or your distribution's package of that name)"

# XLA compiles without most of its optimizations here, in a tenth of the time less; with all of them below.
test: $(VENV)/dev sandbox
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest $(BY_FILE) --doctest-modules -m "not slow" tests aidl_jax

test-all: $(VENV)/dev sandbox
	$(BIN)/python -m pytest -n auto --doctest-modules tests aidl_jax

# The oldest supported JAX; a marked subset.
test-oldest: $(VENV)-oldest/dev
	$(VENV)-oldest/bin/python -m pytest $(BY_FILE) -m "oldest and not slow" tests

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/aidl build --check

# The wheel in a clean environment, used from outside the checkout.
wheel-check: $(VENV)/dev
	bash tests/wheel_check.sh $(BIN)/python

# A training run killed at a hundred moments, and resumed; a hundred thousand damaged functions: minutes.
stress: $(VENV)/dev sandbox
	AIDL_KILLS=100 $(BIN)/python -m pytest -n auto -k killed_again tests/train/test_checkpoints.py
	AIDL_MUTATIONS=100000 $(BIN)/python -m pytest -n auto -k mutated tests/redteam

build: $(VENV)/core
	$(BIN)/aidl build

clean:
	rm -rf $(VENV) $(VENV)-oldest $(DEMO) $(DEMO)-digits dist

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed and was not found. Run: sudo apt-get install python3" >&2; exit 1; fi
	@$(PYTHON) -c '$(ENOUGH)' || { echo "$(PYTHON) is older than 3.11. Run: make PYTHON=/path/to/a/newer/python" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv. Run: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/core: $(VENV)/bin/python pyproject.toml constraints/newest.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/newest.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/newest.txt -e '.[dev]'
	@touch $@

$(VENV)-oldest/dev: $(VENV)/bin/python pyproject.toml constraints/oldest.txt
	$(BIN)/python -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet --disable-pip-version-check -c constraints/oldest.txt -e '.[dev]'
	@touch $@
