# Alioth. `make help` lists the targets; settings of `make setup` are environment variables or arguments:
#   GPU=cuda | none      build for an NVIDIA card, or never; without it the machine decides
#   TORCH_INDEX=ADDRESS  package index to take PyTorch from
#   PYTHON=NAME          the Python to use
#   ARGS="…"             handed to `alioth serve` or to pytest
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup run test test-all check format docs faults eval corpus-test bench docker-test clean

BIN := .venv/bin
export GPU TORCH_INDEX PYTHON

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## make the environment in .venv (needs Python 3.11+, a C/C++ compiler and cmake)
	@python="$${PYTHON:-$$(scripts/find_python.sh)}" && "$$python" -m scripts.setup

run: setup ## start Alioth on this machine and print its address
	@$(BIN)/alioth serve $(ARGS)

check: setup-dev ## style, types and import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: setup-dev test-tools check ## everything that must be green
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-all: test faults corpus-test eval docker-test ## the tests, more kills, the evaluation files and sets, the containers

eval: setup-dev ## measure on the evaluation sets and rewrite docs/quality.md
	$(BIN)/python -m scripts.evaluate

corpus-test: setup-dev ## read the real files of the evaluation material, beside plain readers
	$(BIN)/python -m scripts.corpus_test $(ARGS)

faults: setup-dev test-tools ## kill the processes over 200 times, look what was lost, and rewrite docs/faults.md
	$(BIN)/python -m scripts.faults --real-embedder $(ARGS)

bench: setup-dev ## measure speed and rewrite docs/performance.md
	nice -n 5 $(BIN)/python -m bench

docs: setup-dev ## rewrite the generated pages of docs/
	$(BIN)/python -m scripts.gen_docs

format: setup-dev ## put the sources into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docker-test: ## build the image, start the services, ingest, ask, restart, ask again, stop
	scripts/docker_test.sh

clean: ## remove the environment and what tests left (compiled packages stay in the user's cache)
	rm -rf .venv build dist artifacts test-results *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: setup-dev test-tools
setup-dev:
	@python="$${PYTHON:-$$(scripts/find_python.sh)}" && "$$python" -m scripts.setup --dev

test-tools:
	@scripts/test_tools.sh
