PROFILE ?= quick
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help report check test gpu-check lab lint clean

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 16

report: $(INSTALLED)  ## run every notebook of PROFILE (smoke, quick, paper, seeds) and build outputs/report/PROFILE/index.html
	$(BIN)/python -m tsc_lib report --profile $(PROFILE)

check: lint  ## what takes less than two minutes: style, types, floors and the quick tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not (compiles or measures or sessions or notebooks or slow)'

test: lint  ## everything that must hold before a change is taken; what measures runs alone
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not measures'
	$(BIN)/python -m pytest -m measures

gpu-check: $(INSTALLED)  ## measure a real GPU, or say why not
	$(BIN)/python -m pytest tests/test_gpu.py -rs -s

lint: $(INSTALLED)  ## style, types, which floor imports which, and notebooks without outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/nbstripout --verify --extra-keys "metadata.papermill cell.metadata.papermill" notebooks/*.ipynb

lab: $(INSTALLED)  ## explore the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=notebooks

clean:  ## remove all that runs produced, trainings too, but not what is published
	find outputs -mindepth 1 -maxdepth 1 ! -name published -exec rm -rf {} +

# One environment for all targets; made again only when what it is made from has changed.
$(INSTALLED): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tsc_lib needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[study,report,dev,counters,gpu,crosscheck,onnxruntime,openvino,runtimes,bench]'
	@touch $@
