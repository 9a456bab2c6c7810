# Slipway: every everyday command. `make` alone lists them.
SHELL := /bin/sh
BIN := .venv/bin
DEMO_READY := .venv/.ready-demo
DEV_READY := .venv/.ready-dev
LOCKED := uv.lock pyproject.toml $(wildcard containers/*/pyproject.toml) demo/bootstrap.sh
PYTEST := $(BIN)/pytest
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help demo up down status test test-all lint format bench requirements clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO_READY) ## play the chapters on the embedded stack (CHAPTERS=launch,… KEEP=1 leaves it running)
	@CHAPTERS="$(CHAPTERS)" KEEP="$(KEEP)" $(BIN)/python -m demo play

up: $(DEMO_READY) ## start the embedded stack: Airflow, MLflow, the AWS stand-in
	@$(BIN)/python -m demo up

down: ## stop every process of the embedded stack, also after a crash
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m demo down; else echo "Nothing to stop: the stack was never set up here."; fi

status: $(DEMO_READY) ## what of the embedded stack is running, and where
	@$(BIN)/python -m demo status || true

# Three parts: unit tests; those that share one stack; the rest, whose files each have servers of their own and often
# wait for them.
test: $(DEV_READY) ## all tests but the long ones
	@status=0; \
	$(PYTEST) -m "not long and not e2e and not integration" -n 2 --dist loadscope || status=1; \
	$(PYTEST) tests/e2e -m "not long" || status=1; \
	$(PYTEST) -m "integration and not e2e and not long" -n 3 --dist loadfile --no-loadscope-reorder || status=1; \
	exit $$status

test-all: $(DEV_READY) ## all tests
	@status=0; \
	$(PYTEST) -m "not long and not e2e and not integration" -n 2 --dist loadscope || status=1; \
	$(PYTEST) tests/e2e || status=1; \
	$(PYTEST) -m "(integration or long) and not e2e" -n 3 --dist loadfile --no-loadscope-reorder || status=1; \
	exit $$status

lint: $(DEV_READY) ## ruff, mypy, import contracts, service specs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy -p demo
	@$(BIN)/lint-imports
	@$(BIN)/slipway services validate

format: $(DEV_READY) ## let ruff fix and format what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(DEV_READY) ## list the benchmarks; make bench-NAME runs one
	@ls bench/*.py 2>/dev/null | sed -n 's|^bench/\([a-z][a-z0-9_]*\)\.py$$|  make bench-\1|p' | tr _ - || true

bench-%: $(DEV_READY)
	@test -f bench/$(subst -,_,$*).py || { echo "slipway: there is no benchmark $*; 'make bench' lists them."; exit 1; }
	@$(BIN)/python -m bench.$(subst -,_,$*)

requirements: $(DEV_READY) ## export requirements.txt (runtime only) and the trainer image's lock from uv.lock
	@PATH="$(CURDIR)/$(BIN):$$PATH" uv export --quiet --frozen --no-default-groups --no-hashes --no-emit-workspace --no-header --output-file requirements.txt
	@PATH="$(CURDIR)/$(BIN):$$PATH" uv export --quiet --frozen --no-default-groups --no-annotate --no-emit-workspace --no-header --package slipway-trainer --output-file containers/trainer/src/slipway_trainer/requirements.lock
	@echo "requirements.txt and containers/trainer/src/slipway_trainer/requirements.lock written"

clean: down ## remove what the stack and the tests wrote (var/), not .venv
	@rm -rf var

$(DEMO_READY): $(LOCKED)
	@sh demo/bootstrap.sh demo
	@touch $@

$(DEV_READY): $(LOCKED)
	@sh demo/bootstrap.sh dev
	@touch $(DEMO_READY) $@
