# One-line targets. CI calls the same ones. `make setup PYTHON=python3.12` picks another interpreter.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# What the demo runs: make demo STAGES="a1 a2".
STAGES ?= a1
READY := $(VENV)/.ready
# Jupyter asks for this in a container, where everybody is root.
ROOT_FLAG := $(if $(filter 0,$(shell id -u)),--allow-root)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: setup demo test test-all test-browser pictures test-postgres lint build check-generated docs lab data bench clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt utils/preflight.sh
	@bash utils/preflight.sh "$(PYTHON)"
	@test -x $(PY) || "$(PYTHON)" -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[lab,grade,cluster,postgres,docs,dev]"
	@$(PY) -m ipykernel install --sys-prefix --name python3 >/dev/null
	@touch $@
	@echo "ready: $(VENV); try 'make demo' or 'make lab'"

demo: setup
	@$(PY) -m dlcvgrade demo $(STAGES)

test: setup
	@$(PY) -m pytest -n 2 -m "not slow and not browser and not postgres and not gpu"

# Notebooks at full length have both processors for themselves.
test-all: setup
	@$(PY) -m pytest -n 2 -k "not full_length"
	@$(PY) -m pytest -k full_length

test-browser: setup
	@$(PY) -m pytest -m browser

# The pictures of the README and the docs are what the browser saw.
pictures: test-browser
	@cp build/screenshots/check.png build/screenshots/formgrader.png docs/images/

test-postgres: setup
	@$(PY) -m pytest -m postgres

lint: setup
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

build: setup
	@$(PY) -m dlcvgrade build

check-generated: setup
	@$(PY) -m dlcvgrade build --check

# The site lies in build/site; the solved notebooks are run for it, with their demos shortened.
docs: setup
	@$(PY) docs/site.py

# In a copy: assignments/ is generated, and the next build would take away what is written there.
lab: setup
	@test -d work || cp -r assignments work
	@$(PY) -m jupyter lab --notebook-dir work $(ROOT_FLAG) $(LAB_FLAGS) work/a1/tensors.ipynb

data: setup
	@./data_download.sh cifar10 mnist

bench: setup
	@for script in benchmarks/*.py; do $(PY) $$script || exit 1; done

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
