# Each target makes sure that .venv with hatch is there, and calls one hatch script (hatch.toml).
# A fresh machine needs Python 3.11 or newer, pip and make. ARGS are handed to the script:
#     make test ARGS="-k lease"

PYTHON ?= python3
DISTRIBUTIONS := flowcontrol_core flowcontrol_admin flowcontrol_actions_builtin flowcontrol_triggers_signals \
    plugins_example/flowcontrol_example_sms plugins_example/flowcontrol_example_audit
HATCH := .venv/bin/python -m hatch

# The environments live and die with .venv.
export HATCH_DATA_DIR := $(CURDIR)/.venv/hatch

# In CI, or where it is asked for, the tests run in their full form.
FULL := $(or $(CI),$(FLOWCONTROL_FULL))

# A test database on a server needs its driver.
TESTS_IN := $(if $(FLOWCONTROL_TEST_DATABASE),full,dev)

# $(call hatch,script): run it and end with one line that says how it went.
define hatch
@. .venv/index.sh && $(HATCH) run $(1) $(ARGS) \
    && echo "make $@: OK" || { status=$$?; echo "make $@: FAILED (status $$status)"; exit $$status; }
endef

# The same for pytest, whose own summary is that line: what hatch says of an environment that it
# makes would come behind it.
define pytest
@. .venv/index.sh && $(HATCH) env create $(firstword $(subst :, ,$(1))) && \
    $(HATCH) run $(1) $(ARGS)
endef

.PHONY: help demo site test test-all lint format types contracts docs wheels bench chaos clean

help:
	@echo "make demo       run the demo and show what it does"
	@echo "make site       serve the demo site"
	@echo "make test       unit tests, then fast ones on in-memory SQLite; with FLOWCONTROL_FULL=1 or CI: test-all"
	@echo "make test-all   all tests, on every service that answers"
	@echo "make lint       ruff; make format repairs what can be repaired"
	@echo "make types      mypy, strict"
	@echo "make contracts  import-linter: what may import what"
	@echo "make docs       links and snippets of the documentation"
	@echo "make wheels     build all wheels into dist/ and test them in an empty environment"
	@echo "make bench      the benchmarks"
	@echo "make chaos      the fault campaign, on every database that answers"
	@echo "make clean      remove everything that make made"

demo: .venv/.current
	$(call hatch,demo)

site: .venv/.current
	$(call hatch,site)

ifeq ($(FULL),)
test: .venv/.current
	$(call pytest,$(TESTS_IN):test)
else
test: test-all
endif

test-all: .venv/.current
	$(call pytest,full:test-full)

lint: .venv/.current
	$(call hatch,dev:lint)

format: .venv/.current
	$(call hatch,dev:format)

types: .venv/.current
	$(call hatch,dev:types)

contracts: .venv/.current
	$(call hatch,dev:contracts)

docs: .venv/.current
	$(call hatch,dev:docs)

wheels: .venv/.current
	$(call hatch,dev:wheels)

bench: .venv/.current
	$(call hatch,full:bench)

chaos: .venv/.current
	$(call hatch,full:chaos)

clean:
	@rm -rf .venv dist .coverage .coverage.* htmlcov .hypothesis .import_linter_cache \
	    .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "make clean: OK"

# An installed distribution knows its dependencies and entry points as they were when it was
# installed: when a manifest changed, the environments are made anew.
.venv/.current: .venv/.hatch hatch.toml $(DISTRIBUTIONS:%=%/pyproject.toml)
	@rm -rf .venv/hatch/env
	@touch $@

# Where ensurepip is missing (Debian without python3-venv), the machine's own pip fills the
# environment. hatch installs with uv, which is told the index that pip is set up with.
.venv/.hatch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@rm -rf .venv
	@echo "Preparing .venv with hatch (once)"
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 || \
	    { rm -rf .venv && $(PYTHON) -m venv --without-pip .venv; }
	@if [ -x .venv/bin/pip ]; then pip=".venv/bin/python -m pip"; \
	    else pip="$(PYTHON) -m pip --python .venv/bin/python"; fi; \
	    $$pip install --quiet --disable-pip-version-check "hatch>=1.18,<2" && \
	    index=$${PIP_INDEX_URL:-$$($$pip config get global.index-url 2>/dev/null)}; \
	    [ -z "$$index" ] || index="export UV_DEFAULT_INDEX=\"\$${UV_DEFAULT_INDEX:-$$index}\""; \
	    echo "$$index" > .venv/index.sh
	@.venv/bin/python -c 'import hatch'
	@touch $@
