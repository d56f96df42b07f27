# Needs Python 3.11+ and make, nothing else. Each target makes its own .venv from the lock on first use.
#   make demo    a simulated fleet, a fault, and the healing of it      make bench   figures, one JSON object per claim
#   make test    all tests; absent services are named and counted       make lock    requirements/*.txt from pyproject.toml
#   make unit    those without services and whole stories: two minutes  make docs    pages that are made from the code
#   make check   format, lint, types, layers, then make test
.DEFAULT_GOAL := help
.PHONY: help demo test unit check lint types layers coverage bench lock docs picture clean

# The first that starts and is new enough: a name on PATH may be a stub that only says where Python is not.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
# .types/sliceward links to this folder: with it on the path, sliceward.* is found also where nothing is installed.
export PYTHONPATH := $(CURDIR)/.types
RUN := .venv/bin/python
PURE := topology detectors scheduling playbooks
ARGS ?=
JOBS ?= $(if $(ARGS),0,2)

help:
	@sed -n '2,5s/^# *//p' Makefile

.venv: .venv/.locked .venv/.installed

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "sliceward needs Python 3.11 or newer: install it, or name it with PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.locked: requirements/dev.txt | .venv/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@touch $@

.venv/.installed: pyproject.toml .venv/.locked
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv
	@.venv/bin/sliceward demo $(ARGS)

# Two of the groups of tests/conftest.py run beside each other; more starve the flows, which wait for real clocks. ARGS: in one process.
# In CI (CI=true, or SLICEWARD_NO_SKIPS=1 anywhere) a skipped test is a failure, and so is a pure folder below 95 % of branches.
test: .venv
	$(RUN) -m pytest --numprocesses=$(JOBS) $(if $(CI)$(SLICEWARD_NO_SKIPS)$(COVERAGE),$(PURE:%=--cov=sliceward.%) --cov-report=json:.coverage.json) $(ARGS)
	$(if $(CI)$(SLICEWARD_NO_SKIPS)$(COVERAGE),$(RUN) tests/coverage_by_folder.py .coverage.json 95 $(PURE))

unit: .venv
	env -u CI -u SLICEWARD_NO_SKIPS SLICEWARD_SERVICES=none $(RUN) -m pytest --numprocesses=logical --dist=loadfile \
	  --ignore=tests/flows --ignore=tests/fuzz --ignore=tests/virtual $(ARGS)

lint: .venv
	.venv/bin/ruff format --check --quiet .
	.venv/bin/ruff check --quiet .
	.venv/bin/ruff check --quiet --config ruff-pure.toml $(PURE) remediations

types: .venv
	$(RUN) -m mypy

layers: .venv
	.venv/bin/lint-imports

check: lint types layers
	$(MAKE) --no-print-directory test

bench: .venv
	$(RUN) benchmarks/run.py $(ARGS)

docs: .venv
	$(RUN) docs/make.py $(ARGS)
	$(RUN) -m benchmarks.pictures $(ARGS)

picture: .venv
	$(RUN) -m benchmarks.page

EXTRAS := dev agent watcher coordinator workload demo
# dev first: it holds all, and the others follow its versions. No address of a registry is written.
lock: .venv
	for extra in $(EXTRAS); do \
	  $(RUN) -m uv pip compile pyproject.toml --quiet --extra $$extra --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --no-annotate $(LOCK_ARGS) $$([ $$extra = dev ] || echo --constraint requirements/dev.txt) \
	    --output-file requirements/$$extra.txt || exit 1; \
	done

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.json
