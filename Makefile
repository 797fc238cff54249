# Every target sets itself up: .venv here, the pinned packages of constraints.txt in it. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
# what was installed stands in the name of a stamp: a changed requirement is a new stamp, a second run finds its own
PINS := $(shell cat pyproject.toml constraints.txt | sha256sum | cut -c1-12)
FUZZ_S ?= 60
BENCH ?= signal_path engines int8 decide against_peers image_flood ward_capacity two_workers restart overload swaps soak
DEMO_READY := .venv/ready-demo-$(PINS)
TEST_READY := .venv/ready-test-$(PINS)
FUZZ_READY := .venv/ready-fuzz-$(PINS)

.PHONY: help demo test check lint bench alarms verdicts fuzz faults docs setup setup-test clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'
	@echo "  demo takes  SPEED=10 (faster), FOR=60 REPORT=out.json (no person needed), KAFKA=host:port, HTTP_PORT=8080,"
	@echo "              TRAIN=1 (a trainer beside it: labels, a turn, the gate, a swap; sets up torch)"

demo: $(if $(TRAIN),$(TEST_READY) needs-broker,$(DEMO_READY)) ## patients on a ward board, live: Kafka, worker, replay; Ctrl-C ends it all
	@exec $(PY) -m stream demo $(if $(SPEED),--speed $(SPEED)) $(if $(FOR),--for $(FOR)) \
	    $(if $(REPORT),--report '$(REPORT)') $(if $(KAFKA),--kafka $(KAFKA)) $(if $(HTTP_PORT),--http-port $(HTTP_PORT)) $(if $(TRAIN),--train)

test: needs-test-tools lint ## everything that make check looks at, then every test
	@$(PY) -m pytest

check: lint ## style, types, import contracts, then the configuration of monitoring and deployment
	@$(PY) -m pytest tests/ops -m 'not broker and not prometheus'

lint: $(TEST_READY)
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports

bench: $(TEST_READY) ## measure: signal path, engines, deciding, patients per core beside peers, load and overload (BENCH=engines: only that; QUICK=1)
	@for program in $(BENCH); do echo "== bench.$$program"; $(PY) -m bench.$$program; done

alarms: $(TEST_READY) ## alarms per patient-day on every recording at hand, true and false, into docs/alarms.md (3 minutes)
	@$(PY) -m bench.alarms

verdicts: $(TEST_READY) ## fit the judges of monitor alarms and cross them over records, into docs/verdicts.md (1 minute)
	@$(PY) -m bench.verdicts

fuzz: $(FUZZ_READY) ## every decoder under Atheris (FUZZ_S=60 seconds each; FUZZ='dicom wire': only those)
	@$(PY) -m tests.fuzz $(FUZZ) --seconds $(FUZZ_S)

faults: $(TEST_READY) ## kill, freeze, fill and break everything for 25 minutes: nothing may be lost, doubled or different
	@$(PY) -m tests.faults $(if $(KILLS),--kills $(KILLS))

docs: $(DEMO_READY) ## make docs/catalogue.md and the tables of docs/alarms.md from the tables in code
	@$(PY) -m stream catalogue > docs/catalogue.md
	@$(PY) -m stream alarmtables docs/alarms.md

setup: $(DEMO_READY) ## only install what the demo needs
setup-test: $(TEST_READY) ## only install what the tests and the trainer need (torch too)

clean: ## remove .venv, working files and caches
	@rm -rf .venv .wardwatch .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/pip: | needs-python
	@echo "Making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip

$(DEMO_READY): | .venv/bin/pip needs-broker
	@$(call install,once; about half a minute,)
	@touch $@

$(TEST_READY): | .venv/bin/pip
	@$(call install,once; with torch about two minutes and up to 5 GB,check trainer)
	@touch $@ $(DEMO_READY)

$(FUZZ_READY): $(TEST_READY)
	@$(call install,once; a few seconds,check trainer fuzz)
	@touch $@

# $(1) how long, $(2) extras: the project's requirements, and those of the extras, at the pinned versions
define install
echo "Installing packages into .venv ($(1))"; \
$(PY) -c 'import sys, tomllib; \
    project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    print(*project["dependencies"], *(d for extra in sys.argv[1:] for d in project["optional-dependencies"][extra]), sep="\n")' \
    $(2) > .venv/requirements.txt; \
pip() { $(PY) -m pip install --disable-pip-version-check -c constraints.txt -r .venv/requirements.txt; }; \
if [[ -t 1 ]]; then pip; else pip | { grep --line-buffered -v '^Requirement already satisfied' || true; }; fi
endef

.PHONY: needs-python needs-broker needs-test-tools

needs-python:
	@$(or $(PYTHON),false) -c 'import sys, venv, ensurepip; assert sys.version_info >= (3, 11)' 2>/dev/null \
	    || { echo "Python 3.11 with venv is missing. Debian, Ubuntu: apt-get install python3.11 python3.11-venv" >&2; exit 1; }

needs-broker:
	@[[ -n "$(KAFKA)" ]] || { command -v java && command -v mvn || command -v docker; } >/dev/null \
	    || { echo "No Kafka can be started here. Install Java 17+ and Maven (Debian: apt-get install default-jre-headless maven)," \
	              "or Docker, or name a running broker with KAFKA=host:port" >&2; exit 1; }

TEST_TOOLS := java:default-jre-headless mvn:maven prometheus:prometheus \
    prometheus-alertmanager:prometheus-alertmanager chromium:chromium chromedriver:chromium-driver
needs-test-tools:
	@missing=; for tool in $(TEST_TOOLS); do command -v "$${tool%%:*}" >/dev/null || missing+=" $${tool##*:}"; done; \
	    [[ -z "$$missing" ]] || { echo "Tools that the tests start are missing. Debian: apt-get install$$missing" >&2; exit 1; }
