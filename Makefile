# silicast: everything runs in an environment of its own, .venv.
#   make demo    real Gemma-3-270M on generated RTL
#   make test    lint, types, all tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROMPT ?= The capital of France is
TOKENS ?= 8
DESIGN ?= dense-int8

.PHONY: demo test lint unit rtl docs bench clean

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "silicast needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,test]'
	@touch $@

demo: $(STAMP)
	$(BIN)/silicast run gemma3-270m $(DESIGN) --prompt "$(PROMPT)" --tokens $(TOKENS)

test: lint unit rtl

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(STAMP)
	$(BIN)/python -m pytest tests

rtl: $(STAMP)
	$(BIN)/python -m pytest rtl_tests

docs: $(STAMP)
	$(BIN)/python -m mapping.isa_document
	$(BIN)/python -m designs.register_document
	$(BIN)/python -m designs.process_document
	$(BIN)/silicast fidelity -o docs/fidelity.md

bench: $(STAMP)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build sim_build *.egg-info
