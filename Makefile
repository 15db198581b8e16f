# Every target does its own set-up in .venv: all it needs is python3 and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-long check fix docs docs-pictures bench soak gpu-test clean

help:  ## list what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]' \
		--group test --group lint --group docs --group bench
	@touch $@

demo: $(READY)  ## make a slow training run, say why it is slow, mend it, compare
	$(BIN)/wellfed demo

test: check  ## everything that is checked: walls, style, types, tests
	$(MAKE) --no-print-directory -j2 --output-sync=target test-parts test-whole

# Side by side: the whole programs mostly wait for processes to start.
.PHONY: test-parts test-whole
test-parts:
	$(BIN)/python -m pytest -m "not long" tests/unit tests/property tests/contract tests/golden tests/gpu \
		tests/browser tests/e2e/test_engine_[f-z]*.py
test-whole:
	$(BIN)/python -m pytest -m "not long" -p no:cacheprovider tests/e2e \
		--ignore-glob='*test_engine_[f-z]*'

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

docs-pictures: $(READY)  ## take the documentation's pictures anew, from a run of the demo
	$(BIN)/python docs/pictures/make_pictures.py

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
