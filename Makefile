# Everything runs in .venv, made on first use; only python3 (with venv and pip) and make are needed.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint bench experiments clean

# Train on the SMS Spam Collection, then ask about four messages written for this purpose: two spammy, two ordinary.
demo: .venv/.installed
	@run="runs/sms-spam-$$(date +%Y%m%d-%H%M%S)" && \
	$(BIN)/tailtune train sms-spam --out "$$run" && echo && \
	$(BIN)/tailtune predict "$$run" \
	  "WINNER!! Your number was drawn for a 500 pound voucher. Call 09050001122 now to claim your prize!" \
	  "URGENT: your account expires today. Reply YES to 80123 to keep your free minutes, 150p per msg" \
	  "Running ten minutes late, can you order me a coffee? See you in a bit" \
	  "Did mum say what time the train gets in on Sunday?" && \
	echo "run folder: $$run (bundle, metrics.json, report)"

test: .venv/.installed-dev
	@$(BIN)/python -m pytest

lint: .venv/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# About a quarter of an hour on two cores; run it alone. docs/performance.md is made from the results.
bench: .venv/.installed-bench
	@$(BIN)/tailtune bench
	@$(BIN)/tailtune bench --table > docs/performance.md
	@$(BIN)/python bench/seeds.py

# The chapter's rows that can be run here, on its splits and on one without leaks. What is done is kept: run it again to
# go on after a break. On two cores the first line takes an hour or two, the second a night: whole models, 1,024 pads.
EXPERIMENTS := --out bench/results/experiments --plots docs
experiments: .venv/.installed-lora
	@$(BIN)/tailtune experiments --rows $(SHORT_ROWS) --split all --seeds 0,1,2 $(EXPERIMENTS) > /dev/null
	@$(BIN)/tailtune experiments --all $(EXPERIMENTS) > /dev/null
	@$(BIN)/tailtune experiments --table $(EXPERIMENTS) > docs/experiments.md
SHORT_ROWS := 1,2,3,4,14,15,16,17,18,19,w

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing Tailtune into .venv (once; PyTorch is the large part)"
	@$(PIP) --editable '.[cleanlab]'
	@touch $@

.venv/.installed-bench: .venv/.installed
	@echo "installing what Tailtune is measured against"
	@$(PIP) --editable '.[bench]'
	@touch $@

.venv/.installed-lora: .venv/.installed
	@echo "installing what low-rank updates need"
	@$(PIP) --editable '.[lora]'
	@touch $@

.venv/.installed-dev: .venv/.installed
	@echo "installing what the checks need"
	@$(PIP) --editable '.[dev]'
	@touch $@
