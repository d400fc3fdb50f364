# Everything sets itself up: a virtual environment in .venv with pinned and hashed packages, the viewer's JavaScript,
# Chromium and dicom3tools from Debian where this runs as root. What is done already is not done again.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .stamps
export RESEARCHPACS_CACHE ?= $(CURDIR)/.stamps/cache

EXTENSION_SOURCES := $(shell find extensions -type f -not -path '*/node_modules/*' -not -name '*.pyc' 2>/dev/null) \
	$(wildcard src/researchpacs/dicom/_quickwalk*.[ch])

.PHONY: demo test check lab soak bench docs lock ohif clean help

help: ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: $(STAMPS)/install ## Ingest sample studies, run the quick start headless, write build/demo/quick-start.html
	$(BIN)/researchpacs demo --output build/demo

lab: $(STAMPS)/install ## Open the quick start in JupyterLab
	$(BIN)/researchpacs --home build/lab lab notebooks/01-quick-start.ipynb

test: $(STAMPS)/install $(STAMPS)/system ohif check docs ## All tests, two workers; what CI runs
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not soak"

check: $(STAMPS)/install ## Lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python extensions/build_hook.py run check

soak: $(STAMPS)/install $(STAMPS)/system ## Fault tests with their full counts
	RESEARCHPACS_SOAK=1 $(BIN)/python -m pytest tests/faults tests/server tests/catalog tests/volume -m soak

bench: $(STAMPS)/install ## Measure against peers and write docs/performance.md
	$(BIN)/python benchmarks/run.py

docs: $(STAMPS)/install ## Build the documentation, warnings are errors
	$(BIN)/sphinx-build -q -W -b html docs docs/_build

ohif: $(STAMPS)/install ## Get the build of OHIF that browser tests open the server with
	$(BIN)/python .ci/ohif.py

lock: $(STAMPS)/venv ## Pin all packages again, without download addresses
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --extra all --extra test --extra docs \
		--group build --generate-hashes --no-emit-index-url --no-header --upgrade --output-file .ci/requirements.txt

clean: ## Remove what was built, not the environment
	rm -rf build dist docs/_build $(STAMPS)

$(STAMPS)/venv:
	@mkdir -p $(STAMPS)
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "researchpacs needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV) && \
		$(PYTHON) -m pip install --quiet --target $(STAMPS)/virtualenv virtualenv && \
		PYTHONPATH=$(STAMPS)/virtualenv $(PYTHON) -m virtualenv --quiet $(VENV); }
	@touch $@

$(STAMPS)/packages: .ci/requirements.txt $(STAMPS)/venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r .ci/requirements.txt
	@touch $@

$(STAMPS)/install: pyproject.toml $(STAMPS)/packages $(EXTENSION_SOURCES)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-build-isolation --no-deps --editable .
	@touch $@

$(STAMPS)/system:
	.ci/system-packages
	@touch $@
