# Every target sets up what it needs in .venv; the machine needs Python (3.10 to 3.13) and make.
# PYTHON=python3.12 chooses the interpreter; ARGS="-k softmax -x" is handed on to pytest or to the program that runs.

PYTHON ?= python3
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help demo test test-peers lint types examples docs bench clean
.DEFAULT_GOAL := help
# keep stamps that are only intermediate
.SECONDARY:

help:
	@echo "make demo | test | test-peers | lint | types | examples | docs | bench | clean"

# A stamp per extra: installed once, and again when pyproject.toml changes.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "graphloss needs Python 3.10 or newer")'
	@echo "== setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.extra-%: pyproject.toml $(VENV)/.made
	@echo "== installing graphloss[$*]"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: $(VENV)/.extra-demo
	$(BIN)/python examples/digits.py $(ARGS)

test: $(VENV)/.extra-test
	$(BIN)/python -m pytest $(ARGS)

test-peers: $(VENV)/.extra-peers
	$(BIN)/python -m pytest tests/peers $(ARGS)

lint: $(VENV)/.extra-dev
	$(BIN)/ruff check .

types: $(VENV)/.extra-dev
	$(BIN)/mypy

examples: $(VENV)/.extra-demo
	@set -e; for program in examples/*.py; do echo "== $$program"; $(BIN)/python -W error $$program $(ARGS); done

docs: $(VENV)/.extra-docs
	$(BIN)/mkdocs build --quiet --strict --config-file .ci/mkdocs.yml

bench: $(VENV)/.extra-bench
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis examples/output
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
