"""Settings of a mutation run: modules.toml, which lists what is changed, and which tests there are."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import python, sql
from .mutant import Change, Mutant, files, named

MODULES = Path(__file__).with_name("modules.toml")


@dataclass(frozen=True)
class Settings:
    """A tree and what of it is changed. database: the module that starts a server, empty where the tests need none."""

    root: Path
    python: dict[str, list[str]]
    sql: dict[str, list[str]]
    tests: str
    left_out: list[str]
    preload: list[str]
    database: str

    @classmethod
    def read(cls, root: Path, file: Path = MODULES) -> "Settings":
        """Return the settings in a file."""
        found = tomllib.loads(file.read_text("utf-8"))
        tests = found["tests"]
        return cls(
            root,
            found.get("python", {}),
            found.get("sql", {}),
            tests["files"],
            tests.get("left_out", []),
            tests.get("preload", []),
            tests.get("database", ""),
        )

    def modules(self) -> list[str]:
        """Return the names of the rows of the table."""
        return [*self.python, *self.sql]

    def python_files(self) -> list[str]:
        """Return the Python files that are changed."""
        return [self._relative(path) for patterns in self.python.values() for path in files(self.root, patterns)]

    def sql_files(self) -> list[str]:
        """Return the SQL files that are changed."""
        return [self._relative(path) for patterns in self.sql.values() for path in files(self.root, patterns)]

    def paths(self, modules: list[str]) -> list[str]:
        """Return the files of some modules."""
        patterns = [pattern for module in modules for pattern in (self.python.get(module) or self.sql[module])]
        return [self._relative(path) for path in files(self.root, patterns)]

    def test_files(self) -> list[str]:
        """The files of tests."""
        return [self._relative(path) for path in files(self.root, [self.tests]) if path.name not in self.left_out]

    def mutants(self, modules: list[str]) -> list[Mutant]:
        """All mutants of some modules."""
        found = []
        for module in modules:
            if module in self.python:
                for path in files(self.root, self.python[module]):
                    text = path.read_text("utf-8")
                    found += named(module, "python", self._relative(path), text, python.changes(text))
            else:
                found += self._sql_mutants(module)
        return found

    def _sql_mutants(self, module: str) -> list[Mutant]:
        """Return the mutants of queries and of the last definition of each function, view and trigger that is left."""
        texts = {path: path.read_text("utf-8") for path in files(self.root, self.sql[module])}
        last: dict[tuple[str, str], Path] = {}
        for path, text in texts.items():
            for gone in sql.dropped(text):
                last.pop(gone, None)
            last |= {(piece.kind, piece.name): path for piece in sql.objects(text)}
        found = []
        for path, text in texts.items():
            pieces = sql.queries(text)
            kind = "query" if pieces else "migration"
            pieces = pieces or [piece for piece in sql.objects(text) if last.get((piece.kind, piece.name)) == path]
            changes: list[Change] = [change for piece in pieces for change in sql.changes(text, piece)]
            found += named(module, kind, self._relative(path), text, changes)
        return found

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()
