# Two commands on a fresh machine: `make demo` shows the loop, `make test` proves it.
# Both set everything up by themselves: uv into .tools/, packages from uv.lock into .venv/.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Processes that the tests are run by; a file stays in one, so that its servers start once.
JOBS ?= 2
LOCAL_UV := .tools/uv/bin/uv
UV ?= $(shell command -v uv || echo $(LOCAL_UV))
BIN := .venv/bin
SYNCED := .venv/.synced
CODE := src features validation training registry packaging serving monitoring flows examples bench tests

# uv uses the Python that is here and fetches no other.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := .venv
# One thread a library unless a step asks for more: two cores are easily oversubscribed.
export OMP_NUM_THREADS ?= 2

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(LOCAL_UV): config/bootstrap.txt
	@echo "installing uv into .tools/"
	@rm -rf .tools/uv
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --target .tools/uv -r config/bootstrap.txt
	@touch $@

$(SYNCED): uv.lock pyproject.toml $(filter $(LOCAL_UV),$(UV))
	@echo "installing packages from uv.lock into .venv/"
	@# Compiled once here, since every process would compile every vendor again.
	@$(UV) sync --quiet --locked --all-extras --no-extra torch --compile-bytecode --python $(PYTHON)
	@touch $@

.PHONY: setup
setup: $(SYNCED) ## Install everything, from the hash-locked lock file

.PHONY: browser
browser:
	@command -v chromium >/dev/null || { echo "installing chromium for the browser tests"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1; } \
	  || echo "chromium cannot be installed here: THE BROWSER TESTS WILL SKIP"

.PHONY: demo
demo: setup ## Show the whole loop on the flights of 2013
	@$(BIN)/baton demo

.PHONY: check
check: setup ## Lint, types and import contracts
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/ruff format --quiet --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo || $(BIN)/lint-imports

.PHONY: test
test: setup browser ## Run the tests, but for the long ones
	@$(BIN)/pytest -m "not long" -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: test-long
test-long: setup browser ## Run the tests that take minutes
	@$(BIN)/pytest -m long -n $(JOBS)
	@$(MAKE) --no-print-directory test-torch

.PHONY: test-torch
test-torch: $(filter $(LOCAL_UV),$(UV)) ## Run the tests of the torch trainer in an environment of their own
	@UV_PROJECT_ENVIRONMENT=.venv-torch $(UV) sync --quiet --locked --extra pipeline --extra serving --extra torch --python $(PYTHON)
	@.venv-torch/bin/pytest -m torch tests/training

.PHONY: format
format: setup ## Format the code and mend what lint can mend
	@$(BIN)/ruff check --quiet --fix $(CODE) || true
	@$(BIN)/ruff format --quiet $(CODE)

.PHONY: schema
schema: setup ## Write the JSON Schema of model.yaml and its reference page
	@$(BIN)/baton schema --out docs/reference/model.schema.json
	@$(BIN)/baton schema --markdown --out docs/reference/model-yaml.md

.PHONY: up
up: setup ## Start MLflow, Prefect and the service on loopback, until Ctrl-C
	@$(BIN)/baton up --project examples/flights

.PHONY: down
down: setup ## Stop what `make up` started
	@$(BIN)/baton down

.PHONY: bench-loop
bench-loop: setup ## Time the loop beside a bare script, with the monthly AUC (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/loop.py

.PHONY: bench-batching
bench-batching: setup ## Compare batching with plain BentoML and FastAPI (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/batching.py

.PHONY: clean
clean: ## Remove state and caches, keep packages
	@rm -rf .baton .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist

.PHONY: bench-data bench-corruption
bench-corruption: setup ## Plant faults in real days, and land 200 clean ones (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/corruption.py

bench-data: setup ## Check a million rows of fifty columns, beside Great Expectations on pandas (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/data.py

.PHONY: bench-gate bench-sequence bench-slices bench-ledger
bench-gate: setup ## Simulate the gate: false promotions, power, clustered rows (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/gate.py

bench-sequence: setup ## Simulate thirty retrainings in a row (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/sequence.py

bench-slices: setup ## Simulate slices that drop and slices that do not (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/slices.py

bench-ledger: setup ## Write the ledger from many processes that are killed and stopped, and check its history (JSON=1)
	@JSON=$(JSON) $(BIN)/python bench/ledger.py

# What the serving benchmarks compare with, and what sends their load; nothing else needs either.
.PHONY: peers
peers: setup
	@$(UV) sync --quiet --locked --all-extras --no-extra torch --group bench --python $(PYTHON)
	@command -v wrk >/dev/null || { echo "installing wrk for the benchmarks"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk; } >/dev/null 2>&1; } \
	  || { echo "wrk cannot be installed here: the benchmark needs it"; exit 1; }

.PHONY: bench-features bench-online bench-skew bench-serving bench-overload bench-swap bench-canary bench-modalities bench-fuzz
bench-serving: peers ## Compare the service with five others, one core each (JSON=1 for machines)
	@JSON=$(JSON) PLOT=$(PLOT) $(BIN)/python bench/serving.py

bench-overload: peers ## Ask a heavy model for twice what it can do, in an open loop (JSON=1 for machines)
	@JSON=$(JSON) PLOT=$(PLOT) $(BIN)/python bench/overload.py

bench-swap: setup ## Swap the champion a thousand times under load (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/swap.py

bench-canary: setup ## Simulate rollouts: false promotions, false roll-backs, time to find errors (JSON=1)
	@JSON=$(JSON) $(BIN)/python bench/canary.py

bench-modalities: setup ## Score the same rows over REST, v2, in batch and as a stream (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/modalities.py

bench-features: peers ## Join 1,000,000 rows with 10,000,000 values, beside polars and Feast's stores (JSON=1)
	@JSON=$(JSON) $(BIN)/python -W ignore bench/features.py

bench-online: setup ## Read 100 entities from Redis and SQLite, while they are filled and while Redis hangs (JSON=1)
	@JSON=$(JSON) $(BIN)/python -W ignore bench/online.py

bench-skew: setup ## Plant time-zone, unit, null, boundary and staleness faults, and have them named (JSON=1)
	@JSON=$(JSON) $(BIN)/python -W ignore bench/skew.py

bench-fuzz: setup ## Send the service 100,000 generated requests (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/fuzz.py

.PHONY: bench-extraction bench-size
bench-extraction: setup ## Copy a model by asking it, with and without the service's limits (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python -W ignore bench/extraction.py

bench-size: setup ## Install the serving extra by itself and weigh it (JSON=1 for machines, MOST=300 to fail above)
	@JSON=$(JSON) MOST=$(MOST) UV=$(UV) $(BIN)/python bench/size.py

.PHONY: bench-parity bench-tamper
bench-parity: setup ## Compare sealed models with the trained ones, row by row (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/parity.py

bench-tamper: setup ## Tamper with sealed bundles in every way and count what is accepted (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/tamper.py

.PHONY: bench-drift

.PHONY: bench-drift bench-delay

.PHONY: bench-drift bench-delay bench-estimate
bench-drift: peers ## Simulate drift: false retrainings, faults found, ten million rows, beside others (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/drift.py

bench-delay: setup ## Measure models by late labels, weighted and as they come, against all labels (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/delay.py

bench-estimate: setup ## Estimate performance without labels, and see what labels then say (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/estimate.py

.PHONY: bench-image
bench-image: setup ## Make the serving image twice from the locked wheels (JSON=1 for machines)
	@JSON=$(JSON) $(BIN)/python bench/image.py
