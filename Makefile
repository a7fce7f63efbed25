# Each target says what it does; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup report screenshot record results parameters tensorboard colab colab-zip test test-variants test-jax test-backends test-colab backends test-export lint audit test-faults test-ray test-slurm executors bench lock clean
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
# The first Python on the path that TensorFlow has wheels for; where .venv is active, the one that .venv was made from.
PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	found=$$($$name -c 'import sys; (3, 11) <= sys.version_info < (3, 14) and print(sys._base_executable)' 2>/dev/null) \
	&& test -n "$$found" && echo "$$found" && break; done)

# A Linux machine with an NVIDIA driver gets the CUDA wheels, too, unless GPU=no was asked for, now or when .venv was made.
GPU :=
DRIVER := /proc/driver/nvidia/version
DEVICE := /dev/nvidia0
OLDEST_DRIVER := 525
ASKED := $(or $(GPU),$(shell sed -n 's/^GPU=//p' $(VENV)/.installed 2>/dev/null))
DRIVER_IS := $(or $(shell sed -nE 's/^NVRM version:.* ([0-9]{3,})\.[0-9.]+( .*)?$$/\1/p' "$(DRIVER)" 2>/dev/null),$(OLDEST_DRIVER))
HAS_GPU := $(if $(filter-out no,$(or $(ASKED),auto)),$(shell ls "$(DRIVER)" "$(DEVICE)" 2>/dev/null))
CUDA := $(if $(HAS_GPU),$(shell test $(DRIVER_IS) -ge $(OLDEST_DRIVER) && echo yes))
GPU_WORDS := $(if $(CUDA),An NVIDIA driver is here: the CUDA wheels come too (gigabytes; make setup GPU=no leaves them out).,$(if \
	$(HAS_GPU),The NVIDIA driver $(DRIVER_IS) is too old for the CUDA wheels ($(OLDEST_DRIVER) or newer): Bakeoff computes \
	on the CPU; renew the driver and run make setup GPU=yes.))
