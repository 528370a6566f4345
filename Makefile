# make study                                  the study of params.yaml, at first the simulated demo
# make study STUDY=open RAW=/my/downloads     another study file of studies/, on real images
# make study STAGE=task@my_task               only this stage of dvc.yaml, and what it needs
# make check-data STUDY=open RAW=/my/downloads   which of its data are there, counted and opened; QUICK=1 only counts
# make plan STUDY=paper DEVICES=8              what a study will cost: runs, disk, memory, time
# make verify STUDY=open                      whether a committed report is what its predictions give
# make verify RETRAIN=1                       the same by computing the whole study again, in a clone
# make test                                   the tests
# make lint                                   style, and that imports go one way
# make lab                                    JupyterLab on this machine alone; FLAGS="--no-browser" are passed on
#
# Without STUDY= all these mean the study of params.yaml.
PYTHON ?= python3
STUDY ?=
STAGE ?=
RAW ?=
QUICK ?=
DEVICES ?=
RETRAIN ?=
FLAGS ?=
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

GOALS := help study check-data plan verify test lint lab lock
.PHONY: $(GOALS)
.DEFAULT_GOAL := help

# A misspelt word would run whatever params.yaml holds, for hours.
KNOWN := PYTHON STUDY STAGE RAW QUICK DEVICES RETRAIN FLAGS PATH DVC_NO_ANALYTICS MAKEFLAGS
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command line,$(origin $(name))),$(name)))
upper = $(shell echo $(1) | tr a-z A-Z)
spelt = $(if $(filter $(KNOWN),$(call upper,$(1))),$(call upper,$(1))=$($(1)),one of $(foreach name,$(wordlist 1,8,$(KNOWN)),$(name)=))
goal = $(if $(wildcard studies/$(1).yaml),make study STUDY=$(1),one of $(GOALS))
$(foreach name,$(filter-out $(KNOWN),$(GIVEN)),$(error Stopped: '$(name)=' is not known here; type $(call spelt,$(name))))
$(foreach word,$(filter-out $(GOALS) .venv/installed,$(MAKECMDGOALS)),$(error Stopped: '$(word)' is not known here; type $(call goal,$(word))))

help:
	@sed -n '/^PYTHON/q; s/^# \{0,1\}//p' Makefile

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
	@python -m radlib.run study --study "$(STUDY)" --raw "$(RAW)" --stage "$(STAGE)"

check-data: .venv/installed
	@python -m radlib.run check-data --study "$(STUDY)" --raw "$(RAW)" $(if $(filter-out 0 no,$(QUICK)),--quick)

plan: .venv/installed
	@python -m radlib.run plan --study "$(STUDY)" $(if $(DEVICES),--devices $(DEVICES))

verify: .venv/installed
	@python -m radlib.run verify --study "$(STUDY)" $(if $(filter-out 0 no,$(RETRAIN)),--retrain)

test: .venv/installed
	python -m pytest

lint: .venv/installed
	ruff check .
	ruff format --check .
	@lint-imports --no-logo --no-cache
	@find radlib -name '*.py' | xargs cat | wc -l | xargs echo "Lines of library:"

# The whole repository can be opened, notebooks/ is shown first. Jupyter wants root, whom containers are, to say so.
lab: .venv/installed
	jupyter lab --ip=127.0.0.1 --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(FLAGS)

# After changing pyproject.toml: pin everything again, for Linux and macOS alike.
lock: .venv/installed
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--all-extras pyproject.toml -o requirements.lock
