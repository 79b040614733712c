# Two commands do everything on a fresh machine: `make submission` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
# Stages are run as `python -m …`: it must be the environment's, also for those who never activate it.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install submission recipe recipes experiments submit test test-slow bench clean

help: ## Say what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(BIN)/.installed ## The virtual environment .venv with requirements.txt

$(BIN)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is not Python 3.11 or \
	newer; name one that is, as in \`make $(MAKECMDGOALS) PYTHON=python3.12\`" >&2; exit 1; }
	@echo "Installing requirements.txt into .venv"
	@$(PYTHON) -m venv .venv || { echo "error: .venv could not be made (see above); work in a folder that you may write \
	to, with a Python that has venv (Debian: apt install python3-venv)" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt || { echo "error: the packages \
	above could not be installed; is the network there? Then run make again" >&2; exit 1; }
	@# The package itself, as it is in src/: `import carvana` works, and so does the command.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

submission: install ## Run the pipeline; ends with where submission.csv is and what it scored
	@test -w . || { echo "error: $(CURDIR) is read-only; clone it to a folder that you may write to" >&2; exit 1; }
	@git rev-parse --git-dir >/dev/null || { echo "error: DVC needs git and a repository (see above): do what git says, install \
	it, or, where there is no .git, clone this repository or run \`git init\` and commit what is here" >&2; exit 1; }
	@carvana unlock
	dvc repro
	@carvana summary

# As they were typed: make would expand a `$` in them, and run `$(shell …)`.
override MESSAGE := $(value MESSAGE)
override NAME := $(value NAME)
override HOURS := $(value HOURS)
override YES := $(value YES)
export MESSAGE NAME HOURS
ifeq ($(YES),1)
override SURE := --yes
else
override SURE :=
endif

recipe: install ## Run a recipe and its teachers: NAME=fast, or the best that ends in time, HOURS=8
	@carvana recipe $${HOURS:+--hours="$$HOURS"} $${NAME:+"$$NAME"}

recipes: install ## List the recipes, with what they cost on this machine; HOURS=8 marks the best that ends in time
	@carvana recipes $${HOURS:+--hours="$$HOURS"}

experiments: install ## List all experiments, the best first: Dice, photos a second, and what was changed
	@dvc exp show --only-changed --sort-by test.dice --sort-order desc \
	  --drop 'Created|dice_(median|p05|network_size)|validation.dice_|iou|wrong|images|seconds|photos$$|peak_memory|model\.' \
	  $$(git for-each-ref refs/exps | sed -nE 's,.*refs/exps/(..)/(.{38})/.*,--rev \1\2,p' | sort -u) --rev HEAD

submit: install ## Check the submission and send it to Kaggle; MESSAGE=… says more, YES=1 does not ask
	@carvana submit --message="$$MESSAGE" $(SURE)

test: install ## Lint, types, and every test but the slow ones
	ruff check .
	ruff format --check .
	mypy
	python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: install ## The tests that take minutes: every command of the documentation, for one
	python -m pytest -n 2 --dist loadfile -m slow

bench: install ## Prediction and training against the plain ways to do them: 7 minutes on an idle machine
	test -f models/fold-0.safetensors || dvc repro train
	python benchmarks/prediction.py --photos 640
	python benchmarks/prediction.py --size 512 --photos 48
	python benchmarks/training.py

clean: ## Remove the environment and what was begun; DVC's outputs and cache stay
	rm -rf .venv .work
