# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
# Your own pip options go into PIP_ARGS (a mirror, an offline folder, a CPU-only torch):
#     make demo PIP_ARGS="--no-index --find-links wheels/"
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
BIN := $(VENV)/bin
WORKERS ?= 2
# The workers share the cores: torch's threads would wait for each other.
ONE_THREAD := OMP_NUM_THREADS=1
NO_CARGO := cargo is not installed: the Rust trainer is left out. Nothing needs it; Python learns the same merges, slower.
RUST_BUILD = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) ./rustbpe && touch $(VENV)/.rust

.DEFAULT_GOAL := help
.PHONY: help setup demo lessons test rust check lint prove generate clean

help:  ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1|/' | awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.learn $(VENV)/.rust  ## the virtual environment, for learners

demo: $(VENV)/.learn $(VENV)/.rust  ## everything that exists so far, on real text, before your eyes
	@$(BIN)/mini-nanochat demo $(ARGS)

lessons: $(VENV)/.learn $(VENV)/.rust  ## JupyterLab in your workspace
	@$(BIN)/mini-nanochat lesson

test: $(VENV)/.dev $(VENV)/.rust  ## everything CI runs
	@$(MAKE) --no-print-directory lint
	@$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q
	@$(MAKE) --no-print-directory rust

rust: $(VENV)/.dev  ## build the Rust trainer and run its tests, where cargo is installed
	@if command -v cargo >/dev/null 2>&1; then \
	  $(RUST_BUILD) && \
	  (cd rustbpe && cargo test --release --quiet) && \
	  (cd rustbpe && "$(abspath $(BIN))/python" -m pytest -q -p no:cacheprovider); \
	else \
	  echo "$(NO_CARGO)"; \
	fi

check: $(VENV)/.dev  ## lint, types, house rules and the fast tests: a few minutes
	@$(MAKE) --no-print-directory lint
	@$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q -m "not slow"

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/codespell README.md CONTRIBUTING.md docs examples lessons mini_nanochat tests tools

prove: $(VENV)/.dev  ## the whole proof of every lesson's graders, of which `make test` runs the quick part
	@$(ONE_THREAD) $(BIN)/python -m mini_nanochat.course.prove

generate: $(VENV)/.dev  ## rewrite what is generated: maps, indexes, notebook heads and feet
	@$(BIN)/python tools/generate.py
	@$(BIN)/python tools/notebooks/normalise.py

clean:  ## remove the environment and caches (never your workspace)
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis

# A stamp a set of packages: the second run of any target is quick.
$(VENV)/.learn: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "mini_nanochat needs Python 3.10 or newer; this is " + sys.version.split()[0] + ". Say which one to use: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (the first time this takes some minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS) -e ".[learn]"
	@touch $@

$(VENV)/.dev: $(VENV)/.learn
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS) -e ".[dev]"
	@touch $@

# Built again when its sources change. Where it can't be built that is said, and nothing else stops.
$(VENV)/.rust: $(VENV)/.learn $(wildcard rustbpe/src/*.rs) rustbpe/Cargo.toml rustbpe/pyproject.toml
	@if ! command -v cargo >/dev/null 2>&1; then echo "$(NO_CARGO)"; \
	else echo "Building the Rust trainer (half a minute the first time) ..."; \
	  $(RUST_BUILD) || echo "The Rust trainer could not be built (see above): Python does its work, slower."; \
	fi
