# Two commands do everything: `make drive` and `make test`. Each sets up .venv first; a second call starts at once.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SEED ?= 0

drive: .venv/ready  ## learn to drive from nothing, drive 250 m over ZeroMQ, write runs/demo/report.html
	$(BIN)/lapwing demo --seed $(SEED)

test: .venv/ready lint  ## contracts, style, types and the test suite, two files at a time
	$(BIN)/pytest --numprocesses 2 --dist loadfile

test-all: .venv/ready lint  ## also the slow proofs
	$(BIN)/pytest -m ""

fuzz: .venv/ready  ## a million damaged messages at a policy server, some minutes
	$(BIN)/python -m tests.fuzz

lint: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/basedpyright

bench: .venv/ready  ## install what the benchmarks compare with, and the public tasks
	$(BIN)/pip install --quiet --constraint requirements.lock --editable .[bench,tasks]
	$(BIN)/pip install --quiet --no-deps openpi-client==0.1.2  # asks for NumPy 1, runs on 2

lock:  ## write requirements.lock anew from the ranges in pyproject.toml
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet torch==2.13.0 --editable .[dev]
	.venv-lock/bin/pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock
	rm -rf .venv-lock

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

.PHONY: drive test test-all fuzz lint bench lock
