"""Generator of the asynchronous face, tomato_dao/aio, from the synchronous source (docs/decisions/asyncio.md).

`make schema` writes the files, `make check` checks that they are up to date.
"""

import argparse
import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tomato_dao.errors import TomatoError
from tomato_dao.ops.cli import run_command

from .async_source import Rules, asynchronous

PACKAGE = Path(__file__).parents[1] / "tomato_dao"
TARGET = PACKAGE / "aio"
_AIO = "tomato_dao.aio"
_NO_DAO = {"__init__.py", "rules.py"}
# A call of a query, in a DAO, or of the helper that makes it.
_QUERY = r"self\._(q|exchange)\.\w+|claimed"


def made() -> dict[Path, str]:
    """Return the text of each generated file."""
    rough = {path: f"# Generated from {name} by “make schema”; not to be edited.\n{text}" for path, name, text in _rough()}
    return _tidy(rough) | {TARGET / "dao" / "faces.pyi": _faces()}


def _rough() -> Iterator[tuple[Path, str, str]]:
    for path in sorted((PACKAGE / "dao").glob("*.py")):
        if path.name not in _NO_DAO:
            yield _made(path, TARGET / "dao" / path.name, _dao_rules(path))
    yield _made(PACKAGE / "dao" / "__init__.py", TARGET / "dao" / "paging.py", _PAGING)
    yield _made(PACKAGE / "sql" / "binding.py", TARGET / "binding.py", _BINDING)
    yield _made(PACKAGE / "committing.py", TARGET / "committing.py", _COMMITTING)
    yield _made(PACKAGE / "transactions.py", TARGET / "transactions.py", _TRANSACTIONS)
    yield _made(PACKAGE / "database.py", TARGET / "database.py", _database_rules())


def _made(source: Path, target: Path, rules: Rules) -> tuple[Path, str, str]:
    name = source.relative_to(PACKAGE.parent).as_posix()
    try:
        return target, name, asynchronous(source.read_text("utf-8"), rules)
    except ValueError as error:
        raise TomatoError(f"{name}: checks/async_face.py can't make it asynchronous: {error}") from error


_PAGING = Rules(
    "tomato_dao.dao",
    f"{_AIO}.dao",
    awaited="page|claim",
    names={"Iterator": "AsyncIterator"},
    texts=[
        ("The DAOs: one thin class per entity, whose methods are one named query each; faces.pyi tells their types.",
         "Iterating over pages of rows, and claiming from a front on."),
        ("page: Callable[[Key, int], Sequence[Row]]", "page: Callable[[Key, int], Awaitable[Sequence[Row]]]"),
        ("claim: Callable[[datetime | None], Sequence[Row]]", "claim: Callable[[datetime | None], Awaitable[Sequence[Row]]]"),
        ("import Callable,", "import Awaitable, Callable,"),
        ("from ..errors import InvalidValue, LockLost, NotFound", "from . import Front"),
    ],
    keep=frozenset({"Row", "Key", "PAGE", "every", "claimed"}),
)  # fmt: skip


_BINDING = Rules(
    "tomato_dao.sql",
    _AIO,
    awaited="run|many",
    texts=[("which DAOs call.", "to be awaited.")],
)

_HOMES = {
    "AsyncPool": f"{_AIO}.pool",
    "AsyncQueryConnection": f"{_AIO}.connection",
    "AsyncLock": f"{_AIO}.locks",
    "AsyncLocks": f"{_AIO}.locks",
    "AsyncListener": f"{_AIO}.events",
    "AsyncEvents": f"{_AIO}.events",
    "AsyncCommitting": f"{_AIO}.committing",
    "ended_in_time": f"{_AIO}.committing",
    "AsyncReplicas": f"{_AIO}.replicas",
    "AsyncTransactions": f"{_AIO}.transactions",
    "failed": f"{_AIO}.transactions",
    "bound": f"{_AIO}.binding",
    "sleep": "asyncio",
    "was_committed": f"{_AIO}.commits",
}
_NAMES = {
    **{name.removeprefix("Async"): name for name in _HOMES if name.startswith("Async")},
    "Database": "AsyncDatabase",
    "ExitStack": "AsyncExitStack",
    "AbstractContextManager": "AbstractAsyncContextManager",
    "stack.push": "stack.push_async_exit",
    "connection.close": "connection.end",
    "transaction.__enter__": "transaction.__aenter__",
    "transaction.__exit__": "transaction.__aexit__",
    "psycopg.Transaction": "psycopg.AsyncTransaction",
    "psycopg.Connection": "psycopg.AsyncConnection",
}

