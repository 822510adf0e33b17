# The image factory. 'make help' lists what there is; 'make build' and 'make test' set up the checkout themselves.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build test test-all check bench chaos clean recipe-named

RECIPE ?=
TARGET ?=
ARGS ?=
ROUNDS ?=
SEED ?=
ONLY ?=
PYTEST := .venv/bin/python -m pytest

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## what the host needs, and .venv; under 2 s when all is there
	@scripts/setup

build: recipe-named setup ## a tested image: make build RECIPE=nginx [TARGET=mgc] [ARGS="--boot-test quick"]
	@.venv/bin/factory build $(RECIPE) $(if $(TARGET),--target $(TARGET)) $(ARGS)

recipe-named:
	@if [ -z "$(RECIPE)" ]; then echo "make build needs a recipe, such as: make build RECIPE=nginx" >&2; exit 2; fi

# What boots machines or counts seconds has the processors for itself; the others run side by side, many at once.
# With ARGS="-k ..." one of the two may have nothing to do (status 5).
BESIDE := not real or beside
NONE_IS_FINE = $(if $(ARGS),|| [ $$? -eq 5 ])

test: setup ## unit tests and real ones, with one complete build [ARGS="-k seed"]
	@$(PYTEST) -q -n auto -m "not slow and ($(BESIDE))" $(ARGS) $(NONE_IS_FINE)
	@$(PYTEST) -m "not slow and not ($(BESIDE))" $(ARGS) $(NONE_IS_FINE)

test-all: setup ## every real case: all recipes, Debian 11 and 13, ...
	@$(PYTEST) -q -n auto -m "not slow and ($(BESIDE))" $(ARGS) $(NONE_IS_FINE)
	@$(PYTEST) -m "slow or not ($(BESIDE))" $(ARGS) $(NONE_IS_FINE)

check: setup ## lint, types and unit tests; no virtual machine
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@if command -v shellcheck >/dev/null; then shellcheck scripts/* .ci/run; else echo "shellcheck is not installed: skipped"; fi
	@$(PYTEST) -q -n auto -m "not real and not slow" $(ARGS)

bench: setup ## measure it, beside Packer when that is installed [ROUNDS=3] [ONLY=cold,packer]
	@.venv/bin/python -m bench --rounds $(or $(ROUNDS),3) $(if $(ONLY),--only $(ONLY))

chaos: setup ## kill -9 at random moments of real builds, and look what is left [ROUNDS=20] [SEED=1]
	@.venv/bin/python -m tests.chaos --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED)) $(ARGS)

clean: ## remove .venv and what tools left here; out/ and the cache of bases stay
	@rm -rf .venv .setup.lock .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	@find factory tests -name __pycache__ -type d -prune -exec rm -rf {} +