LOCKS := requirements.lock $(if $(CUDA),requirements-gpu.lock)

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' | awk -F'|' '{printf "make %-11s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## Make .venv and install the locked packages, hashes checked; with a GPU CUDA's too (GPU=no: not)

report: setup ## Run every variant and write the comparison report
	@echo "Running every variant (python pipeline.py --all)."
	@$(BIN)/python pipeline.py --all

REPORT := docs/report.html
screenshot: setup ## Draw docs/report.png, the top of REPORT (needs Chromium)
	@echo "Drawing docs/report.png from $(REPORT)."
	@$(BIN)/python docs/screenshot.py $(REPORT)

RUNS := runs
SETTINGS :=
record: setup ## Put the finished `full` trainings in RUNS on record in docs/records (SETTINGS="--set replicates=3": as the run had them)
	@echo "Putting the finished trainings in $(RUNS) on record."
	@$(BIN)/python -m docs.records --runs-dir $(RUNS) $(SETTINGS)

tensorboard: setup ## Show the curves of the trainings in RUNS, running ones too, in TensorBoard
	@$(BIN)/python -m bakeoff.tracking.tensorboard $(RUNS)

results: setup ## Write docs/results.md, docs/report.html and the README's table from the trainings on record
	@echo "Writing docs/results.md and docs/report.html from docs/records."
	@$(BIN)/python -m docs.results
	@$(BIN)/python -m docs.report

parameters: setup ## Write params/schema.json and docs/parameters.md from what checks the variant files
	@echo "Writing params/schema.json and docs/parameters.md."
	@$(BIN)/python -m docs.parameters

# Python alone does these two: what is written there is what a notebook without an environment begins with.
REPOSITORY :=
colab: ## Write the notebooks' cells for Google Colab, with badges once REPOSITORY=owner/name on GitHub is given
	@"$(PYTHON)" -m docs.colab $(REPOSITORY)

colab-zip: ## Write bakeoff.zip, the project as one file to upload to Colab
	@"$(PYTHON)" -m docs.colab --zip

# Bytecode is written, also where the environment says not to: the tests start Python a thousand times.
test test-variants: export PYTHONDONTWRITEBYTECODE :=
test: setup ## Run the tests
	@echo "Running the tests."
	@$(BIN)/python -m pytest

test-variants: setup ## Run every variant once, on few images; kill a real training and a real search, and go on
	@echo "Running every variant on smoke, and what is killed and goes on."
	@$(BIN)/python -m pytest -n 0 tests/every_variant.py tests/faults/cut_short.py

lint: setup ## Check format, style and types
	@echo "Checking format and style (ruff), then types (mypy)."
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

# Environments of their own, without TensorFlow; what requirements.lock has no version of is pinned in tests/backends.txt.
test-jax: BACKENDS := jax
test-jax: VARIANTS := --variants ann,simple_cnn,gray_cnn,augmented_cnn,tuner_cnn_shallow,vgg16_transfer,speedrun_cnn
test-jax: backends ## Run a variant of each family on JAX, where TensorFlow is not installed

test-backends: BACKENDS := jax torch
test-backends: VARIANTS := --all
test-backends: backends ## Run every variant on JAX and on PyTorch (gigabytes, an hour): by hand

NOTEBOOKS :=
COLAB_PYTHON = $(shell for name in python3.13 ~/.pyenv/versions/3.13.*/bin/python "$(PYTHON)"; do \
	$$name -c '' 2>/dev/null && echo "$$name" && break; done)
test-colab: setup ## Run each notebook from its first cell with Colab's versions, on Python 3.13 or the nearest
	@test -x $(VENV)/colab/bin/python || "$(COLAB_PYTHON)" -m venv $(VENV)/colab
	@echo "Running the notebooks in $(VENV)/colab, on $$($(VENV)/colab/bin/python --version) (Colab has 3.13)."
	@$(BIN)/uv pip install --quiet --system-certs --python $(VENV)/colab/bin/python --requirement tests/colab.txt
	@$(BIN)/python -m tests.run_in_colab $(VENV)/colab/bin/python $(VENV)/colab/run $(NOTEBOOKS)

# PyTorch's wheels for the CPU are in an index of its own. Where it does not answer, a folder of wheels that pip is told of
# (PIP_FIND_LINKS) will do, else PyPI's wheels, with CUDA.
backends: export UV_FIND_LINKS := $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS))
backends: setup
	@for backend in $(BACKENDS); do \
		echo "Running on $$backend, in $(VENV)/$$backend."; \
		test -x $(VENV)/$$backend/bin/python || "$(PYTHON)" -m venv $(VENV)/$$backend; \
		install="$(BIN)/uv pip install --quiet --system-certs --python $(VENV)/$$backend/bin/python --constraint requirements.lock \
			--constraint tests/backends.txt --requirement pyproject.toml --extra $$backend pytest pytest-xdist"; \
		{ $$install --torch-backend cpu 2>/dev/null || $$install; } && \
		rm -rf $(VENV)/$$backend/runs && export KERAS_BACKEND=$$backend JAX_COMPILATION_CACHE_DIR="$(CURDIR)/$(VENV)/jax/compiled" \
			JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 && \
		$(VENV)/$$backend/bin/python -m pytest tests/lab/test_checkpoint.py && \
		$(VENV)/$$backend/bin/python pipeline.py $(VARIANTS) --profile smoke --set dataset=shapes10 \
			--no-pdf --runs-dir $(VENV)/$$backend/runs --reports-dir $(VENV)/$$backend/reports || exit 1; \
	done

# An environment beside .venv, which sees its packages and has some more: .venv stays as users have it.
PACKAGES := import sysconfig; print(sysconfig.get_path("purelib"))
beside = @test "$$(cat $(1)/.installed 2>/dev/null)" = "$$(pwd -P) $(2)" || { \
		echo "Installing $(2) into $(1)."; rm -rf $(1); \
		$(BIN)/uv venv --quiet --python $(BIN)/python $(1) && \
		printf 'import os, site; site.addsitedir("%s"); os.environ.setdefault("JUPYTER_PATH", "%s"); %s\n' \
			"$$($(BIN)/python -c '$(PACKAGES)')" "$$(pwd -P)/$(VENV)/share/jupyter" \
			'import sys; sys.modules.setdefault("rfc3987_syntax")' \
			> "$$($(1)/bin/python -c '$(PACKAGES)')/beside.pth" && \
		$(BIN)/uv pip install --quiet --system-certs --compile-bytecode --python $(1)/bin/python -c requirements.lock $(2) && \
		echo "$$(pwd -P) $(2)" > $(1)/.installed; }

EXPORT := .venv.export
test-export: setup ## Export two variants in every format and compare with the evaluate stage
	$(call beside,$(EXPORT),onnx==1.23.2 onnxruntime==1.32.0 tf2onnx==1.17.0)
	@echo "Exporting in every format, in $(EXPORT)."
	@$(EXPORT)/bin/python -m pytest -rP -n 0 tests/export_formats.py

test-faults: setup ## Kill runs, kernels, workers, fork servers at random moments and count what is lost or false
	@echo "Killing the pipeline, its kernels, workers and fork servers at random moments (two hours)."
	@$(BIN)/python -m tests.faults.kills --points $(or $(POINTS),200)

# Ray gives the agents of a node 15 s to start. Of the 5 s that their imports took, 4 went into a grammar (see fast_imports),
# which `beside` leaves out.
EXECUTORS := .venv.executors
executors: setup
	$(call beside,$(EXECUTORS),ray==2.60.0 submitit==1.5.4)

