# Every command a person types. Recipes only call the programs that do the work; `make help` lists the targets.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Arguments for kv-local, such as ARGS="--nodes 5 --dir /tmp/cluster", and for kv-sim, such as ARGS="--threads 1".
ARGS ?=
# How long soak (60), chaos (10) and each fuzzer (1) go on, in minutes.
MINUTES ?=
# What `make soak` goes through: from the seed FIRST on (a random one by default), or the seeds SEEDS=A..B.
FIRST ?=
SEEDS ?=
# The first seed of `make chaos` (drawn if empty).
SEED ?=

# Images are IMAGE_PREFIX/kv-node:TAG and IMAGE_PREFIX/kv-operator:TAG.
IMAGE_PREFIX ?= kvcluster
TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# What builds them: the first of these that is there.
BUILDER ?= $(firstword $(foreach program,buildah podman docker,$(shell command -v $(program))))
# Programs of images are static: they have nothing beside them.
PLATFORM ?= $(shell rustc -vV | sed -n 's/^host: //p')
# Names of suites, and --skip NAME.
SUITES ?=
# The one of `make kube-up`, if none is installed.
HELM ?= $(or $(shell command -v helm),.cache/kubernetes/bin/helm)

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

# Suites on Kubernetes that fit into the quarter of an hour of `make test`.
SHORT_SUITES := faults lifecycle rolling resources

# One build for all: it makes the programs too, since their packages have tests of programs. What Kubernetes needs is made beside the
# tests that don't need it; but not its suites: what else a machine does is part of what others measure.
.PHONY: test
test: lint ## Runs everything: lints, unit tests, the simulator, storage, real processes with a real ZooKeeper, Kubernetes (not all)
	$(CARGO) test --workspace --locked --no-run --lib --bins --tests --test kubernetes
	{ test -n "$$KUBECONFIG" || nice -n 19 $(KUBE) prepare > $(TARGET)/kube-prepare.log 2>&1; } & \
	$(CARGO) test --workspace --locked --no-fail-fast; code=$$?; wait; exit $$code
	$(MAKE) --no-print-directory kube-test SUITES="$(SHORT_SUITES)"

.PHONY: test-rest
test-rest: ## Runs what `make test` has no time for: the other suites on Kubernetes
	$(MAKE) --no-print-directory kube-test SUITES="$(addprefix --skip ,$(SHORT_SUITES))"

# Three at a time, of those that don't need the cluster for themselves.
.PHONY: kube-test
kube-test: ## Runs the suites on Kubernetes alone (SUITES="drains rest"; KV_KUBERNETES_FULL=1: at their full extent)
	$(CARGO) test --workspace --locked --test kubernetes --no-run
	$(CARGO) test --workspace --locked --test kubernetes -- --nocapture --test-threads 3 $(SUITES); code=$$?; $(KUBE) down && exit $$code

.PHONY: test-fast
test-fast: ## Runs the tests that start no servers
	$(CARGO) test --workspace --locked --lib --bins

.PHONY: lint
lint: ## Checks formatting, compiler warnings and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --test kubernetes --locked -- -D warnings

.PHONY: bench
bench: bench-build ## Measures this store, etcd and ZooKeeper side by side (Go, Java; an hour and a half; ARGS="--systems kv,etcd --workloads put,get")
	$(TARGET)/release/kv-bench run --json $(TARGET)/kv-bench.json $(ARGS)

.PHONY: profile
profile: bench-build ## Says which functions take the processor time of puts and gets at 256 in flight (perf; ARGS="--workloads put --seconds 20")
	$(TARGET)/release/kv-bench profile $(ARGS)

# A release build has the names of functions and the lines of code (Cargo.toml).
.PHONY: bench-build
bench-build:
	$(CARGO) build --locked --release --package kv-node --package kv-bench --bins

KV_SIM := $(CARGO) run --profile soak --locked --package kv-simulator --bin kv-sim --

.PHONY: soak
soak: ## Runs the simulator on all cores: MINUTES=60 from a random seed or FIRST=N on, or SEEDS=0..200000
	$(KV_SIM) $(if $(SEEDS),--seeds $(SEEDS),--minutes $(or $(MINUTES),60) $(if $(FIRST),--first $(FIRST))) $(ARGS)

.PHONY: mutants
mutants: ## Breaks each rule of the protocol in the simulator, and writes to docs/mutants.md how soon that is found
	$(KV_SIM) --mutants --write docs/mutants.md $(ARGS)

.PHONY: chaos
chaos: ## Disturbs clusters of real processes at random, and judges what clients were told (MINUTES=10 SEED=… ARGS="--only kill,wipe")
	$(CARGO) build --locked --package kv-node --package kv-client --package kv-chaos --bins
	$(TARGET)/debug/kv-chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) --dir $(TARGET)/kv-chaos --json $(TARGET)/kv-chaos.json $(ARGS)

