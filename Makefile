# Everything that one types here. `make` alone explains itself.
# The system's own Python where it is new enough: distributions build it with profile-guided optimisation,
# without which every request costs half as much again (measured). PYTHON=python3.13 chooses another.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
PORT ?= 8443
TIME ?= 300
# Of each fuzz target.
SECONDS ?= 30
BIN := .venv/bin
SERVER := .venv/.installed-server
DEV := .venv/.installed-dev
FUZZ := .venv/.installed-fuzz
# Some machines' environment asks Python to keep no compiled modules; each of hundreds of starts would compile them anew.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install
STEP := $(PYTHON) -m lab step
# Workers of pytest; the lab's releases are shared by all of them.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help install demo test test-long lint bench soak fuzz screenshots lock stop clean

help:  ## Print this.
	@echo "slurm-gateway: what to type"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

install: $(SERVER)  ## Make .venv, so that .venv/bin/slurm-gateway runs.

demo: $(SERVER)  ## Real Slurm, a real OpenID provider, the gateway, one job. Ctrl-C stops it all. ONCE=1: only the job. PORT=9443: elsewhere.
	@$(BIN)/python -m lab demo --port $(PORT) $(if $(filter 1,$(ONCE)),--once)

test:  ## All set-up and every test, on every Slurm release of lab/releases.toml.
	@$(call run_tests,300,-m "not long")

test-long: export ALL_EXAMPLES = 1
test-long:  ## The same with the long forms of the long tests.
	@$(call run_tests,1800,)

lint: $(DEV)  ## Format, ruff, mypy, import contracts.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV)  ## Measure the gateway beside five other ways to slurmrestd; write benchmarks/results.json.
	$(BIN)/python -m benchmarks

soak: $(DEV)  ## Kill and fill everything under load for TIME seconds; write soak/results.json and docs/reliability.md.
	$(BIN)/python -m soak --seconds $(TIME)

fuzz: $(FUZZ)  ## Fuzz each parser for SECONDS=30 and keep what is new. ONLY=target: one of them. Linux on x86_64.
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(if $(ONLY),--only $(ONLY))

screenshots: $(DEV)  ## Take the pictures of the documentation anew, in a real Chromium, into docs/images.
	SLURM_GATEWAY_SCREENSHOTS=docs/images $(BIN)/python -m pytest tests/integration/test_pages_in_chromium.py -k pictures

lock:  ## Write requirements/*.txt anew from pyproject.toml, keeping the versions that still fit.
	@$(PIP) --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 pyproject.toml -o requirements/client.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --extra server pyproject.toml -o requirements/server.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --extra server --group dev pyproject.toml -o requirements/dev.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --group fuzz -o requirements/fuzz.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --group clients -o requirements/clients.txt

stop:  ## Stop whatever of the lab still runs.
	@$(PYTHON) -m lab down

clean:  ## Stop the lab and delete its state, the virtual environment and the caches.
	@$(PYTHON) -m lab clean
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The releases of Slurm are unpacked while Python's packages are installed: the one needs nothing of the other.
# The second in the background, which Ctrl-C does not reach: it comes to its end by itself, and starts nothing.
# A test that hangs is shown with its stack and fails after $(1) seconds; the others go on.
# Exit code 3 of the lab: this machine lacks something. The tests that need it are then skipped by name.
define run_tests
	trap '$(PYTHON) -m lab down --unless-in-use || true' EXIT; \
	$(MAKE) -s --no-print-directory $(DEV) & installing=$$!; \
	$(PYTHON) -m lab prepare-tests; prepared=$$?; \
	wait $$installing || exit 1; \
	[ $$prepared = 0 ] || [ $$prepared = 3 ] || exit 1; \
	$(BIN)/python -m tests.integration.ahead >/dev/null 2>&1 & \
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(2) $(ARGS) \
	  -o faulthandler_timeout=$(1) -o faulthandler_exit_on_timeout=true
endef

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; type: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m lab install-packages venv
	@$(STEP) "making .venv" $(PYTHON) -m venv .venv

$(SERVER): requirements/server.txt pyproject.toml | $(BIN)/python
	@$(STEP) "installing the server's libraries into .venv" $(PIP) --require-hashes -r requirements/server.txt
	@$(STEP) "installing slurm-gateway into .venv" $(PIP) --no-deps -e .
	@touch $@

$(DEV): requirements/dev.txt $(SERVER)
	@$(STEP) "installing what the tests need into .venv" $(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

$(FUZZ): requirements/fuzz.txt $(DEV)
	@$(STEP) "installing the fuzzer into .venv" $(PIP) --require-hashes -r requirements/fuzz.txt
	@touch $@
