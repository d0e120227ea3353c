# What a newcomer needs: `make demo` to see it work, `make test` before a change is handed in.
# Both set up what they need on Debian and Ubuntu, and say what is missing elsewhere.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
DEMO_VAULT ?= demo-vault
BENCH ?=
TIME ?= 60
FUZZ ?=

.PHONY: help demo build test bench bench-peers bench-stages fuzz lint clean setup-build setup-postgres setup-docker setup-python setup-faults setup-browser

help: ## Say what can be made
	@echo "barkeep keeps your market bars, and the rest of the trading database."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-postgres setup-build ## Dump, verify, restore, compare and check a trading database, start to end
	@echo "build: cargo build --profile demo (several minutes the first time; make build makes the fast program)"
	@$(CARGO) build --profile demo --locked
	@echo "demo: running barkeep demo into ./$(DEMO_VAULT)"
	@if "$(CARGO_TARGET_DIR)/demo/barkeep" demo --vault "$(DEMO_VAULT)"; then \
		echo "demo: OK, the vault is ./$(DEMO_VAULT); try: target/demo/barkeep --vault $(DEMO_VAULT) list"; \
	else status=$$?; echo "demo: FAILED with exit code $$status (docs/exit-codes.md)" >&2; exit $$status; fi

build: setup-build ## Build the program for use, optimised in full: target/release/barkeep
	@echo "build: cargo build --release (a quarter of an hour the first time)"
	@$(CARGO) build --release --locked

test: setup-build setup-postgres setup-docker setup-python setup-faults setup-browser ## Run every test, with Docker, PostgreSQL and the Parquet readers
	@scripts/test.sh

bench: setup-build setup-postgres ## Measure barkeep and its peers against the goals, in one table
	@echo "bench: close other programs, the numbers are this machine's (for flags: make bench BENCH='--rows 2000000')"
	@mkdir -p "$(CARGO_TARGET_DIR)/bench"
	@$(CARGO) bench --locked --bench table -- --json "$(CARGO_TARGET_DIR)/bench/table.json" \
		--svg "$(CARGO_TARGET_DIR)/bench/table.svg" $(BENCH)

bench-peers: ## Install the other programs that make bench runs
	@scripts/bench-peers.sh

bench-stages: setup-build setup-docker ## Measure each stage by itself, and TimescaleDB
	@$(CARGO) bench --locked --bench codec
	@$(CARGO) bench --locked --bench timescale

fuzz: setup-build ## Fuzz each decoder for TIME seconds (60), or those in FUZZ (make fuzz TIME=600 FUZZ='copy tap')
	@TIME="$(TIME)" FUZZ="$(FUZZ)" scripts/fuzz.sh

lint: setup-build ## Formatting, clippy, docs and licences; any warning is an error
	@echo "lint: cargo fmt --check"
	@$(CARGO) fmt --all --check
	@echo "lint: cargo clippy"
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	@echo "lint: cargo fmt --check and clippy of the fuzz targets"
	@$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	@$(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml -- -D warnings
	@echo "lint: cargo doc"
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	@scripts/lint-deps.sh
	@scripts/lint-shell.sh
	@echo "lint: OK"

clean: ## Remove what was built, and the demo's vault
	@echo "clean: removing $(CARGO_TARGET_DIR) and ./$(DEMO_VAULT)"
	@$(CARGO) clean --quiet
	@rm -rf "$(CARGO_TARGET_DIR)/venv" "$(CARGO_TARGET_DIR)/regress" "$(CARGO_TARGET_DIR)/image" "$(CARGO_TARGET_DIR)/peers" "$(DEMO_VAULT)"

setup-build setup-postgres setup-docker setup-python setup-faults setup-browser:
	@scripts/$@.sh