test-ray: executors ## Run steps on a real Ray cluster of three nodes here, and kill some of it (minutes)
	@echo "Running the tests of the executor ray."
	@$(EXECUTORS)/bin/python -m pytest -n 0 tests/executors/on_ray.py

test-slurm: executors ## Run steps as jobs, on a real one-node Slurm here where there can be one (as root, Debian's packages)
	@echo "Running the tests of the executor slurm."
	@$(EXECUTORS)/bin/python -m pytest -n 0 -rs tests/executors/on_slurm.py

bench: executors ## Run the benchmarks into docs/benchmarks.md (an hour and a half; CASES="kernels noop" for some)
	@echo "Running the benchmarks."
	@$(BIN)/python -m benchmarks $(CASES)

lock: setup ## Resolve the versions anew into requirements.lock and requirements-gpu.lock
	@echo "Resolving versions."
	@$(BIN)/uv pip compile --quiet --system-certs --universal --generate-hashes --python-version 3.11 --extra dev --extra tensorflow \
		--no-header --no-annotate --upgrade pyproject.toml --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --system-certs --universal --generate-hashes --python-version 3.11 --extra gpu \
		--no-header --no-annotate --constraint requirements.lock pyproject.toml --output-file $(VENV)/gpu.lock
	@awk '/^[a-z]/ {cuda = /^nvidia-/} cuda' $(VENV)/gpu.lock > requirements-gpu.lock

AUDIT := $(VENV)/audit
audit: ## Ask PyPI's vulnerability service about every locked version (needs the network)
	@echo "Asking about every version in requirements.lock and requirements-gpu.lock (accepted findings: docs/accepted-findings.txt)."
	@test -n "$(PYTHON)" || { echo "Bakeoff needs Python 3.11, 3.12 or 3.13 on the path; none was found."; exit 2; }
	@{ test -x $(AUDIT)/bin/pip-audit || { mkdir -p $(VENV) && "$(PYTHON)" -m venv $(AUDIT) && \
		$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1; }; } || \
		{ echo "pip-audit could not be installed (the lines above say why); nothing was asked."; exit 2; }
	@$(AUDIT)/bin/python -m pip_audit -r requirements.lock -r requirements-gpu.lock --require-hashes --disable-pip --strict --progress-spinner off \
		$$(sed -n 's/^\([A-Z][A-Za-z0-9-]*\) .*/--ignore-vuln \1/p' docs/accepted-findings.txt) 2> $(AUDIT)/log && tail -n 1 $(AUDIT)/log || \
		{ tail -n 2 $(AUDIT)/log; echo "A version listed above has a known fault: take a newer one (make lock), or accept it with" \
		"a date and a reason in docs/accepted-findings.txt. No list: the service could not be asked; try again later."; exit 1; }

clean: ## Remove the environments and caches; runs/ and reports/ stay
	@echo "Removing $(VENV), $(EXPORT), $(EXECUTORS) and caches."
	@rm -rf $(VENV) $(EXPORT) $(EXECUTORS) .mypy_cache .pytest_cache .ruff_cache build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# .installed is written last and holds the folder that .venv works in (its scripts hold full paths): where it is not
# there or says another folder, a set-up was stopped or the checkout was moved, and .venv is made from nothing; so it is
# where GPU= asks for other lock files than its last lines say.
WHOLE := $(shell test -x $(BIN)/python && test "$$(head -n 1 $(VENV)/.installed 2>/dev/null)" = "$$(pwd -P)" && \
	{ test -z "$(GPU)" || test "$(words $(CUDA))" = "$$(grep -c '^requirements-gpu' $(VENV)/.installed)"; } && echo yes)
ifneq ($(WHOLE),yes)
$(VENV)/.installed: stopped-or-moved
.PHONY: stopped-or-moved
endif

$(VENV)/.installed: requirements.lock requirements-gpu.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Bakeoff needs Python 3.11, 3.12 or 3.13 on the path; none was found."; exit 2; }
	@test -n "$(WHOLE)" || test ! -d $(VENV) || \
		{ echo "$(VENV) is not whole (a set-up was stopped, or the folder was moved) or not what GPU= asks for: removing it."; rm -rf $(VENV); }
	@rm -f $@
	@echo "Installing the locked packages into $(VENV), for $(PYTHON) (some minutes the first time)."
	@test -z "$(GPU_WORDS)" || echo "$(GPU_WORDS)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.lock
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --require-hashes --compile-bytecode $(LOCKS:%=-r %)
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m bakeoff.warm.install
	@{ pwd -P; echo "GPU=$(ASKED)"; printf '%s\n' $(LOCKS); } > $@
	@echo "Installed."
