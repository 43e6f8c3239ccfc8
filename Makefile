# Everything here installs what it needs, once, into .venv. Only Python 3.11 or newer and make are assumed.

PYTHON  ?= python3
WORKERS ?= 2

VENV := .venv
BIN  := $(VENV)/bin

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow figures proofs bench lint clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do printf '  make %-10s %s\n' "$$name" "$$what"; done
	@echo "  Options: PYTHON=python3.12 (makes $(VENV), now $(PYTHON)), WORKERS=8 (test processes, now $(WORKERS))"

demo: $(VENV)/.installed-run ## collapse, and what prevents it, on real images in a minute: results, verdicts, figure
	@$(BIN)/python -m experiments.dae_weight_norm --preset demo

test: $(VENV)/.installed-test ## the test suite
	@$(BIN)/python -m pytest -n $(WORKERS)

test-slow: $(VENV)/.installed-test ## the long statistical tests, with the rates they measure
	@$(BIN)/python -m pytest -n $(WORKERS) -m slow -rP

figures: $(VENV)/.installed-run ## redraw every figure from saved results
	@$(BIN)/python -m figures

proofs: $(VENV)/.installed-test ## check the results by symbolic and certified computation
	@$(BIN)/python -m proofs_check

bench: $(VENV)/.installed-run ## time the samplers and the theory
	@$(BIN)/python -m benchmarks

lint: $(VENV)/.installed-dev ## ruff and pyright
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/pyright

clean: ## remove the environment, caches and build files; results stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .jax_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of dependencies, so that nothing is installed twice; a larger set contains the smaller ones.
$(VENV)/.installed-run:  EXTRAS :=
$(VENV)/.installed-run:  SETS := run
$(VENV)/.installed-test: EXTRAS := [test,proofs]
$(VENV)/.installed-test: SETS := run test
$(VENV)/.installed-dev:  EXTRAS := [dev]
$(VENV)/.installed-dev:  SETS := run test dev

$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing collapse_jax$(EXTRAS) into $(VENV) (up to a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".$(EXTRAS)"
	@touch $(SETS:%=$(VENV)/.installed-%)

# --clear: what is there without an interpreter is the rest of an attempt that failed.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "collapse_jax needs Python 3.11 or newer; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 | tail -n 1). Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "Could not create $(VENV). On Debian and Ubuntu the module venv is a package of its own: apt-get install python3-venv" >&2; \
	  exit 1; }
