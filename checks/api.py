"""Comparison of the Python API with the last release's, by griffe, to find changes that break callers.

checks/api/VERSION.json has the code of a release's modules without the bodies of functions, and the names listed in
docs/reference/api.md, which are the API. Intended breakages, announced as CONTRIBUTING.md describes, are listed in
checks/api/accepted.txt, one per line.
"""

import argparse
import ast
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import tomato_dao
from tomato_dao.errors import TomatoError
from tomato_dao.ops.cli import run_command
from tomato_dao.sql.wording import counted

DIRECTORY = Path(__file__).with_name("api")
ACCEPTED = "accepted.txt"
_PACKAGE = Path(tomato_dao.__file__).parent
_PAGE = _PACKAGE.parent / "docs" / "reference" / "api.md"
# Folders of modules that callers do not import, except for the functions that the package exports.
_INNER, _CALLED = ("sql", "ops", "examinations", "legacy"), ("__init__.py", "migrate.py", "load.py")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LISTED = re.compile(r"auto(?:function|class|exception|module|data)::\s*(tomato_dao[\w.]*)")


class Snapshot(msgspec.Struct, frozen=True):
    """The API of a release. names: the names listed in the reference. modules: the stripped text of each module, by path."""

    version: str
    names: list[str]
    modules: dict[str, str]


def snapshot() -> Snapshot:
    """Return the API of this code."""
    modules = {
        path.relative_to(_PACKAGE.parent).as_posix(): stripped(path.read_text("utf-8"))
        for path in sorted(_PACKAGE.rglob("*.py"))
    }
    return Snapshot(tomato_dao.__version__, sorted(set(_LISTED.findall(_PAGE.read_text("utf-8")))), modules)


def stripped(source: str) -> str:
    """Return a module's code without docstrings and bodies of functions, except for the assignments in __init__."""
    return ast.unparse(_Stripper().visit(ast.parse(source))) + "\n"


class _Stripper(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        kept = [line for line in node.body if isinstance(line, ast.Assign | ast.AnnAssign)] if node.name == "__init__" else []
        node.body = [*kept, ast.Expr(ast.Constant(...))]
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        is_all = [ast.unparse(target) for target in node.targets] == ["__all__"]
        return None if is_all else node  # the reference, not __all__, defines the public names

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if is_text else node


def breakages(base: Snapshot) -> Iterator[str]:
    """Yield the incompatible changes of a release's API, a line each."""
    import griffe  # 0.3 s that a checkout without releases saves

    with tempfile.TemporaryDirectory(prefix="tomato-dao-api-") as directory:
        for name, text in base.modules.items():
            file = Path(directory, "base", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        for name, text in snapshot().modules.items():
            file = Path(directory, "now", name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        before, now = (
            griffe.load("tomato_dao", search_paths=[Path(directory, part)], allow_inspection=False, try_relative_path=False)
            for part in ("base", "now")
        )
        names = [_canonical(before, name) for name in base.names]
        found = [breakage for breakage in griffe.find_breaking_changes(before, now) if _is_listed(breakage.obj.path, names)]
        told = {_line(breakage.obj.path, breakage.explain(griffe.ExplanationStyle.ONE_LINE)) for breakage in found}
    yield from sorted(told)


def _canonical(package: Any, name: str) -> str:
    """Return the path of the definition of a name in the reference."""
    found = package
    for part in name.split(".")[1:]:
        found = found.members[part]
        found = found.final_target if found.is_alias else found
    return str(found.path)


def _is_listed(path: str, names: list[str]) -> bool:
    """Return whether a path is a name of the reference, or a public part of one."""
    for name in names:
        if path == name or path.startswith(f"{name}."):
            return not any(part.startswith("_") for part in path.removeprefix(name).split("."))
    return False


def _line(path: str, explained: str) -> str:
    said = _COLOUR.sub("", explained)
    return f"{path}: {said.partition(': ')[2] or said}"


def versions(directory: Path = DIRECTORY) -> list[str]:
    """Return the versions with snapshots, oldest first."""
    found = [path.stem for path in directory.glob("[0-9]*.json")] if directory.is_dir() else []
    return sorted(found, key=lambda version: [int(part) if part.isdigit() else 0 for part in version.split(".")])


def write(directory: Path = DIRECTORY) -> Path:
    """Write the snapshot of this code, and return its file."""
    directory.mkdir(exist_ok=True)
    made = snapshot()
    path = directory / f"{made.version}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    return path


def read(version: str, directory: Path = DIRECTORY) -> Snapshot:
    """Return a release's snapshot."""
    return msgspec.json.decode((directory / f"{version}.json").read_bytes(), type=Snapshot)


def findings(directory: Path = DIRECTORY) -> list[str]:
    """Return the changes that break callers of the last release and are not accepted, and needless acceptances."""
    if not (released := versions(directory)):
        return []
    found = list(breakages(read(released[-1], directory)))
    accepted: list[str] = []
    if (file := directory / ACCEPTED).exists():
        accepted = [line for line in file.read_text("utf-8").splitlines() if line and line[0] not in "# "]
    needless = [f"{line}: it is accepted, but is no breakage" for line in accepted if line not in found]
    return [line for line in found if line not in accepted] + needless


def main() -> None:
    """Run `python -m checks.api`."""
    argparse.ArgumentParser(prog="api", description="Compare the Python API with the last release's.").parse_args()
    found = findings()
    for line in found:
        print(line, file=sys.stderr)
    if found:
        raise TomatoError(f"{counted(len(found), 'finding')}: callers of {versions()[-1]} would break")


if __name__ == "__main__":
    run_command(main, "api")
