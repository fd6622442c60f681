# `make demo` and `make test` do everything on a fresh Debian 12 machine, as root.

.DEFAULT_GOAL := help
SHELL := /bin/bash
SOURCE ?= source
DEMO ?=
export SOURCE

.PHONY: help
help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup:  ## Debian packages, .venv, machine images: whatever is missing
	@scripts/setup

.PHONY: demo
demo:  ## build the bundle, start three machines, make them a platform; SOURCE=upstream DEMO=services
	@scripts/demo "$(SOURCE)" $(DEMO)

.PHONY: test
test:  ## everything that must pass: lint, types, unit, molecule, lab
	@scripts/test

.PHONY: soak
soak:  ## what takes longer: kills at many moments, faults, benchmarks
	@scripts/soak

.PHONY: lint
lint: setup  ## ruff, yamllint, shellcheck, ansible-lint
	@scripts/lint

.PHONY: types
types: setup  ## mypy
	@.venv/bin/mypy

.PHONY: unit
unit: setup  ## unit tests, with this machine's Python
	@.venv/bin/pytest --numprocesses auto

.PHONY: molecule
molecule: setup  ## every role's scenario
	@scripts/molecule test

.PHONY: docs
docs: setup  ## the documentation, into public/
	@scripts/docs

.PHONY: lock
lock:  ## take newer versions of the dependencies into requirements/
	@scripts/lock --upgrade

.PHONY: clean
clean:  ## remove the lab, the environment and everything built here; caches stay
	@scripts/clean

.PHONY: clean-cache
clean-cache: clean  ## remove the caches too (bundle, Go, machine images)
	@scripts/clean --cache
