# make book and make test do all their own set-up on a fresh clone; Python 3.11 to 3.13, git and make are enough.

PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export PYTHONHASHSEED ?= 0

.PHONY: setup book notebooks test lint clean

setup: .venv/.installed

.venv/.installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "segmix needs Python 3.11 to 3.13: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

book: setup
	$(BIN)/python -m segmix_core.publish build --scale demo

notebooks: setup
	$(BIN)/python -m segmix_core.publish pair

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -n 2 --dist loadfile tests
	$(BIN)/pytest -n 2 --dist loadfile --nbval notebooks

clean:
	rm -rf _build data/cache data/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis
