# make run    install into .venv and run the server      make test   install into .venv and pass the tests
# make check  everything CI asks for, but for the builds  make bench  side by side with redis-server
# make crash  long crash rounds                           make differential   20,000 examples against redis-server

VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
ARGS ?=
SOURCES = pyproject.toml setup.py $(shell find src storage -name "*.pyx" -o -name "*.pxd") $(shell sed -n "s/.*: \"\(.*\)\",/\1/p" setup.py)

.PHONY: run test check lint types imports smoke bench crash differential pure clean

run: $(VENV)/.installed
	$(BIN)/perdure-server $(ARGS)

test: $(VENV)/.tested-with
	$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

check: lint types imports test smoke

lint: $(VENV)/.developing
	$(BIN)/ruff check src storage tools tests benchmarks

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

differential: $(VENV)/.tested-with
	PERDURE_EXAMPLES=20000 $(BIN)/python -m pytest tests/model --timeout 7200 $(ARGS)

# The same tests on pure Python, in an environment of its own.
pure:
	PERDURE_PURE=1 $(MAKE) test VENV=.venv-pure

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

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
