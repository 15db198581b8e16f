# Every target does its own set-up in .venv: all it needs is python3 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-long check fix docs bench soak gpu-test clean

help:  ## list what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]' \
		--group test --group lint --group docs --group bench
	@touch $@

demo: $(READY)  ## make a slow training run, say why it is slow, mend it, compare
	$(BIN)/wellfed demo

test: check  ## everything that is checked: walls, style, types, tests
	$(BIN)/python -m pytest -m "not long"

test-long: $(READY)  ## the tests left out of `test`, which measure for longer
	$(BIN)/python -m pytest -m long

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(READY)  ## let the tools mend what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## build the documentation, warnings are errors
	$(BIN)/mkdocs build --strict

bench: $(READY)  ## measure what the README claims
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/engine.py --write

soak: $(READY)  ## load for minutes while workers are killed and plans change: each byte is checked
	$(BIN)/python benchmarks/soak.py --batches 70000 --write

gpu-test: $(READY)  ## the tests that need an accelerator
	$(BIN)/python -m pytest -m gpu tests/gpu

clean:  ## remove all that was made
	rm -rf $(VENV) build dist site demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -prune -exec rm -rf {} +
