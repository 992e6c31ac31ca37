# make demo    a real spec: checked, counted, compiled to torch, run on a clip
# make test    what CI runs; with SWEEP=1 also the cases that take longer
# make check   in a minute: format, types, imports, and the tests of what changed
# make fmt     format the sources
# make bench   how fast start, parsing and compiling are
#
# Everything runs in .venv, which the first command sets up and later ones only look at.

VENV ?= .venv
PYTHON ?= $(firstword $(foreach p,python3.11 python3.12 python3.13 python3.14 python3,$(if $(shell \
  $(p) -c 'import sys; sys.version_info >= (3, 11) and print(1)' 2>/dev/null),$(p))))

BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DELETE_ON_ERROR:
.PHONY: setup demo test check lint unit fmt bench clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt hatch_build.py
	@test -n "$(PYTHON)" || { echo "tsdsl needs Python 3.11 or newer" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once; some minutes)" >&2
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,video]'
	@touch $@

demo: $(READY)
	@BIN=$(BIN) examples/demo.sh

test: lint unit

lint: $(READY)
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --config pyproject.toml >$(VENV)/lint-imports.log || { cat $(VENV)/lint-imports.log; exit 1; }

# pytest comes last, and its closing line is the last that is printed.
unit: lint
	@$(BIN)/python -m pytest -q -n auto --dist worksteal $(if $(SWEEP),--sweep)

# Says which tests it runs, and which it leaves to `make test`.
check: lint
	@$(BIN)/python tests/affected.py

fmt: $(READY)
	@$(BIN)/ruff check -q --fix-only .
	@$(BIN)/ruff format -q .

bench: $(READY)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV) .bench build dist tsdsl/_grammars
