# Every command a person types. Recipes only call the programs that do the work; `make help` lists the targets.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Arguments for kv-local, such as ARGS="--nodes 5 --dir /tmp/cluster".
ARGS ?=
# Seeds of the simulator that `make soak` goes through.
SEEDS ?= 0..200000

.DEFAULT_GOAL := help

.PHONY: help
help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Builds all programs: kv-node, kvctl, kv-local and those of the tests
	$(CARGO) build --workspace --bins --locked

.PHONY: demo
demo: build ## Shows election, copies, failover and recovery on a real ZooKeeper and three nodes, in two minutes
	$(TARGET)/debug/kv-local demo $(ARGS)

.PHONY: shell
shell: build ## Starts ZooKeeper and one node, and a shell on them (more nodes: ARGS="--nodes 3")
	$(TARGET)/debug/kv-local $(ARGS)

# One build for all: it makes the programs too, since their packages have tests of programs.
.PHONY: test
test: lint ## Runs everything: lints, unit tests, the simulator, storage, real processes with a real ZooKeeper
	$(CARGO) test --workspace --locked

.PHONY: test-fast
test-fast: ## Runs the tests that start no servers
	$(CARGO) test --workspace --locked --lib --bins

.PHONY: lint
lint: ## Checks formatting, compiler warnings and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

.PHONY: bench
bench: ## Measures puts and gets at 1, 64 and 256 in flight on three local nodes, built for speed
	$(CARGO) build --workspace --bins --locked --release
	$(TARGET)/release/kv-local --nodes 3 --no-proxies $(ARGS) exec local/bench.sh

.PHONY: soak
soak: ## Runs the simulator over many seeds (SEEDS=0..200000)
	$(CARGO) run --release --locked --package kv-simulator --bin kv-sim -- --seeds $(SEEDS)

.PHONY: clean
clean: ## Removes what was built, and the fetched ZooKeeper
	$(CARGO) clean
	rm -rf .cache
