# Every target works alone on a machine that has make and Python 3.11 or newer; nothing outside this folder is changed.
# The virtual environment is .venv; stamp files inside it say what is installed, so that nothing is installed twice.

# Interpreters to try, best known name first. Name your own with: make run PYTHON=/path/to/python3
PYTHON ?= python3 python3.13 python3.12 python3.11 python3.14 python

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# pip asks for the whole output of a build only when it fails; progress bars only clutter a log.
PIP_INSTALL := $(PIP) install --quiet --progress-bar off

# Many tests wait for machines and other processes, so more of them than cores run side by side. One by one: WORKERS=0
WORKERS ?= 4

SEEDS ?= 100

.DEFAULT_GOAL := help
.PHONY: help run demo test lint sim bench schema docs lock clean
.DELETE_ON_ERROR:

help: ## list these targets
	@echo "Tallygate: launch batch jobs under budgets that cannot be broken."
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-14s %s\n", $$1, $$2 }'

run: $(VENV)/.core ## install the core and take a short tour with real jobs on this machine
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/tour.sh

demo: $(VENV)/.sim ## watch a simulated month of a small team on three clouds; no account is needed
	@$(BIN)/tallygate demo --again

test: $(VENV)/.dev ## install what the tests need and run them all
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.dev ## check style, format, types and the dependency rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

sim: $(VENV)/.dev ## run the whole system in a pretend world with faults; SEEDS=1000 for longer
	@$(BIN)/tallygate simulate --seeds $(SEEDS)

bench: $(VENV)/.dev ## measure; every figure is a ratio between two ways, side by side in one run
	@$(BIN)/python -m bench

schema: $(VENV)/.dev ## write the schema snapshots from the migrations
	@$(BIN)/python schema/snapshot.py

docs: $(VENV)/.dev ## write the documents that are generated from the code
	@$(BIN)/python docs/generate.py

lock: $(VENV)/.lock ## write requirements.lock again: every dependency with its hashes, no download address
	$(BIN)/uv pip compile pyproject.toml --extra all --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet --output-file requirements.lock

clean: ## remove .venv, caches and build results; the database and the state of jobs stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the virtual environment

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo "Installing Tallygate and its core into $(VENV) ..."
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.sim: pyproject.toml | $(BIN)/python
	@echo "Installing Tallygate with what the pretend world needs into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[sim]'
	@touch $@ $(VENV)/.core

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing Tallygate with everything that the tests need into $(VENV) ..."
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.core $(VENV)/.sim

$(VENV)/.lock: | $(BIN)/python
	@$(PIP_INSTALL) uv
	@touch $@

# sqlite3 3.37 brought STRICT tables; Debian ships ensurepip apart, in python3-venv.
$(BIN)/python:
	@for python in $(PYTHON); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			found="$$python"; \
			if "$$python" -c 'import ensurepip, sqlite3, sys, venv; sys.exit(sqlite3.sqlite_version_info < (3, 37))' 2>/dev/null; then \
				echo "Creating $(VENV) with $$("$$python" --version) ($$python)"; \
				exec "$$python" -m venv --clear $(VENV); \
			fi; \
		fi; \
	done; \
	if [ -n "$$found" ]; then \
		echo "$$("$$found" --version) was found, but without venv, ensurepip or SQLite 3.37. Install its venv package (Debian: python3-venv)." >&2; \
	else \
		echo "Tallygate needs Python 3.11 or newer, and none of these is: $(PYTHON). Install one, or name it: make run PYTHON=/path/to/python3" >&2; \
	fi; \
	exit 1
