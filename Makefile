# make demo   install into .venv, then fit, backtest and picture a forecast of real data
# make test   install everything for development into .venv, then lint, type-check and test
# make docs   install what the site needs, then build it into docs/_build/html; warnings are errors
# make site   the same, then test the site: links, and, where Chromium is installed, what a reader sees
# make lowest the core's tests and doctests with the lowest versions that pyproject.toml allows, in .venv-lowest;
#             what those use of newer packages below them may be deprecated there
VENV ?= .venv
PYTHON ?= python3
DATA ?=
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint docs site lowest clean

demo: $(VENV)/.core
	$(VENV)/bin/samovar-forecast demo $(if $(DATA),--data $(DATA))

test: $(VENV)/.dev lint
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --numprocesses 2 --dist worksteal

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(VENV)/.docs
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m sphinx -n -W --keep-going -b html docs docs/_build/html

site: docs $(VENV)/.dev
	SAMOVAR_FORECAST_SITE=docs/_build/html $(VENV)/bin/python -m pytest -q tests/test_site.py

lowest: $(VENV)/.dev
	$(PYTHON) -m venv .venv-lowest
	$(VENV)/bin/python studies/lowest_versions.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --constraint .venv-lowest/lowest.txt --editable ".[tensorboard]" pytest \
		hypothesis
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -q -W ignore::DeprecationWarning \
		samovar_forecast tests/layers tests/networks tests/data tests/files tests/forecasting tests/evaluation tests/training tests/command_line tests/test_estimator.py \
		tests/test_estimator_contract.py tests/test_hyperparameters.py --ignore tests/data/test_data_faults.py \
		--ignore tests/networks/test_linear_attention_transformer.py  # which need the hosts and ONNX

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[dev]"
	touch $@ $(VENV)/.core

$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[docs]"
	touch $@ $(VENV)/.core

clean:
	rm -rf $(VENV) .venv-lowest dist demo-output docs/_build docs/reference/generated
