# `make` alone lists the targets. Everything runs in the checkout's own .venv, made when first needed.

VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test slow lint format golden ci clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## set up a bare machine, compile the example model and prove its C equal to the reference
	@scripts/setup.sh demo
	@$(BIN)/lnnc demo

test: ## set up and run the tests (the slow ones are `make slow`)
	@scripts/setup.sh test
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

slow: ## run the exhaustive tests
	@scripts/setup.sh test
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m slow

lint: ## check style, types and layers
	@scripts/setup.sh test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: ## rewrite the Python files in the house style
	@scripts/setup.sh test
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

golden: ## rewrite the expected outputs; review the diff before committing it
	@scripts/setup.sh test
	@$(BIN)/python -m pytest -q -n 0 --update-golden

ci: ## what has to pass before a change lands
	@.ci/run

clean: ## remove what builds and tests leave behind
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## remove the virtual environment too
	@rm -rf $(VENV)
