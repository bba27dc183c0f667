.PHONY: setup demo test check format bench serve build
BIN := .venv/bin
VIDEO ?=

setup:  ## install everything into .venv
	infra/setup.sh

demo:  ## index a rendered clip (or VIDEO=path), search it, write pictures
	$(BIN)/tubelet demo $(VIDEO)

test:  ## all tests, one process a core, each with one thread for arithmetic
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

check:  ## lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format:  ## rewrite files the way `make check` wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench:  ## every benchmark; see docs/benchmarks.md
	$(BIN)/python benchmarks/run_all.py

serve:  ## HTTP service on loopback
	$(BIN)/tubelet serve

build:  ## sdist and wheel into dist/
	$(BIN)/python -m build
