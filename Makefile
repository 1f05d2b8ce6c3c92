# Everything here does its own set-up: all it needs is Python 3.11 or newer and make.
# `make demo` shows the project at work, `make test` tests it; CONTRIBUTING.md has the rest.

BIN := .venv/bin
STAMP := .venv/.installed
# What was released of proto/, which later versions must go on understanding.
PUBLISHED_PROTO := tests/contract/published
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := demo
.PHONY: demo test test-long install lint proto types check bench conservation fuzz docs clean

demo: install  ## a local Kafka, a receiver, a worker and a stream of events until all add up; ARGS="--rate 500" streams until Ctrl-C
	$(BIN)/distributary demo $(if $(ARGS),$(ARGS),--events 30000 --exit)

# The conservation test times what it sees, so it runs alone; of all others two files run at a time.
test: install  ## all tests; some of them with e.g. ARGS="tests/unit -k breaker"
ifeq ($(ARGS),)
	$(BIN)/python -m pytest tests/conservation
	$(BIN)/python -m pytest --ignore tests/conservation --numprocesses 2 --dist loadfile --no-loadscope-reorder -m 'not long'
else
	$(BIN)/python -m pytest $(ARGS)
endif

test-long: install  ## the tests of the listener, its stage and users with whole workers, which `make test` leaves out
	$(BIN)/python -m pytest -m long --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

install: $(STAMP)

# python3 if it is new enough, else the newest that is. Asked to run, since a name on the PATH may be a shim without a Python.
$(STAMP): pyproject.toml
	@set -eu; \
	for python in "$${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        found="$$python"; break; \
	    fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	    echo "Python 3.11 or newer with the modules venv and ensurepip is needed, and none is on the PATH." >&2; \
	    echo "Install it (on Debian and Ubuntu: python3 and python3-venv) or name one: make install PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	fi; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    echo "making .venv with $$("$$found" --version)"; \
	    "$$found" -m venv --clear .venv; \
	fi; \
	echo "installing the project and its tools into .venv (the first time takes a minute or two)"; \
	$(BIN)/python -m pip install --quiet --editable '.[local,dev]'; \
	$(BIN)/python -m pipeline.local.prepare || true; \
	touch $(STAMP)

lint: install  ## style, layers, and whether generated pages are up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/python -m pipeline.metrics --check
	$(BIN)/python -m pipeline.config.reference --check
	$(BIN)/python -m agents.asyncapi --check
	$(BIN)/python -m agents.view.sql_reference --check
	$(BIN)/python -m pipeline.wire.generate --check
	$(BIN)/buf lint proto
	$(BIN)/buf format --diff --exit-code proto
	$(BIN)/buf breaking proto --against $(PUBLISHED_PROTO)

proto: install  ## the code in pipeline/wire, from proto/
	$(BIN)/python -m pipeline.wire.generate

types: install  ## mypy --strict on pipeline/
	$(BIN)/mypy

check: lint types test

docs: install  ## writes the generated pages: docs/metrics.md, docs/configuration.md, docs/asyncapi.yaml, the tables of docs/sql.md
	$(BIN)/python -m pipeline.metrics
	$(BIN)/python -m pipeline.config.reference
	$(BIN)/python -m agents.asyncapi
	$(BIN)/python -m agents.view.sql_reference

bench: install  ## all benchmarks, one table each; takes a while and wants an idle machine
	$(BIN)/python -m bench $(ARGS)

conservation: install  ## the conservation test at full size: 500,000 events, at least 20 kills
	CONSERVATION=full $(BIN)/python -m pytest tests/conservation --timeout 3600 -s $(ARGS)

fuzz: install  ## 100,000 requests at random to the listener; FUZZ_SEED=... repeats a run
	FUZZ_REQUESTS=$${FUZZ_REQUESTS:-100000} $(BIN)/python -m pytest tests/integration/inbound/test_fuzz.py --timeout 7200 -s $(ARGS)

clean:  ## everything that can be made again, the local servers' data too
	@if [ -x $(BIN)/distributary ]; then $(BIN)/distributary local down || true; fi
	rm -rf .venv .distributary .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
