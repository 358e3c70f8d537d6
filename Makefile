# Each target makes sure that .venv with hatch is there, and calls one hatch script (hatch.toml).
# A fresh machine needs Python 3.11 or newer, pip and make. ARGS are handed to the script:
#     make test ARGS="-k lease"
# PYTHON picks the interpreter and DJANGO the series, by default the newest that the interpreter takes:
#     make test PYTHON=/path/to/python3.13 DJANGO=6.0

PYTHON ?= python3
DJANGO ?=
DISTRIBUTIONS := flowcontrol_core flowcontrol_admin flowcontrol_actions_builtin flowcontrol_triggers_signals \
    plugins_example/flowcontrol_example_sms plugins_example/flowcontrol_example_audit
HATCH := .venv/bin/python -m hatch

# Each interpreter, and each Django that was asked for, has environments of its own beside the
# others, so that changing between them builds nothing anew. They live and die with .venv.
FOUND := $(shell $(PYTHON) -c 'import sys; \
    sys.version_info < (3, 11) or print("%d.%d" % sys.version_info[:2], sys.executable)')
ENVIRONMENTS := .venv/$(or $(firstword $(FOUND)),none)$(DJANGO:%=-django%)
export HATCH_DATA_DIR := $(CURDIR)/$(ENVIRONMENTS)
export HATCH_PYTHON := $(lastword $(FOUND))
export FLOWCONTROL_DJANGO := $(DJANGO:%=~=%.0)

# In CI, or where it is asked for, the tests run in their full form.
FULL := $(or $(CI),$(FLOWCONTROL_FULL))

# A test database on a server needs its driver.
TESTS_IN := $(if $(FLOWCONTROL_TEST_DATABASE),full,dev)

define need_python
@[ -n "$(FOUND)" ] || \
    { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
endef

# $(call hatch,script): run it and end with one line that says how it went.
define hatch
@. .venv/index.sh && $(HATCH) run $(1) $(ARGS) \
    && echo "make $@: OK" || { status=$$?; echo "make $@: FAILED (status $$status)"; exit $$status; }
endef

# The same for pytest, whose own summary is that line: what hatch says of an environment that it
# makes would come after it.
define pytest
@. .venv/index.sh && $(HATCH) env create $(firstword $(subst :, ,$(1))) && \
    $(HATCH) run $(1) $(ARGS)
endef

.PHONY: help demo site test test-quick test-all lint format types contracts docs messages wheels bench chaos pictures clean

help:
	@echo "make demo       run the demo and show what it does"
	@echo "make site       serve the demo site"
	@echo "make test       test-quick; with FLOWCONTROL_FULL=1 or CI: test-all"
	@echo "make test-quick unit tests, then fast ones on in-memory SQLite"
	@echo "make test-all   all tests, on every service that answers"
	@echo "make lint       ruff; make format repairs what can be repaired"
	@echo "make types      mypy, strict"
	@echo "make contracts  import-linter: what may import what"
	@echo "make docs       links and snippets of the documentation"
	@echo "make messages   bring the catalogues of translated texts up to date"
	@echo "make wheels     build all wheels into dist/ and test them in an empty environment"
	@echo "make bench      the benchmarks"
	@echo "make pictures   take the pictures of the docs anew, from the demo site in a browser"
	@echo "make chaos      the fault campaign, on every database that answers"
	@echo "make clean      remove everything that make made"
	@echo "PYTHON=/path/to/python3.13 and DJANGO=6.0 pick the interpreter and the series of Django"

demo: $(ENVIRONMENTS)/.current
	$(call hatch,demo)

site: $(ENVIRONMENTS)/.current
	$(call hatch,site)

test: $(if $(FULL),test-all,test-quick)

test-quick: $(ENVIRONMENTS)/.current
	$(call pytest,$(TESTS_IN):test-quick)

test-all: $(ENVIRONMENTS)/.current
	$(call pytest,full:test-all)

lint: $(ENVIRONMENTS)/.current
	$(call hatch,dev:lint)

format: $(ENVIRONMENTS)/.current
	$(call hatch,dev:format)

types: $(ENVIRONMENTS)/.current
	$(call hatch,dev:types)

contracts: $(ENVIRONMENTS)/.current
	$(call hatch,dev:contracts)

docs: $(ENVIRONMENTS)/.current
	$(call hatch,dev:docs)

messages: $(ENVIRONMENTS)/.current
	$(call hatch,dev:messages)

wheels: $(ENVIRONMENTS)/.current
	$(call hatch,dev:wheels)

bench: $(ENVIRONMENTS)/.current
	$(call hatch,full:bench)

chaos: $(ENVIRONMENTS)/.current
	$(call hatch,full:chaos)

pictures: $(ENVIRONMENTS)/.current
	$(call hatch,full:pictures)

clean:
	@rm -rf .venv dist .coverage .coverage.* htmlcov .hypothesis .import_linter_cache \
	    .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "make clean: OK"

# An installed distribution knows its dependencies and entry points as they were when it was
# installed: when a manifest changed, the environments are made anew.
$(ENVIRONMENTS)/.current: .venv/.hatch hatch.toml $(DISTRIBUTIONS:%=%/pyproject.toml)
	$(need_python)
	@rm -rf $(ENVIRONMENTS)/env
	@mkdir -p $(ENVIRONMENTS)
	@touch $@

# Where ensurepip is missing (Debian without python3-venv), the machine's own pip fills the
# environment. hatch installs with uv, which is told the index that pip is set up with.
.venv/.hatch:
	$(need_python)
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
