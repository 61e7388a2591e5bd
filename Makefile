# The recipes of this repository; CI runs the same ones (.ci/run). `make help` lists them.
#
# What is needed beyond cargo and a C compiler is fetched into the cache folder (FORETELL_CACHE, else
# $XDG_CACHE_HOME/foretell, else ~/.cache/foretell), pinned and checked. Where a tool is missing, the recipe
# says what to install.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The one profile that check and test share, so that dependencies are built once.
LOCKED := --workspace --locked

CACHE := $(or $(FORETELL_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/foretell)
INTEGRATION_PYTHON = $(CACHE)/tests-python/bin/python
TORCH_PYTHON = $(CACHE)/torch-python/bin/python
# The worker of the tests' profile.
WORKER = $(abspath $(or $(CARGO_TARGET_DIR),target))/debug/foretell

# $(call need,TOOL,WHAT FOR,DEBIAN PACKAGES)
define need
command -v $(1) >/dev/null || { echo "make: $(1) is missing; it is needed $(2). Debian: apt-get install $(3)" >&2; exit 1; }
endef

.PHONY: help
help: ## List the recipes
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 28

.PHONY: demo
demo: setup ## Forecast the sample data on an embedded broker; no JDK needed
	@cargo run --release --locked -- demo

.PHONY: test
test: setup setup-integration ## Run every test, on a real Kafka where one is needed
	@cargo test $(LOCKED)
	@python/test $(INTEGRATION_PYTHON) "$(WORKER)"

.PHONY: test-torch
test-torch: setup setup-integration ## Test the export from PyTorch, in an environment of its own (3 GB)
	@cargo build --locked
	@test -x $(TORCH_PYTHON) || python3 -m venv $(dir $(TORCH_PYTHON))..
	@$(TORCH_PYTHON) -m pip install -q --disable-pip-version-check -r integration-tests/python/requirements.txt -r demo/requirements-train.txt
	@python/test $(TORCH_PYTHON) "$(WORKER)"

.PHONY: check
check: tools ## Formatting, lints and documentation, warnings being errors
	@cargo fmt --all --check
	@cargo clippy $(LOCKED) --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --no-deps --document-private-items

.PHONY: deny
deny: tools ## Advisories, licences and sources of the dependencies
	@command -v cargo-deny >/dev/null || { echo "make: cargo-deny is missing. cargo install --locked cargo-deny" >&2; exit 1; }
	@cargo deny --locked --workspace check

.PHONY: bench
bench: setup setup-integration ## Measure, next to what the parts can do by themselves
	@cargo bench --locked --benches
	@cargo build --release --locked -p foretell
	@cargo run --release --locked -p integration-tests --bin bench

# What is run, as the campaign takes it: make chaos CHAOS="--rounds 3 leader-killed", CHAOS=--list
CHAOS ?=

.PHONY: chaos
chaos: setup setup-integration ## Strike workers and brokers with every fault there is (tens of minutes)
	@cargo build $(LOCKED) --bin foretell --bin chaos
	@$(dir $(WORKER))chaos $(CHAOS)

.PHONY: setup
setup: tools ## Fetch ONNX Runtime's library
	@echo "ONNX Runtime: $$(scripts/setup-onnxruntime)"

.PHONY: setup-integration
setup-integration: tools ## Fetch Kafka and what the oracles need
	@$(call need,javac,by Kafka and its Java client (17 or newer),default-jdk-headless)
	@$(call need,mvn,to fetch Kafka,maven)
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { echo "make: python3 has no venv or pip; the oracles are Python. Debian: apt-get install python3-venv python3-pip" >&2; exit 1; }
	@integration-tests/setup

.PHONY: tools
tools:
	@command -v cargo >/dev/null || { echo "make: cargo is missing. Install rustup from https://rustup.rs; it takes the version in rust-toolchain.toml" >&2; exit 1; }
	@$(call need,cc,to build librdkafka and OpenSSL,build-essential)
	@$(call need,c++,by the configure script of librdkafka,build-essential)
	@$(call need,perl,to configure OpenSSL,perl)
	@$(call need,python3,to fetch ONNX Runtime,python3 python3-pip python3-venv)
