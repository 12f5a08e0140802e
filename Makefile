# Two commands do everything on a fresh Linux machine with Python 3.11 or later:
#   make demo    install, start, attack the sample video, show the result, stop
#   make test    lint, types, import contracts and every test but the long soaks
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin
# Tests run on two processes; each torch inside takes one thread.
WORKERS ?= 2

.PHONY: help install demo up test test-all lint types contracts unit bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## install into .venv (seconds when nothing changed)

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (once; a minute or more) ..."
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(RUN)/python -m models.compile_loops
	@touch $@

demo: install ## attack the sample video through the real service; results in demo-output/
	@$(RUN)/python -m service.demo

up: install ## keep the service running on http://127.0.0.1:8000 (Ctrl-C stops it)
	@$(RUN)/python -m service

test: install lint types contracts unit ## everything that must be green

test-all: install lint types contracts ## also the long soaks
	$(RUN)/pytest -n $(WORKERS) --dist loadgroup

lint:
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types:
	$(RUN)/mypy

contracts:
	$(RUN)/lint-imports

unit:
	$(RUN)/pytest -n $(WORKERS) --dist loadgroup -m 'not slow'

bench: install ## figures of bench/README.md again
	$(RUN)/python bench/attack_overhead.py
	$(RUN)/python bench/every_kind.py
	$(RUN)/python bench/other_libraries.py
	$(RUN)/python bench/attack_strength.py
	$(RUN)/python bench/delivery_survival.py
	$(RUN)/python bench/service_overhead.py
	$(RUN)/python bench/audit_scheduler.py
	$(RUN)/python bench/audit_scaling.py
	$(RUN)/python bench/audit_speed.py
	$(RUN)/python bench/training_step.py
	$(RUN)/python bench/training_precision.py

clean: ## remove everything that was made here but your data (multav-data stays)
	rm -rf $(VENV) build dist demo-output multav-output .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
