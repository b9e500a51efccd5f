# What one can do, in the order of the loop. `make run` and `make test` work in a fresh clone.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV ?= .venv
PY := $(VENV)/bin/python

# Your own decision log takes the data set's place: LOG=folder OBJECTIVES=objectives.yaml RULES=promotion.yaml.
LOG ?=
OBJECTIVES ?=
RULES ?=
DATASET ?= $(if $(LOG),,simulated-messaging)
DATA ?=
# One learner, or several with commas: all are judged on one log, at most one is promoted.
LEARNER ?=
SEED ?= 0
# The policy's name in the registry: the data set's, if nothing is said; needed where several policies are registered.
NAME ?=
RUNS ?= runs
REGISTRY ?= mlflow+sqlite:///$(RUNS)/mlflow.db
HOST ?=
# The training window: what the newest run prepared.
REFERENCE ?= $(shell ls -dt $(RUNS)/*/prepare/prepared 2>/dev/null | head -1)

export PYTHONUNBUFFERED = 1
export MLFLOW_DISABLE_TELEMETRY = true
export DO_NOT_TRACK = true
export RAY_USAGE_STATS_ENABLED = 0
# Bytecode is kept wherever this runs: a run and the tests are many processes, and each would compile anew what it imports.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help setup run loop serve monitor test check format bench images manifests crds compile lock docs clean

help: ## Show what one can do
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nVariables: DATASET (simulated-messaging, open-bandit, hillstrom, heartsteps, starbucks), DATA (your copy of it), LEARNER, SEED, REGISTRY, NAME, HOST;\nyour own log: LOG, OBJECTIVES, RULES\n'

##@ The loop
setup: ## Create the environment in .venv from the hashed lock (other targets do it when needed)
	@test -n "$(PYTHON)" || { echo 'python3.11 == not found, must be on the PATH. Install Python 3.11 or 3.12.' >&2; exit 1; }
	@$(PYTHON) requirements/install.py --venv $(VENV)

run: setup ## Prepare, train, evaluate, gate and register on one machine, and say what came out
	@$(PY) -m pipelines.run $(if $(DATASET),--dataset $(DATASET)) $(if $(DATA),--data "$(DATA)") $(if $(LOG),--log "$(LOG)") \
		$(if $(OBJECTIVES),--objectives "$(OBJECTIVES)") $(if $(RULES),--rules "$(RULES)") $(if $(LEARNER),--learner "$(LEARNER)") \
		--registry "$(REGISTRY)" --out "$(RUNS)" --seed $(SEED) $(if $(NAME),--name "$(NAME)") $(if $(HOST),--host "$(HOST)")

loop: setup ## The whole story: train, serve, decide over HTTP, drift, alert, retrain
	@$(PY) -m examples.closed_loop --dataset $(DATASET) $(if $(DATA),--data "$(DATA)") --out "$(RUNS)/loop-$(DATASET)" --seed $(SEED)

serve: setup ## Serve the registry's champion: POST /v1/decide on http://127.0.0.1:8000
	@HOMING_REGISTRY="$${HOMING_REGISTRY:-$(REGISTRY)}" HOMING_POLICY_NAME="$${HOMING_POLICY_NAME:-$(NAME)}" \
		HOMING_LOG_DIR="$${HOMING_LOG_DIR:-$(RUNS)/serving/log}" \
		HOMING_LEDGER="$${HOMING_LEDGER:-$(RUNS)/serving/ledger.db}" $(PY) -m serving.ray_app

monitor: setup ## Compare the served decisions with the training window; on an alert, retrain once
	@test -n "$(REFERENCE)" || { echo 'REFERENCE == not set, must be the prepared folder of a training run. Run: make run' >&2; exit 1; }
	@$(PY) -m monitoring.drift --reference "$(REFERENCE)" --registry "$(REGISTRY)" $(if $(NAME),--name "$(NAME)") --current "$${HOMING_LOG_DIR:-$(RUNS)/serving/log}" \
		--workspace "$(RUNS)/evidently" --out "$(RUNS)/drift" --trigger local -- --registry "$(REGISTRY)"

##@ Quality
test: setup ## All tests, as continuous integration runs them
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy
	@$(PY) -m pytest -m "not slow" -q -n auto && $(PY) -m pytest -m slow --durations=10

check: setup ## Lint, types and the quick tests (under three minutes)
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy
	@$(PY) -m pytest -m "not slow" -q -n auto

format: setup ## Format the code and fix what the linter can
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix .

bench: setup ## Benchmarks: ratios against a named peer in one run
	@$(PYTHON) requirements/install.py --profile peers --venv .venv-peers --no-project
	@$(PYTHON) requirements/install.py --profile peers-experiments --venv .venv-peers-experiments --no-project
	@set -e; for bench in benchmarks/*/run.py; do echo "● $${bench%/run.py}"; name=$${bench%.py}; \
		if [[ $$name == *_gpu/run ]] && ! nvidia-smi -L >/dev/null 2>&1; then echo 'left out: no GPU'; continue; fi; \
		$(PY) -m "$${name//\//.}"; done

##@ Platform
compile: setup ## Compile the pipelines to pipelines/compiled/
	@$(PY) -m pipelines.compile

manifests: setup ## Render every kustomize overlay and validate it against its schemas, offline
	@$(PY) manifests/validate.py

crds: setup ## Fetch the custom resource definitions that `make manifests` validates against (needs a network)
	@$(PY) manifests/fetch_crds.py

images: setup ## Build the images; without a container engine, check them: lint, clean install, entry point
	@$(PY) images/check.py

docs: setup ## Write the parts of the documentation that commands produce
	@$(PY) docs/generate.py

lock: setup ## Resolve the locks anew from pyproject.toml
	@bash requirements/lock.sh

clean: ## Remove the environment and what runs left behind
	rm -rf $(VENV) .venv-peers .venv-peers-experiments $(RUNS) dist .pytest_cache .mypy_cache .ruff_cache
