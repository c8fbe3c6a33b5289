# Everything a newcomer types; each target sets up what it needs. `make help` lists them.
.POSIX:
.SUFFIXES:

PYTHON = python3
PY = .venv/bin/python
TOPOLOGIES = demo/topologies
SQLFLUFF = --quiet --disable-progress-bar --processes 2 db/queries db/migrations db/distributed tests/plans

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

setup: .venv/installed ## install everything into .venv (the other targets do it too)

migrate: setup ## bring the database of DATABASE_URL, else the embedded server's, to this schema (CONTRACT=yes: in spite of older workers)
	@$(PY) -m tomato_dao migrate $(if $(CONTRACT),--contract)

migrate-status: setup ## list the migrations: applied, pending, edited since, unknown to this code
	@$(PY) -m tomato_dao migrate status

rollback: setup ## undo the latest migration
	@$(PY) -m tomato_dao migrate rollback

new-migration: setup ## make a file for a migration: make new-migration NAME=host_owner
	@$(PY) -m tomato_dao migrate new "$(NAME)"

roles: setup ## make the roles tomato_owner, tomato_app and tomato_reader, and give them their privileges
	@$(PY) -m tomato_dao roles

demo: setup ## import topologies from 50 threads, change and export them (TOPOLOGIES=dir for your own)
	@$(PY) -m demo "$(TOPOLOGIES)"

test: .venv/dev ## run the tests, on the server of DATABASE_URL, else on one of their own
	@$(PY) -m pytest -n 4 --dist worksteal -m "not long"

test-fast: .venv/dev ## run the tests that are quick, in under a minute
	@$(PY) -m pytest -n 2 --dist worksteal -m "not slow and not long"

test-long: .venv/dev ## run the tests that take minutes each: large data, many faults
	@$(PY) -m pytest -n 2 --dist worksteal -m long

chaos: .venv/dev ## let faults rage for minutes over what several processes do, judge it, write docs/reliability.md's figures (SEED=n)
	@$(PY) -m tests.chaos --write $(if $(SEED),--seed "$(SEED)")

mutants: .venv/dev ## change the product, one small thing at a time, and tell what no test notices (SECONDS=600 MODULES="pool locks")
	@$(PY) -m checks.mutants --seconds "$(SECONDS)" --seed "$(SEED)" $(MODULES)

check: .venv/dev check-queries ## format, lint, spelling, types, queries, generated files up to date
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m codespell_lib
	@$(PY) -W ignore -m sqlfluff lint $(SQLFLUFF)
	@$(PY) -m checks.migration_lint
	@$(PY) -m checks.schema_file --check
	@$(PY) -m checks.async_face --check
	@said=$$(.venv/bin/lint-imports --no-cache --no-logo) || { echo "$$said" >&2; exit 1; }
	@$(PY) -m checks.imports --check
	@$(PY) -m checks.schema_pages --check
	@$(PY) -m checks.api
	@$(PY) -m mypy

check-queries: .venv/dev ## hold queries, rows, DAOs and schema against each other
	@$(PY) -m checks.contract

check-plans: .venv/dev ## look at the queries' plans on a large testbed: scans, sorts, and what changed since tests/plans was written
	@$(PY) -m checks.plans

check-rollout: .venv/dev ## hold schema and queries against older code: a release (BASE=1.0.0; the last one) or a git ref
	@$(PY) -m checks.rollout $(BASE)

release-files: .venv/dev ## write what a release leaves for later ones, of the version in tomato_dao/__init__.py
	@$(PY) -m checks.cut

plans: .venv/dev ## write tests/plans, after a change of plans that is meant
	@$(PY) -m checks.plans --write

format: .venv/dev ## format Python and SQL
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .
	@$(PY) -W ignore -m sqlfluff fix $(SQLFLUFF)

schema: .venv/dev ## write what is generated: db/schema.sql, tomato_dao/dao/faces.pyi, tomato_dao/aio, the pictures and tables in docs/
	@$(PY) -m checks.schema_file
	@$(PY) -m checks.contract --write
	@$(PY) -m checks.async_face
	@$(PY) -m checks.imports
	@$(PY) -m checks.schema_pages

