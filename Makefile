# make run    install into .venv and run the server      make test   install into .venv and pass the tests
# make check  everything CI asks for, but for the builds  make bench  side by side with redis-server
# make crash  long crash rounds                           make differential   20,000 examples against redis-server
# make fuzz   ten minutes of scripts that nobody would write
# make uses   queue libraries finish 1,000 jobs each, through a kill -9
# make pure   the tests without compiled modules          make compiled       are the compiled modules in use?
#
# ARGS goes on: make run ARGS="--port 7000", make test ARGS="tests/storage -x". Nothing is installed outside this folder.

VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
ARGS ?=
SOURCES = pyproject.toml setup.py $(shell find src storage -name "*.pyx" -o -name "*.pxd") $(shell sed -n "s/.*: \"\(.*\)\",/\1/p" setup.py)

.PHONY: run test check lint types imports smoke bench crash differential fuzz uses pure compiled clean

run: $(VENV)/.installed
	$(BIN)/perdure-server $(ARGS)

test: $(VENV)/.tested-with
	$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

check: lint types imports test smoke

lint: $(VENV)/.developing
	$(BIN)/ruff check src storage tools tests benchmarks setup.py .ci/compiled

types: $(VENV)/.developing
	$(BIN)/mypy

imports: $(VENV)/.developing
	$(BIN)/lint-imports

smoke: $(VENV)/.tested-with
	$(BIN)/perdure crash --smoke

bench: $(VENV)/.tested-with
	$(BIN)/python benchmarks/run.py $(ARGS)

crash: $(VENV)/.tested-with
	$(BIN)/perdure crash --rounds 200 --clients 8 --level always $(ARGS)
	$(BIN)/perdure crash --rounds 200 --clients 8 --level everysec $(ARGS)

fuzz: $(VENV)/.tested-with
	PERDURE_FUZZ_SECONDS=$(or $(SECONDS),600) $(BIN)/python -m pytest tests/fuzz --timeout 7200 $(ARGS)

differential: $(VENV)/.tested-with
	PERDURE_EXAMPLES=20000 $(BIN)/python -m pytest tests/model --timeout 7200 $(ARGS)

uses: $(VENV)/.tested-with
	$(BIN)/python -m pip install --quiet --editable ".[uses]"
	PERDURE_JOBS=1000 $(BIN)/python -m pytest tests/uses --timeout 600 $(ARGS)

compiled: $(VENV)/.installed
	$(BIN)/python .ci/compiled

# Without compiled modules, in an environment of its own. PERDURE_PURE also passes those by that lie beside their sources.
pure:
	PERDURE_PURE=1 $(MAKE) test VENV=.venv-pure

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "on Debian: apt install python3-venv" >&2; exit 1; }

$(VENV)/.installed: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.tested-with: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	@touch $@ $(VENV)/.installed

$(VENV)/.developing: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.tested-with $(VENV)/.installed

clean:
	rm -rf $(VENV) .venv-pure build src/*.egg-info
	find src storage -name "*.so" -delete
	find src storage -name "*.c" -delete
