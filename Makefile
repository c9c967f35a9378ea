PROFILE ?= quick
PYTHON ?= python3
LAB_FLAGS ?=
BIN := .venv/bin
INSTALLED := .venv/installed

# The shell reads these from its environment, with whatever characters they have.
export TSC_PROFILE := $(value PROFILE)
export TSC_PYTHON := $(value PYTHON)

.PHONY: help report published check test gpu-check lab may-lab lint clean

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 16

report: $(INSTALLED)  ## run every notebook of PROFILE (smoke, quick, paper, seeds, classics, shapes, archive) and build outputs/report/PROFILE/index.html
	$(BIN)/python -m tsc_lib report --profile="$$TSC_PROFILE"

published: $(INSTALLED)  ## build outputs/report/published/index.html from the published study, without running anything
	$(BIN)/python -m tsc_lib.report.build published

check: lint  ## what takes less than two minutes: style, types, floors and the quick tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not (compiles or measures or sessions or notebooks or slow)'

test: lint  ## everything that must hold before a change is taken; what measures runs alone
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not measures'
	$(BIN)/python -m pytest -m measures

gpu-check: $(INSTALLED)  ## measure a real GPU, or say why not
	$(BIN)/python -m pytest tests/test_gpu.py -rs -s

# Each program is called through Python: its own first line would name this folder, whose name may have any character.
lint: $(INSTALLED)  ## style, types, which floor imports which, and notebooks without outputs
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python $(BIN)/lint-imports
	$(BIN)/python -m nbstripout --verify --extra-keys "metadata.papermill cell.metadata.papermill" notebooks/*.ipynb

lab: may-lab $(INSTALLED)  ## explore the notebooks in JupyterLab; as root, in a container: make lab LAB_FLAGS=--allow-root
	$(BIN)/python -m jupyterlab --notebook-dir=notebooks --ip=localhost $(LAB_FLAGS)

may-lab:
	@case "$$(id -u) $(LAB_FLAGS)" in 0*--allow-root*) ;; 0\ *) \
		echo "JupyterLab does not run as root unless asked to; in a container: make lab LAB_FLAGS=--allow-root" >&2; exit 1;; \
	esac

clean:  ## remove all that runs produced, trainings too, but not what is published
	find outputs -mindepth 1 -maxdepth 1 ! -name published -exec rm -rf {} +

# One environment for all targets; made again only when what it is made from has changed.
$(INSTALLED): pyproject.toml setup.py constraints.txt
	@"$$TSC_PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tsc_lib needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	"$$TSC_PYTHON" -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[study,report,dev,counters,gpu,crosscheck,onnxruntime,openvino,runtimes,bench,cluster]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps snakemake-executor-plugin-slurm
	@touch $@
