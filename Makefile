# Every command here installs what it needs into $(VENV) first.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
DEMO   ?= .demo
PORT   ?= 3000

BIN       := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEV       := $(VENV)/.installed-dev
SITE      := $(VENV)/.installed-site
INSTALL   := $(BIN)/pip install --quiet --constraint constraints.txt --editable
# A file stays with one worker, so that what its tests share is made once.
TESTS     := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder --numprocesses
DEMO_ENV  := VIRNUCPRO_DATA_ROOT=$(abspath $(DEMO))/data DAGSTER_HOME=$(abspath $(DEMO))/dagster

.PHONY: demo test test-all daemon e2e faults coverage soak ui lint bench bench-check clean

demo: $(INSTALLED)  ## run the main job on the embedded demo models and data
	$(DEMO_ENV) $(BIN)/virnucpro demo --out $(DEMO)/results

test: $(DEV)  ## what a change is likely to break: under five minutes on two cores
	$(TESTS) 2

test-all: $(DEV)  ## every test that needs nothing but this environment: under 25 minutes on two cores
	$(TESTS) 2 -m "not daemon and not site"

daemon: $(DEV)  ## drops that arrive at a running daemon: half an hour, most of it waiting
	$(BIN)/python -m pytest -m daemon

e2e: $(SITE)  ## whole deployments: PostgreSQL, Ray, services, a browser; needs Debian packages (docs/operations.md)
	$(BIN)/python -m pytest virnucpro_assets_tests/sites -m site

faults: $(DEV)  ## every fault that can be injected, and what remains of each
	$(TESTS) 2 virnucpro_assets_tests/faults -m "not daemon and not site"

coverage: $(DEV)  ## the tests of test-all with coverage by folder; half an hour
	$(BIN)/python -m virnucpro_assets_tests.coverage_by_folder coverage.json

soak: $(DEV)  ## 200 random faults one after the other, compared with undisturbed results
	$(BIN)/python -m virnucpro_assets_tests.faults.soak --out soak.md --json soak.json

ui: $(INSTALLED)  ## the Dagster UI on the demo's results, on 127.0.0.1:$(PORT)
	test -e $(DEMO)/results/report.html || $(MAKE) demo
	mkdir -p $(DEMO)/drops
	cd $(DEMO) && $(DEMO_ENV) $(abspath $(BIN))/virnucpro ui --port $(PORT)

lint: $(DEV)  ## format, lint, types, and the import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)  ## measure, side by side, what the documentation quotes
	$(INSTALL) '.[bench]'
	$(BIN)/python -m benchmarks.parsers
	$(BIN)/python -m benchmarks.front --reads 250000 --baseline-reads 20000
	$(BIN)/python -m benchmarks.tokenising
	$(BIN)/python -m benchmarks.back --quick
	$(BIN)/python -m benchmarks.overhead --rounds 3
	$(BIN)/python -m benchmarks.duplicates --reads 80000
	$(BIN)/python -m benchmarks.cache --reads 1000 --rounds 1
	$(BIN)/python -m benchmarks.predict_scaling --reads 15000
	$(BIN)/python -m benchmarks.checkpoint_overhead --rounds 3
	$(BIN)/python -m benchmarks.encoders_cpu --quick
	$(BIN)/python -m benchmarks.model_loading --layers-3b 14
	$(BIN)/python -m benchmarks.short_reads

bench-check: $(INSTALLED)  ## a quick run of what is measured against the original; fails if something became slower
	$(INSTALL) '.[bench]'
	$(BIN)/python -m benchmarks.check

clean:  ## remove the environment and the demo's results
	rm -rf $(VENV) $(DEMO)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $@

$(DEV): $(INSTALLED)
	$(INSTALL) '.[dev]'
	touch $@

$(SITE): $(DEV)
	$(INSTALL) '.[dev,postgres,ray,e2e]'
	touch $@
