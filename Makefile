# make demo: see it work.  make test: every check that a change must pass.  Both install all they need into .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints.txt
# The build's own dependencies are held by the same file; which of the two names pip reads depends on its age.
PIP_INSTALL := PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS) $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-all test-oldest check clean

demo: $(VENV)/installed
	$(BIN)/elmo demo

# One process of tests a core, each on one thread: threads that share cores wait for each other.
PYTEST := -m pytest -q -n logical --maxprocesses 8
test test-all test-oldest: export OMP_NUM_THREADS := 1

test: check
	$(BIN)/python $(PYTEST) --durations=10

test-all: check
	$(BIN)/python $(PYTEST) --durations=20 -m ""

# The lowest version of every dependency; all of them have wheels for Python 3.11.
test-oldest:
	$(MAKE) VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt PYTHON=python3.11 .venv-oldest/installed-dev
	.venv-oldest/bin/python $(PYTEST) --durations=10

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
		|| { echo "elmokit needs Python 3.11 to 3.14, and '$(PYTHON)' is not one: make PYTHON=python3.12 …" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(PIP_INSTALL) -e '.[dev]'
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) .venv-oldest build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