# A cancelled task has no time to find out the outcome of its COMMIT.
_INTERRUPTED = """\
        except KeyboardInterrupt as interrupt:
            try:
                done = self._was_committed(connection)
                interrupt.add_note("but all was committed before" if done else "and all was rolled back")
            except OutcomeUnknown as error:
                interrupt.add_note(str(error))
            raise
"""

_COMMITTING = Rules(
    "tomato_dao",
    _AIO,
    awaited=r"transaction\.__(enter|exit)__|was_committed|connection\.wait_until_settled",
    homes=_HOMES,
    names=_NAMES,
    texts=[
        ("The end of threads' transactions:", "The end of tasks' transactions:"),
        ("in this thread (or task of asyncio)", "in this task"),
        (_INTERRUPTED, ""),
        (
            '        if connection.commit_state != "sent":',
            "        with ending():  # its answer may be on its way\n            connection.wait_until_settled(deadline())\n"
            '        if connection.commit_state != "sent":',
        ),
        (" An interrupt gets\n        a note with the outcome.", ""),
    ],
)

_TRANSACTIONS = Rules(
    "tomato_dao",
    _AIO,
    awaited=r"(self\._pool|pool)\.(checkout|checkout_live|close)|self\._begin|work|sleep|connection\.clean|self\.close"
    r"|connection\.wait_until_settled|_check_not_failed",
    managers=r"ExitStack|self\.transaction|self\._outermost|self\.committing|ended_in_time",
    homes=_HOMES,
    names=_NAMES,
    texts=[
        ("over one pool that all threads share", "over one pool that all tasks of an event loop share"),
        ("safe to share between threads; `with` closes it", "safe to share between tasks; `async with` closes it"),
        ("Run this thread's calls in the block", "Run this task's calls in the block"),
        ("A transaction belongs to the asyncio task that began it: other\n        tasks of the thread get WrongState.",
         "It belongs to this task alone: tasks that are started\n        in the block get WrongState from their calls."),
        ("            db.run(lambda", "            await db.run(lambda"),
        ("            with db.connection() as connection:\n                connection.execute(",
         "            async with db.connection() as connection:\n                await connection.execute("),
        ("    if connection.pgconn.transaction_status == TransactionStatus.INERROR:\n        raise failed",
         "    connection.wait_until_settled()\n    if connection.pgconn.transaction_status == TransactionStatus.INERROR:\n"
         "        raise failed"),
        ("        else:  # the end of the transaction was interrupted\n            connection.close()",
         "        else:  # the end of the transaction was interrupted\n            connection.abandon()"),
        ("work: Callable[[], Result]", "work: Callable[[], Awaitable[Result]]"),
        ("import Callable,", "import Awaitable, Callable,"),
        ("must be a function without parameters, not a", "must be a function without parameters that can be awaited, not a"),
        ("another asyncio task of this thread is inside transaction(), which belongs to the thread: run each \"\n"
         '                "task in a thread of its own, as asyncio.to_thread() does, or do not await inside the block"',
         "this task was started inside transaction() of another, whose calls it can't share: start it after the \"\n"
         '                "block, or await the calls one after the other in the block (asyncio.timeout(), not wait_for())"'),
    ],
)  # fmt: skip


