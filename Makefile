# Everything a person or a pipeline does with claviger, by name. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint contract attack fuzz bench release untrained trained laid-out clean

# Outside the checkout, so that a clean one does not fetch the real servers again.
CACHE ?= $(or $(CLAVIGER_CACHE),$(HOME)/.cache/claviger)

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## Build and run the whole product on loopback, with nothing outside it
	@.ci/packages build
	cargo run --locked -- demo

test: lint ## Run every test that needs only the Rust toolchain and a C compiler
	cargo test --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

# First, because it answers soonest. The last three are not among `--all-targets`, because `cargo test` leaves them alone.
lint: ## Check format and lints
	@.ci/packages build
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test contract --test attack --test bench -- -D warnings

contract: ## Hold claviger against real Keycloak, SimpleSAMLphp, MinIO, Redis, Chromium and AWS's clients
	@.ci/packages build contract
	@tests/contract/counterparts "$(CACHE)"
	cargo test --locked --test contract -- "$(CACHE)"

attack: ## Try known attacks on the real binary, for ten minutes at most
	@.ci/packages build attack
	@tests/attack/counterparts "$(CACHE)"
	cargo test --locked --test attack -- "$(CACHE)"

# Of each target.
FUZZ_SECONDS ?= 60

fuzz: ## Fuzz every reader of hostile input, a minute each
	@.ci/packages build fuzz
	@tests/fuzz/run "$(CACHE)" "$(FUZZ_SECONDS)"

# More descriptors than usual: 10,000 connections are held at once.
bench: release ## Measure the release build beside nginx
	@.ci/packages build bench
	ulimit -n "$$(ulimit -Hn)"; cargo test --locked --test bench -- target/release/claviger

# Three times, with a training run before the second and the third: a build that knows which way requests go does a tenth
# more of them, and one whose code lies in the order in which it runs another twentieth. What reads and lays out has to be
# of the compiler's own LLVM; where it can't be had, the build is what comes before. The ciphers' assembly stays as it is.
LLVM := $(shell rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
PROFDATA = $$(command -v llvm-profdata-$(LLVM) || ls "$$(rustc --print sysroot)/lib/rustlib/$(HOST)/bin/llvm-profdata")
TRAINED := target/trained/$(HOST)/release/claviger

release: ## Build the release binary, optimised by profiles of it under load
	@LLVM=$(LLVM) .ci/packages build bench release || echo "Without the tools of LLVM $(LLVM): less optimised."
	@if [ -n "$(PROFDATA)" ]; then $(MAKE) trained; else $(MAKE) untrained; fi

untrained: ## Build the release binary as the compiler does it alone
	@.ci/packages build
	cargo build --locked --release

# The names of functions have the whole of the cargo profile in them, by which the training's are found again: both builds
# have the same.
trained:
	rm -rf target/trained/profile
	CARGO_PROFILE_RELEASE_STRIP=none RUSTFLAGS="-Cprofile-generate=$(CURDIR)/target/trained/profile" \
	    cargo build --locked --release --target $(HOST) --target-dir target/trained
	cargo test --locked --test bench -- --train $(TRAINED)
	"$(PROFDATA)" merge -o target/trained/claviger.profdata target/trained/profile
	CARGO_PROFILE_RELEASE_STRIP=none RUSTFLAGS="-Cprofile-use=$(CURDIR)/target/trained/claviger.profdata $(RELOCATABLE)" \
	    cargo build --locked --release --target $(HOST) --target-dir target/trained
	mkdir -p target/release
	if command -v llvm-bolt-$(LLVM); then $(MAKE) laid-out; else strip -o target/release/claviger $(TRAINED); fi

laid-out:
	rm -f target/trained/layout*
	llvm-bolt-$(LLVM) $(TRAINED) -o target/trained/counting $(UNTOUCHED) -instrument \
	    -instrumentation-file=$(CURDIR)/target/trained/layout -instrumentation-file-append-pid
	cargo test --locked --test bench -- --train target/trained/counting
	merge-fdata-$(LLVM) target/trained/layout.* -o target/trained/layout
	llvm-bolt-$(LLVM) $(TRAINED) -o target/release/claviger $(UNTOUCHED) -data=target/trained/layout -remove-symtab \
	    -reorder-blocks=ext-tsp -reorder-functions=cdsort -split-functions -split-all-cold -split-eh -icf
RELOCATABLE := -Clink-arg=-Wl,--emit-relocs
UNTOUCHED := -skip-funcs='aws_lc_.*'

clean: ## Remove what was built; the cache of real servers stays
	cargo clean