docs: .venv/docs ## build the documentation as a site in docs/_build
	@$(PY) -m sphinx -q -W --keep-going -b html docs docs/_build
	@echo "docs/_build/index.html"

# Each target writes its section of docs/benchmarks.md; with options (python -m benchmarks.NAME --help) nothing is written.
bench: setup ## measure round trips, import and calls
	@$(PY) -m benchmarks.page __main__

bench-calls: setup .venv/peers ## compare what a call costs with libpq, psycopg by hand, asyncpg, SQLAlchemy, Django
	@$(PY) -m benchmarks.page calls

bench-filters: setup ## measure what optional parameters cost a call, and save on a million rows
	@$(PY) -m benchmarks.page filters

bench-accounting: setup .venv/peers ## measure a minute's accounting of a large testbed, and Django's for a sample of it
	@$(PY) -m benchmarks.page accounting

bench-dump: setup .venv/peers ## compare bin/dump and bin/load with psql, pg_restore, Django's dumpdata and loaddata
	@$(PY) -m benchmarks.page dump_load

bench-legacy: setup ## load an old backend's dump, and one ten times as large: seconds and memory
	@$(PY) -m benchmarks.page legacy

bench-scale: .venv/dev ## measure reads on a standby, a pooler in between and a failover
	@$(PY) -m benchmarks.page scale

bench-claims: setup ## measure claims while an old transaction keeps dead rows, beside procrastinate's query, and how workers share
	@$(PY) -m benchmarks.page claims

bench-events: setup ## measure commits a second with the triggers that notify, and without
	@$(PY) -m benchmarks.page events

bench-year: setup ## simulate a year of a testbed: sizes, dead rows, WAL, and calls at its start and end (nine minutes)
	@$(PY) -m benchmarks.page year

bench-all: bench bench-calls bench-filters bench-accounting bench-dump bench-legacy bench-scale bench-claims bench-events bench-year ## run all of them, which takes hours

wheel: .venv/dev ## build dist/tomato_dao-*.whl
	@$(PY) -m pip wheel -q --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

stop: ## stop the embedded server
	@if [ -f .venv/installed ]; then $(PY) -m tomato_dao embedded stop; \
	else echo "stop: not set up, so nothing was stopped (make setup stop does)" >&2; fi

clean: ## stop the embedded server and remove all that was made, its data too; backups stay
	@if [ -f .venv/installed ]; then $(PY) -m tomato_dao embedded remove; \
	else echo "clean: not set up, so no embedded server was looked for (make setup clean does)" >&2; fi
	@if [ -d var ]; then find var -mindepth 1 -maxdepth 1 ! -name backups -exec rm -rf {} +; fi
	@rm -rf .venv dist build docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tomato-dao needs Python 3.11 or later; name one: make PYTHON=python3.12 …")'
	@echo "setting up .venv …" >&2
	@$(PYTHON) -m venv .venv
	@$(PY) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PY) -c 'import pathlib, site; pathlib.Path(site.getsitepackages()[0], "checkout.pth").write_text(str(pathlib.Path.cwd()))'
	@$(PY) -m compileall -q tomato_dao
	@touch $@

# contributors' tools: what tests and checks need
.venv/dev: .venv/installed requirements-dev.lock
	@echo "adding the tools for tests and checks to .venv …" >&2
	@$(PY) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# what builds the documentation
.venv/docs: .venv/installed requirements-docs.lock
	@$(PY) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@

# what benchmarks compare with
.venv/peers: .venv/dev benchmarks/requirements.lock
	@$(PY) -m pip install -qq --disable-pip-version-check --require-hashes -r benchmarks/requirements.lock
	@touch $@

.PHONY: help docs setup migrate migrate-status rollback new-migration roles demo test test-fast test-long chaos mutants check check-queries check-plans check-rollout release-files plans format schema
.PHONY: bench bench-calls bench-filters bench-accounting bench-dump bench-legacy bench-scale bench-claims bench-events
.PHONY: bench-year bench-all wheel stop clean