# What `cargo fuzz` passes on stable Rust. No sanitizer: our code has nothing unsafe for it to watch.
FUZZ_FLAGS := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1
FUZZ_TARGET := $(abspath $(TARGET))/fuzz
KV_FUZZ = $(TARGET)/debug/kv-fuzz $(1) $(FUZZ_TARGET)/$(PLATFORM)/release $(abspath $(TARGET))

# The platform is named, so that what only runs while it is built is not instrumented.
.PHONY: fuzz-build
fuzz-build:
	cd fuzz && CARGO_TARGET_DIR=$(FUZZ_TARGET) RUSTFLAGS='$(FUZZ_FLAGS)' $(CARGO) build --locked --release --target $(PLATFORM)
	$(CARGO) build --locked --package kv-corpus --bin kv-fuzz

.PHONY: fuzz
fuzz: fuzz-build ## Hands every decoder inputs that reach more and more of its code (MINUTES=1 each; C++ compiler; ARGS="--jobs 2 log_segments")
	$(call KV_FUZZ,run) --minutes $(or $(MINUTES),1) $(ARGS)

.PHONY: fuzz-corpus
fuzz-corpus: fuzz-build ## Chooses anew what fuzz/corpus keeps: real encodings, and what `make fuzz` has found to reach more code
	$(call KV_FUZZ,gather)
	KV_CORPUS_WRITE=1 $(CARGO) test --locked --package kv-types --package kv-storage --package kv-cluster --package kv-node --lib fuzz
	$(call KV_FUZZ,merge)

.PHONY: faults
faults: ## Lets the power fail at every write and every call of a volume fail, instead of at a sample
	KV_STORAGE_FULL=1 $(CARGO) test --locked --package kv-storage --test faults -- --nocapture

KUBE := $(TARGET)/debug/kv-kube

.PHONY: kube-up
kube-up: build ## Starts a real Kubernetes of three machines on this one, with our images (Linux, root, Go; the first time builds for ten minutes)
	$(KUBE) up

.PHONY: kube-demo
kube-demo: build ## The same, then installs the operator, creates a store, uses it and kills its master
	$(KUBE) demo

.PHONY: kube-shell
kube-shell: ## A shell with kubectl and helm on the cluster of `make kube-up`
	$(KUBE) shell

.PHONY: kube-down
kube-down: ## Ends the cluster of `make kube-up`, with everything in it
	@test -x $(KUBE) || $(MAKE) build
	$(KUBE) down

.PHONY: images
images: ## Builds the images of the node and the operator with buildah, podman or docker (IMAGE_PREFIX=… TAG=… BUILDER=…)
	@test -n "$(BUILDER)" || { echo "none of buildah, podman and docker is installed: install one, or set BUILDER" >&2; exit 1; }
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --locked --release --target $(PLATFORM) \
		--bin kv-node --bin kvctl --bin kv-zookeeper-member --bin kv-operator \
		--package kv-node --package kv-client --package kv-zookeeper-member --package kv-operator
	mkdir -p $(TARGET)/images/node $(TARGET)/images/operator
	cd $(TARGET)/$(PLATFORM)/release && install --strip --target-directory $(abspath $(TARGET))/images/node kv-node kvctl kv-zookeeper-member
	cd $(TARGET)/$(PLATFORM)/release && install --strip --target-directory $(abspath $(TARGET))/images/operator kv-operator
	$(BUILDER) build --build-arg VERSION=$(TAG) --tag $(IMAGE_PREFIX)/kv-node:$(TAG) --file images/node/Containerfile $(TARGET)/images/node
	$(BUILDER) build --build-arg VERSION=$(TAG) --tag $(IMAGE_PREFIX)/kv-operator:$(TAG) --file images/operator/Containerfile $(TARGET)/images/operator

# Each is made whole before it replaces the old one.
.PHONY: manifests
manifests: ## Writes the generated files anew: the CRD, install.yaml and docs/resource-reference.md
	$(CARGO) build --locked --package kv-operator --bin kv-operator
	mkdir -p $(TARGET)/manifests
	$(TARGET)/debug/kv-operator crd > $(TARGET)/manifests/crd.yaml
	$(TARGET)/debug/kv-operator reference > $(TARGET)/manifests/resource-reference.md
	cp $(TARGET)/manifests/crd.yaml manifests/crd.yaml
	cp $(TARGET)/manifests/crd.yaml charts/kv-operator/files/crd.yaml
	cp $(TARGET)/manifests/resource-reference.md docs/resource-reference.md
	$(HELM) template kv charts/kv-operator --namespace kv-system --kube-version 1.33 > $(TARGET)/manifests/chart.yaml
	cat manifests/namespace.yaml $(TARGET)/manifests/chart.yaml > manifests/install.yaml

.PHONY: clean
clean: ## Removes what was built, and the fetched ZooKeeper
	@test ! -x $(KUBE) || $(KUBE) down
	$(CARGO) clean
	rm -rf .cache