def _database_rules() -> Rules:
    homes, names = dict(_HOMES), dict(_NAMES)
    for path in sorted((PACKAGE / "dao").glob("*.py")):
        if path.name not in _NO_DAO:
            names |= {name: f"Async{name}" for name in _classes(path)}
            homes |= {f"Async{name}": f"{_AIO}.dao.{path.stem}" for name in _classes(path)}
    return Rules(
        "tomato_dao",
        _AIO,
        awaited=r"(self\._pool|pool)\.(checkout|checkout_live)|checkout|connection\.run|self\._(events|locks)\.close|super\(\)\.close"
        r"|self\.close|self\._replicas\.close|replicas\.run|self\._was_c\w+",
        homes=homes,
        names=names,
        texts=[
            ("A Database: a DAO per entity, over one pool that all threads share.",
             "An AsyncDatabase: a DAO per entity, over one pool that all tasks of an event loop share."),
            ("safe to share between threads; `with` closes it", "safe to share between tasks; `async with` closes it"),
            ("`connect()` returns one.", "`connect_async()` opens one."),
            ("from .sql import query_files\n", "from .database import QUERIES\n"),
            ("belongs to the calling thread", "belongs to the calling task"),
            ("Let a thread that holds", "Let a task that holds"),
            ("WrongState: This thread holds", "WrongState: This task holds"),
            ("            with db.exclusive(\"topology\"", "            async with db.exclusive(\"topology\""),
            ("                db.topologies.update", "                await db.topologies.update"),
            ("of topologies, from now on.", "of topologies, once the loop or `async with` has begun."),
            ("            for event in db.listen", "            async for event in db.listen"),
        ],
        drop=frozenset({"QUERIES"}),
    )  # fmt: skip


def _dao_rules(path: Path) -> Rules:
    text = path.read_text("utf-8")
    names = {name: f"Async{name}" for name in (*_classes(path), *re.findall(r"\b[A-Z]\w+Queries\b", text))}
    homes = {name: f"{_AIO}.dao.faces" for name in names.values() if name.endswith("Queries")}
    return Rules(
        "tomato_dao.dao",
        f"{_AIO}.dao",
        awaited=_QUERY,
        homes={**homes, "every": f"{_AIO}.dao.paging", "claimed": f"{_AIO}.dao.paging"},
        names={**names, "Iterator": "AsyncIterator"},
    )


def _classes(path: Path) -> list[str]:
    """Return the names of the classes of a file."""
    return [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]


def _faces() -> str:
    """Return the types of the queries for asyncio."""
    text = (PACKAGE / "dao" / "faces.pyi").read_text("utf-8")
    text = text.replace("    def ", "    async def ").replace("from ..", "from ...")
    return re.sub(r"^class (?=\w+Queries)", "class Async", text, flags=re.MULTILINE)


def _tidy(texts: dict[Path, str]) -> dict[Path, str]:
    """Return the texts formatted, with sorted imports and without unused ones."""
    with tempfile.TemporaryDirectory() as directory:
        places = {path: Path(directory, path.relative_to(TARGET)) for path in texts}
        for path, place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(texts[path], "utf-8")
        config = ["--quiet", "--no-cache", "--config", str(PACKAGE.parent / "pyproject.toml")]
        for command in (["check", "--fix", "--select", "F401,I"], ["format"]):
            subprocess.run([sys.executable, "-m", "ruff", *command, *config, directory], check=True)
        return {path: place.read_text("utf-8") for path, place in places.items()}


def main() -> None:
    """Run `python -m checks.async_face [--check]`."""
    parser = argparse.ArgumentParser(prog="async_face", description="Write what of tomato_dao/aio is made from the other face.")
    parser.add_argument("--check", action="store_true", help="only check that it is up to date (exit 1 if not)")
    check = parser.parse_args().check
    texts = made()
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text]
    kept = {*texts, *(path for path in TARGET.rglob("*.py*") if not _is_made(path))}
    stale += [path for path in TARGET.rglob("*.py*") if path not in kept and path.suffix in (".py", ".pyi")]
    if check and stale:
        raise TomatoError(f"stale: {', '.join(p.relative_to(PACKAGE.parent).as_posix() for p in stale)}: run make schema")
    for path in stale:
        if path in texts:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path], "utf-8")
        else:
            path.unlink()


def _is_made(path: Path) -> bool:
    """Return whether a file's first line says that it is generated."""
    return path.suffix in (".py", ".pyi") and path.read_text("utf-8").startswith("# Generated from ")


if __name__ == "__main__":
    run_command(main, "async_face")
