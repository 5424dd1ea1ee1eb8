# Two commands do their own set-up: `make console` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: console test lint types imports check bench mutants clean

$(VENV)/.console: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xml-pipeline needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[console]'
	touch $@

$(VENV)/.dev: $(VENV)/.console
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

console: $(VENV)/.console
	JOURNAL="$${JOURNAL-state.db}" $(BIN)/python -m examples.console

test: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n auto

lint: $(VENV)/.dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

check: test lint types imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

mutants: $(VENV)/.dev
	$(BIN)/python -m tools.mutants $(ROOMS)

clean:
	rm -rf $(VENV) build dist *.egg-info state.db*
