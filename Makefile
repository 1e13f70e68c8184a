# make book | pdf | test | test-book | bench | lint | lock | clean | help
# Everything runs in .venv, which is made on first use. PYTHON=... chooses another interpreter.

PROFILE ?= demo
DATA ?=
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)
RUN := .venv/bin/python
STAMP := .venv/installed

.PHONY: help book pdf test test-book bench lint lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18
	@echo "  Variables:    PROFILE (smoke, demo, lfw, paper), DATA (your image folders), PYTHON"

book: $(STAMP) ## the paper with PROFILE, into _build/PROFILE/html/index.html
	@$(RUN) -m report book --profile "$(PROFILE)" $(if $(DATA),--data "$(DATA)")

pdf: $(STAMP) ## the same, and its PDF, which the book has anyway where Chromium is installed
	@$(RUN) -m report pdf --profile "$(PROFILE)" $(if $(DATA),--data "$(DATA)")

# Small networks gain nothing from more threads; a worker takes 1 GB of memory.
PYTEST := OMP_NUM_THREADS=1 $(RUN) -m pytest -n logical --maxprocesses 4

test: $(STAMP) ## all tests that need no browser and build no book, on all cores
	@$(PYTEST) -m "not book"

test-book: $(STAMP) ## the others; those in a browser where Chromium is installed
	@$(PYTEST) -m book

bench: $(STAMP) ## speed and accuracy beside other libraries, into _build/bench
	@$(RUN) -m benchmarks

lint: $(STAMP) ## style, common mistakes, types, and which package may import which
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && .venv/bin/lint-imports && $(RUN) -m pyright

lock: $(STAMP) ## requirements.lock and environment.yml from pyproject.toml
	@$(RUN) -m pip install -q uv
	@$(RUN) -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --all-extras --no-annotate --no-header pyproject.toml -o requirements.lock
	@$(RUN) .ci/conda_environment.py > environment.yml

clean: ## remove what was built, results too; keep .venv
	rm -rf _build

# Two makes at once: the second waits, then finds the stamp newer than the lock file and does nothing.
$(STAMP): requirements.lock pyproject.toml
	@mkdir -p _build && if command -v flock >/dev/null; then flock _build/.setup.lock $(MAKE) -s setup; else $(MAKE) -s setup; fi

.PHONY: setup
setup:
	@if [ -f $(STAMP) ] && [ $(STAMP) -nt requirements.lock ] && [ $(STAMP) -nt pyproject.toml ]; then exit 0; fi; set -e; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, but '$(PYTHON)' is not. Name another: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	echo "installing into .venv (once)"; \
	[ -x $(RUN) ] || $(PYTHON) -m venv .venv; \
	$(RUN) -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock; \
	$(RUN) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	touch $(STAMP)
