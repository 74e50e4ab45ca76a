# The contributor's verbs. Everything runs in .venv, filled from the lock files (hashes checked).
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
PACKAGES := activator gateway testbed scripts benchmarks
CHECKED := $(wildcard $(PACKAGES)) tests

.PHONY: help install demo testbed-demo test test-real world soak fuzz openapi audit check docs manifests constraints bench clean

help:  ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.dev  ## Make .venv with exactly the locked packages, and wakegate itself

$(VENV)/.runtime: constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$$($(PYTHON) --version) is too old: wakegate needs Python 3.11 or newer" >&2; exit 2; }
	@echo "installing the locked packages into $(VENV) (once, about half a minute)"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r constraints.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime constraints-dev.txt pyproject.toml
	$(PIP) install --require-hashes -r constraints-dev.txt
	$(PIP) --quiet install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.openapi: $(VENV)/.dev constraints-openapi.txt
	$(PIP) install --require-hashes -r constraints-openapi.txt
	@touch $@

$(VENV)/.audit: $(VENV)/.dev constraints-audit.txt
	$(PIP) install --require-hashes -r constraints-audit.txt
	@touch $@

demo: $(VENV)/.runtime  ## See 0 -> 5 -> 0 in a minute: embedded Kafka, local processes, no cluster
	$(BIN)/python -m activator demo

testbed-demo: install  ## The same on a real Kafka and a real API server (needs Java, Maven and Go)
	$(BIN)/python -m testbed demo

test: install  ## All tests that need nothing but Python
	$(BIN)/python -m pytest -q -m "not real" -n 3 --dist worksteal

test-real: install  ## The tests on a real Kafka, API server, HPA controller and Jaeger
	$(BIN)/python -m testbed build
	$(BIN)/python -m pytest -q -m real

soak: install  ## 500 faults on real parts, about an hour; SOAK="--seed 7 --faults 50 --minutes 10" for less
	$(BIN)/python -m testbed build kafka control-plane
	$(BIN)/python -m testbed.soak $(SOAK)

world: install  ## 200 seeded worlds on two processes, 50 of them also with triggers that name no topic; WORLD="--seeds 10000 --jobs 2 --coverage" before a release
	$(BIN)/python -m tests.world --seeds 200 --jobs 2 $(WORLD)
	$(BIN)/python -m tests.world --seeds 50 --jobs 2 --topicless $(WORLD)

fuzz: install  ## The gateway's codec against whatever may come, for five minutes; FUZZ="--seconds 60" for less
	$(BIN)/python -m tests.gateway.cloudevents.fuzz $(FUZZ)

openapi: $(VENV)/.openapi  ## Schemathesis: a running gateway against its OpenAPI document, for a minute or two
	$(BIN)/python -m tests.gateway.openapi_run $(OPENAPI)

audit: $(VENV)/.audit  ## Known vulnerabilities of the locked packages, by PyPI's advisories: needs the internet
	$(BIN)/python -m scripts.audit --answer-needed $(AUDIT)

check: $(VENV)/.audit  ## Lint, types, layers, generated files fresh, and the audit where its service answers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m scripts.generate_docs --check
	$(BIN)/python -m scripts.generate_chart --check
	@if command -v kubectl >/dev/null; then $(BIN)/python -m scripts.render_manifests --check; \
		else echo "kubectl is missing: whether manifests/rendered is fresh was not checked"; fi
	$(BIN)/python -m scripts.audit

docs: install  ## Write the generated references below docs/, and what of the chart is made from elsewhere
	$(BIN)/python -m scripts.generate_docs
	$(BIN)/python -m scripts.generate_chart

LOCK = $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --upgrade

manifests: install  ## Render the overlays below manifests/rendered/ (needs kubectl)
	$(BIN)/python -m scripts.render_manifests

constraints: install  ## Lock the newest allowed versions with their hashes
	$(LOCK) --output-file constraints.txt pyproject.toml
	$(LOCK) --extra dev --constraint constraints.txt --output-file constraints-dev.txt pyproject.toml
	$(LOCK) --extra openapi --constraint constraints-dev.txt --output-file constraints-openapi.txt pyproject.toml
	$(LOCK) --extra audit --constraint constraints-dev.txt --output-file constraints-audit.txt pyproject.toml

bench: install  ## Benchmarks on the real parts; each measures its floor in the same run
	$(BIN)/python -m benchmarks all

clean:  ## Remove what the other verbs made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis artifacts build *.egg-info
