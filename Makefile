# Everything a newcomer types. Each target first installs what is missing beyond Rust, and says so before; in a terminal it
# asks. WATERSHED_INSTALL=no installs nothing and prints what to type. CARGO_TARGET_DIR is honoured.

# Where rustup puts cargo; a shell that was open before does not know it yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help demo test simulate mutations lint bench instructions fresh

help: ## shows this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 22

demo: ## counts the words of a real text, is killed twice on the way, and proves every count
	@scripts/setup.sh
	@scripts/demo.sh

test: ## runs all tests, those in the documentation included
	@scripts/setup.sh rocksdb
	@scripts/rocksdb.sh
	cargo test --workspace

SEEDS ?= 10000
FIRST_SEED ?= 0
# Say `ROCKSDB=1` for state in memory in one life of the process and in RocksDB in another.
ROCKSDB ?=

simulate: ## runs SEEDS=10000 seeds from FIRST_SEED=0 on over the project's topologies, with all that can go wrong
	@scripts/setup.sh rocksdb
	@scripts/rocksdb.sh
	@cargo test --quiet --test simulate -- --seeds $(SEEDS) --first $(FIRST_SEED) $(if $(ROCKSDB),--rocksdb)

mutations: ## puts bugs into the engine, one after the other, and looks whether the simulator finds them with MUTATION_SEEDS=5000
	@scripts/setup.sh rocksdb
	@scripts/rocksdb.sh
	@cargo test --quiet --test simulate -- --bugs --seeds $(or $(MUTATION_SEEDS),5000)

lint: ## checks format, clippy and documentation, and takes no warning
	@scripts/setup.sh rustfmt clippy rocksdb
	@scripts/rocksdb.sh
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p watershed-cli --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

bench: ## measures all workloads, or ROWS="W1 W2", against the programs in PEERS; table and plot go to benches/results/
	@scripts/setup.sh rocksdb
	@scripts/rocksdb.sh
	cargo build --release -p watershed-bench --bins
	@$${CARGO_TARGET_DIR:-target}/release/suite $(ROWS)

instructions: ## counts the instructions of single-threaded pieces, and takes no jump of more than 10 %
	@scripts/setup.sh valgrind
	cargo build --profile demo --no-default-features -p watershed-bench --bin pieces --bin instructions
	@$${CARGO_TARGET_DIR:-target}/demo/instructions $(ARGS)

fresh: ## runs `make demo` and `make test`, or TARGETS=demo, in a bare Debian as root and as a user with sudo, or WHO=root or WHO=newcomer
	@scripts/setup.sh fresh
	@TARGETS="$(TARGETS)" scripts/fresh.sh $(WHO)
