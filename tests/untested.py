"""A run of the whole suite fails where it did not run every named query."""

from collections.abc import Iterator, Sequence

import pytest

from tomato_dao.database import QUERIES
from tomato_dao.query import Query
from tomato_dao.statements import QueryConnection

_ran: set[str] = set()


@pytest.fixture(scope="session", autouse=True)
def _note_queries() -> Iterator[None]:
    """Notes the queries that this process runs."""
    with pytest.MonkeyPatch.context() as patch:
        run = QueryConnection.run

        def noted(connection: QueryConnection, query: Query, values: Sequence[object]) -> object:
            _ran.add(query.name)
            return run(connection, query, values)

        patch.setattr(QueryConnection, "run", noted)
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """What a worker of pytest-xdist has run."""
    _ran.update(getattr(node, "workeroutput", {}).get("ran", ()))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In a worker: say what ran. Else: fail where a query did not."""
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["ran"] = sorted(_ran)
        return
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    untested = [query for query in QUERIES.values() if query.name not in _ran]
    if is_whole and exitstatus == pytest.ExitCode.OK and untested:
        print()
        for query in untested:
            print(f"{query.path}:{query.line}: {query.name}: no test runs it")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
