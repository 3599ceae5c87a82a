# One verb each. Needs nothing but make and Python 3.11 to 3.13 with its venv module; the rest is installed into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help install run demo test test-quick test-postgres test-browser test-live test-faults faults compat lint format types lock bench clean

# Any Python from 3.11 to 3.13 will do: the first of these that is one.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { command -v $$p; break; }; done)
PY := .venv/bin/python
WORKERS ?= 2
# Where many tests wait: for processes of their own, one after the other in each group, or for what never comes.
WAITING_WORKERS ?= 3

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t16

.venv/.run: requirements.txt scripts/install.sh
	@scripts/install.sh "$(PYTHON)" requirements.txt $@

.venv/.dev: requirements-dev.txt scripts/install.sh
	@scripts/install.sh "$(PYTHON)" requirements-dev.txt $@
	touch .venv/.run

install: .venv/.dev ## the environment for developing and testing

run: .venv/.run ## ss-tools alone: web server and workers, until Ctrl-C
	@exec $(PY) manage.py up

demo: ## two real Supersets with ss-tools in front of them, until Ctrl-C
	@test -n "$(PYTHON)" || { scripts/install.sh "" ""; exit 1; }
	exec "$(PYTHON)" -m environments.lab demo --prepare "$(MAKE) --no-print-directory .venv/.run"

test: .venv/.dev ## everything that CI runs, with the time of each part
	@scripts/chromium.sh
	scripts/test.sh

test-quick: .venv/.dev ## without Superset, on SQLite
	@$(PY) -m pytest -q -n $(WAITING_WORKERS) --dist loadgroup

test-postgres: .venv/.dev ## what depends on the database, on PostgreSQL 16
	@SSTOOLS_TEST_DATABASE=postgres $(PY) -m pytest -q -n $(WORKERS) --dist loadgroup -m "both_databases and not live and not browser"

test-browser: .venv/.dev ## pages in a headless Chromium
	@$(PY) -m pytest -q -n $(WORKERS) --dist loadgroup -m "browser and not live"

test-live: .venv/.dev ## against real Supersets, which the tests start themselves
	@$(PY) -m pytest -q -n $(WAITING_WORKERS) --dist loadgroup -m "live and not faults"

test-faults: .venv/.dev ## one dashboard, with a fault at every request of its migration; SSTOOLS_TEST_FAULTS=all for every fault there is
	@$(PY) -m pytest -q -n $(WAITING_WORKERS) --dist loadgroup -m faults tests/faults

faults: .venv/.dev ## every fault everywhere, over the nine example dashboards; hours. ARGS="--write --stop-after 60 --resume"
	@$(PY) -m tests.faults $(ARGS)

compat: .venv/.dev ## from every Superset release to every other, into docs/versions.md; hours. ARGS="--resume"
	@$(PY) -m tests.compat $(ARGS)

lint: .venv/.dev ## style, types, forgotten migrations; all of them, also after the first that complains
	@failed=0
	$(PY) -m ruff format --check --quiet . || failed=1
	$(PY) -m ruff check --quiet . || failed=1
	$(PY) -m mypy || failed=1
	$(PY) manage.py makemigrations --check --dry-run --verbosity 0 || failed=1
	$(PY) manage.py check --fail-level WARNING || failed=1
	exit $$failed

format: .venv/.dev ## put the code in shape
	@$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: .venv/.dev ## measures all, or parts: ARGS="estate search"; ARGS=--quick tries it out. Writes docs/benchmarks.md
	@$(PY) -m tests.bench $(ARGS)

lock: .venv/.dev ## compile the lock files: hashes, and no address of any index
	@$(PY) -m pip install --quiet "uv>=0.5,<1"
	compile() { $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links "$$1.in" -o "$$1.txt" $${UPGRADE:+--upgrade}; }
	compile requirements
	compile requirements-dev

clean: ## forget the environment and the data of this checkout
	@rm -rf .venv var
