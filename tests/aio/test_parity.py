"""The asynchronous face has what the other has: names, parameters, result types and docstrings."""

import inspect
import typing
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path

import pytest

import tomato_dao.dao
from tomato_dao import AsyncDatabase, Database

MODULES = sorted(
    path.stem for path in Path(tomato_dao.dao.__file__).parent.glob("*.py") if path.stem not in ("__init__", "rules")
)


def daos(package: str, module: str) -> dict[str, type]:
    found = import_module(f"{package}.{module}")
    return {name: cls for name, cls in vars(found).items() if inspect.isclass(cls) and cls.__module__ == found.__name__}


def public(cls: type) -> dict[str, typing.Any]:
    return {name: member for name, member in vars(cls).items() if not name.startswith("_")}


@pytest.mark.parametrize("module", MODULES)
def test_a_dao_has_the_same_calls(module: str) -> None:
    sync, asynchronous = daos("tomato_dao.dao", module), daos("tomato_dao.aio.dao", module)
    assert {f"Async{name}" for name in sync} == set(asynchronous)
    for name, cls in sync.items():
        other = asynchronous[f"Async{name}"]
        assert cls.__doc__ == other.__doc__
        assert [*public(cls)] == [*public(other)]
        for method, function in public(cls).items():
            _check_same(function, public(other)[method], f"{name}.{method}")


def _check_same(function: typing.Any, other: typing.Any, name: str) -> None:
    """One is awaited, or gives what is; all else is equal."""
    assert function.__doc__ == other.__doc__, name
    ours, theirs = inspect.signature(function), inspect.signature(other)
    assert [*ours.parameters.values()] == [*theirs.parameters.values()], name
    returned = ours.return_annotation
    if typing.get_origin(returned) is Iterator:
        assert typing.get_origin(theirs.return_annotation) is AsyncIterator, name
        assert typing.get_args(theirs.return_annotation) == typing.get_args(returned), name
        assert not inspect.iscoroutinefunction(other), name
    else:
        assert theirs.return_annotation == returned, name
        assert inspect.iscoroutinefunction(other), name


def test_a_database_has_the_same_calls() -> None:
    """Their docstrings differ where one tells of threads and the other of tasks."""
    sync, asynchronous = (
        {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_")} for cls in (Database, AsyncDatabase)
    )
    assert sync.keys() == asynchronous.keys()
    for name, function in sync.items():
        assert asynchronous[name].__doc__, name
        ours, theirs = (inspect.signature(f).parameters.values() for f in (function, asynchronous[name]))
        assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs], name
