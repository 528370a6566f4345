# make study                                  the simulated demo, fifteen to twenty minutes on two cores
# make study STUDY=open RAW=/my/downloads     another study file of studies/, on real images
# make check-data STUDY=open RAW=/my/downloads   which of its data are there, counted and opened; QUICK=1 only counts
# make plan STUDY=paper DEVICES=8              what a study will cost: runs, disk, memory, time
# make verify STUDY=open                      whether a committed report is what its predictions give; the demo by default
# make verify RETRAIN=1                       the same by computing the whole study again, in a clone
# make test                                   the tests
# make lab                                    JupyterLab on this machine alone
PYTHON ?= python3
STUDY ?=
RAW ?=
QUICK ?=
DEVICES ?=
RETRAIN ?=
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: study check-data plan verify test lint lab lock

# Packages are compiled once, here: where Python may not keep what it compiles (PYTHONDONTWRITEBYTECODE, usual in
# containers), every notebook would compile PyTorch again.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Stopped: Python 3.11 or newer is needed; name it, for example: make study PYTHON=python3.11"; exit 1; }
	@echo "Installing the pinned environment into .venv, once; several gigabytes unless they are cached."
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	.venv/bin/uv pip install --quiet --python .venv/bin/python --compile-bytecode --require-hashes -r requirements.lock
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	touch $@

study: .venv/installed
	@python -m radlib.pipeline choose --study "$(STUDY)" --raw "$(RAW)"
	dvc repro
	@python -m radlib.pipeline record

check-data: .venv/installed
	@python -m radlib.pipeline check-data --study "$(STUDY)" --raw "$(RAW)" $(if $(QUICK),--quick)

plan: .venv/installed
	@python -m radlib.pipeline plan --study "$(STUDY)" $(if $(DEVICES),--devices $(DEVICES))

verify: .venv/installed
	@python -m radlib.pipeline verify --study "$(STUDY)" $(if $(RETRAIN),--retrain)

test: .venv/installed
	python -m pytest

lint: .venv/installed
	ruff check .
	ruff format --check .

lab: .venv/installed
	jupyter lab --ip=127.0.0.1 notebooks

# After changing pyproject.toml: pin everything again, for Linux and macOS alike.
lock: .venv/installed
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--all-extras pyproject.toml -o requirements.lock
