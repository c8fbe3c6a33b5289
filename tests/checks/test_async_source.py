"""Source that waits becomes source that awaits, at the places that rules say and nowhere else."""

import ast
import textwrap

import pytest

from checks import async_face
from checks.async_source import Rules, asynchronous


def made(source: str, **rules: object) -> str:
    given = {"package": "tomato_dao", "target": "tomato_dao.aio", "awaited": r"self\._q\.\w+", **rules}
    text = asynchronous(textwrap.dedent(source), Rules(**given))  # type: ignore[arg-type]
    ast.parse(text)
    return text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("def f(self): return self._q.get(1)", "async def f(self): return await self._q.get(1)"),
        ("def f(self): return self._q.get(1).value", "async def f(self): return (await self._q.get(1)).value"),
        ("def f(self): return self._q.get(1)[0]", "async def f(self): return (await self._q.get(1))[0]"),
        ("def f(self): return g(self._q.get(1))", "async def f(self): return g(await self._q.get(1))"),
        ("def f(self): return lambda n: self._q.get(n)", "def f(self): return lambda n: self._q.get(n)"),
        ("def f(self): return self.other(1)", "def f(self): return self.other(1)"),
    ],
)
def test_a_call_is_awaited_where_it_is_used(body: str, expected: str) -> None:
    assert made(f"class C:\n    {body}\n") == f"class C:\n    {expected}\n"


def test_callers_of_an_asynchronous_method_become_asynchronous() -> None:
    source = """
        class C:
            def outer(self):
                return self.inner()
            def inner(self):
                return self._q.get()
        """
    assert made(source).count("async def") == 2
    assert "return await self.inner()" in made(source)


def test_managers_that_wait_stand_inside_those_that_do_not() -> None:
    source = """
        @contextmanager
        def f() -> Iterator[None]:
            with quiet(), transaction():
                yield
        """
    assert made(source, managers="transaction", names={"contextmanager": "asynccontextmanager"}) == textwrap.dedent(
        """
        @asynccontextmanager
        async def f() -> AsyncIterator[None]:
            with quiet():
                async with transaction():
                    yield
        """
    )


def test_names_come_from_where_they_are_then() -> None:
    source = "from .pool import Pool, PoolStats\nfrom . import rows\n"
    text = made(source, names={"Pool": "AsyncPool"}, homes={"AsyncPool": "tomato_dao.aio.pool"})
    assert text == "from .pool import AsyncPool\nfrom ..pool import PoolStats\nfrom .. import rows\n"


def test_a_text_that_is_to_be_replaced_has_to_be_there() -> None:
    with pytest.raises(ValueError, match="not there any more: 'threads'"):
        made("x = 1\n", texts=[("threads", "tasks")])


def test_the_files_are_those_that_would_be_made_now() -> None:
    texts = async_face.made()
    assert texts
    for path, text in texts.items():
        assert path.read_text("utf-8") == text, path
        assert text.startswith("# Generated from "), path
