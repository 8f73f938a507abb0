# make demo   install into .venv, then fit, backtest and picture a forecast of real data
# make test   install everything for development into .venv, then lint, type-check and test
VENV ?= .venv
PYTHON ?= python3
DATA ?=
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint clean

demo: $(VENV)/.core
	$(VENV)/bin/samovar-forecast demo $(if $(DATA),--data $(DATA))

test: $(VENV)/.dev lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses 2 --dist worksteal

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[dev]"
	touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) dist demo-output
