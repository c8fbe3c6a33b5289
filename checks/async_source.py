"""Conversion of synchronous source to asyncio, by edits at positions of the syntax tree, so that all other text stays.

Patterns define the awaited calls, since no type checker is involved; mypy and pyright check the result.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_PAIRS = {"Iterator": "AsyncIterator", "contextmanager": "asynccontextmanager"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Rules:
    """Rules for one file.

    package, target: the packages of the file and of the result. homes: the modules of names that are defined elsewhere in the
    result. awaited, managers: patterns of the functions, such as “self._q.get”, whose calls are awaited or return an
    asynchronous context manager. names: replacements of names. texts: replacements of text, which are made first and must all
    be found. drop: top-level names that are omitted; keep: the only ones that are kept (default: all).
    """

    package: str
    target: str
    awaited: str
    homes: dict[str, str] = field(default_factory=dict)
    managers: str = r"(?!)"
    names: dict[str, str] = field(default_factory=dict)
    texts: Sequence[tuple[str, str]] = ()
    drop: frozenset[str] = frozenset()
    keep: frozenset[str] | None = None


class _Edits:
    """Replacements in a text by positions of the syntax tree: lines from 1, columns in bytes."""

    def __init__(self, text: str) -> None:
        self._bytes = text.encode()
        self._starts = [0, *(n + 1 for n, byte in enumerate(self._bytes) if byte == 10)]
        self._made: list[tuple[int, int, bytes]] = []

    def replace(self, start: int, end: int, new: str) -> None:
        if start == end or (start, end, new.encode()) not in self._made:
            self._made.append((start, end, new.encode()))

    def before(self, node: ast.expr | ast.stmt, new: str) -> None:
        start, _ = self.span(node)
        self.replace(start, start, new)

    def span(self, node: ast.expr | ast.stmt | ast.alias | ast.arg) -> tuple[int, int]:
        return self.at(node.lineno, node.col_offset), self.at(_last(node), node.end_col_offset or 0)

    def at(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column

    def indent(self, first: int, last: int) -> None:
        """Indent some lines by one step."""
        for line in range(first, last + 1):
            if self._bytes[self.at(line, 0) : self.at(line, 1)] != b"\n":
                self.replace(self.at(line, 0), self.at(line, 0), "    ")

    def text(self) -> str:
        done = self._bytes
        for start, end, new in sorted(self._made, key=lambda edit: edit[:2], reverse=True):
            done = done[:start] + new + done[end:]
        return done.decode()


def asynchronous(source: str, rules: Rules) -> str:
    """Convert source by the rules. Raises ValueError for code that cannot be converted, or a missing text."""
    for old, new in rules.texts:
        if old not in source:
            raise ValueError(f"this text is not there any more: {old!r}")
        source = source.replace(old, new)
    return _Maker(source, rules).made()


class _Maker:
    def __init__(self, source: str, rules: Rules) -> None:
        self._rules = rules
        self._tree = ast.parse(source)
        self._edits = _Edits(source)
        self._parents = {child: node for node in ast.walk(self._tree) for child in ast.iter_child_nodes(node)}
        self._awaited = re.compile(rules.awaited)
        self._managers = re.compile(rules.managers)
        self._own: dict[ast.AST, set[str]] = {}
        self._find_own_methods()

    def made(self) -> str:
        for node in self._tree.body:
            if not self._is_taken(node):
                start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
                self._edits.replace(self._edits.at(start, 0), self._edits.at(_last(node) + 1, 0), "")
                continue
            for inner in ast.walk(node):
                self._change(inner)
        return self._edits.text()

    def _is_taken(self, node: ast.stmt) -> bool:
        """Return whether a top-level statement is kept."""
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node):
            return True
        targets = node.targets if isinstance(node, ast.Assign) else [node]
        names = {getattr(target, "name", getattr(target, "id", "")) for target in targets}
        if self._rules.keep is not None:
            return not names.isdisjoint(self._rules.keep)
        return names.isdisjoint(self._rules.drop)

    def _change(self, node: ast.AST) -> None:
        match node:
            case ast.Call():
                if self._is_awaited(node):
                    self._await(node)
                elif _name(node.func).endswith(".enter_context") and self._is_manager(node.args[0]):
                    end = self._edits.span(node.func)[1]
                    self._edits.replace(end - len("enter_context"), end, "enter_async_context")
                    self._edits.before(node, "await ")
            case ast.FunctionDef() if self._is_async(node):
                self._edits.before(node, "async ")
                self._name_function(node)
            case ast.ImportFrom():
                self._import(node)
            case ast.With():
                self._with(node)
            case ast.YieldFrom():
                self._each(node)
            case ast.Name() if node.id in self._rules.names:
                self._edits.replace(*self._edits.span(node), self._rules.names[node.id])
            case ast.Attribute() if _name(node) in self._rules.names:
                self._edits.replace(*self._edits.span(node), self._rules.names[_name(node)])
            case ast.ClassDef() if node.name in self._rules.names:
                start, _ = self._edits.span(node)
                self._edits.replace(start + len("class "), start + len(f"class {node.name}"), self._rules.names[node.name])
            case ast.Constant() if isinstance(node.value, str) and self._is_annotation(node):
                words = re.sub(r"\w+", lambda found: self._rules.names.get(found[0], found[0]), node.value)
                if words != node.value:
                    self._edits.replace(*self._edits.span(node), f'"{words}"')
            case _:
                pass

    def _is_annotation(self, node: ast.Constant) -> bool:
        """Return whether a string is the name of a class. Our names occur in no other strings of one line."""
        return re.fullmatch(r"[A-Z]\w+", str(node.value)) is not None

    def _name_function(self, node: ast.FunctionDef) -> None:
        """Rename an asynchronous function's decorators and return type, and __enter__ and __exit__."""
        returned = [node.returns.value] if isinstance(node.returns, ast.Subscript) else []
        for expression in (*node.decorator_list, *returned):
            if name := _PAIRS.get(_name(expression)):
                self._edits.replace(*self._edits.span(expression), name)
        if node.name in ("__enter__", "__exit__"):
            start, _ = self._edits.span(node)
            self._edits.replace(start + len("def "), start + len(f"def {node.name}"), f"__a{node.name[2:]}")

    def _await(self, node: ast.Call) -> None:
        parent = self._parents[node]
        if isinstance(parent, ast.Lambda):  # it returns the awaitable
            return
        self._edits.before(node, "(await " if isinstance(parent, ast.Attribute | ast.Subscript) else "await ")
        if isinstance(parent, ast.Attribute | ast.Subscript):
            end = self._edits.span(node)[1]
            self._edits.replace(end, end, ")")

    def _with(self, node: ast.With) -> None:
        """Convert asynchronous managers to `async with`, inside a `with` of the managers before them."""
        is_async = [self._is_manager(item.context_expr) for item in node.items]
        if not any(is_async):
            return
        if all(is_async):
            self._edits.before(node, "async ")
            return
        first = is_async.index(True)
        if not all(is_async[first:]) or node.items[0].context_expr.lineno != node.items[-1].context_expr.lineno:
            raise ValueError(f"line {node.lineno}: managers that wait stand behind the others, on one line")
        before, behind = node.items[first - 1].context_expr, node.items[first].context_expr
        inside = " " * (node.col_offset + 4)
        self._edits.replace(self._edits.span(before)[1], self._edits.span(behind)[0], f":\n{inside}async with ")
        self._edits.indent(node.body[0].lineno, _last(node.body[-1]))

    def _import(self, node: ast.ImportFrom) -> None:
        """Import each name from its module for the result: from `homes`, else from its old module."""
        package = self._rules.package.split(".")
        module = ".".join([*package[: len(package) + 1 - node.level], node.module or ""]) if node.level else str(node.module)
        lines = []
        for alias in node.names:
            name = self._rules.names.get(alias.name, alias.name)
            home = self._rules.homes.get(name, module.rstrip("."))
            lines.append(f"from {self._relative(home)} import {name}{f' as {alias.asname}' if alias.asname else ''}")
            if alias.name in _PAIRS:  # either or both, as needed; unused imports are removed later
                lines.append(f"from {home} import {_PAIRS[alias.name]}")
        self._edits.replace(*self._edits.span(node), f"\n{' ' * node.col_offset}".join(lines))

    def _relative(self, module: str) -> str:
        """Return a module's name relative to the generated package, if they share a package."""
        target, parts = self._rules.target.split("."), module.split(".")
        shared = 0
        while shared < min(len(target), len(parts)) and target[shared] == parts[shared]:
            shared += 1
        return f"{'.' * (len(target) - shared + 1)}{'.'.join(parts[shared:])}" if shared else module

    def _each(self, node: ast.YieldFrom) -> None:
        """Convert `yield from`, which asynchronous generators lack, to a loop."""
        start, end = self._edits.span(node)
        inside = " " * (node.col_offset + 4)
        self._edits.replace(start, self._edits.span(node.value)[0], "for one in ")
        self._edits.replace(end, end, f":\n{inside}yield one")

    def _is_manager(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Call) and self._managers.fullmatch(_name(node.func)) is not None

    def _is_awaited(self, node: ast.Call) -> bool:
        name = _name(node.func)
        return self._awaited.fullmatch(name) is not None or self._is_own(node, name)

    def _is_own(self, node: ast.AST, name: str) -> bool:
        """Return whether a call is of an asynchronous method of the same class."""
        while node in self._parents and not isinstance(node, ast.ClassDef):
            node = self._parents[node]
        return name.startswith("self.") and name[5:] in self._own.get(node, ())

    def _find_own_methods(self) -> None:
        """Collect, by class, the methods that are asynchronous because they await something or each other."""
        found: dict[ast.AST, set[str]] | None = None
        while found != self._own:
            self._own = found or {}
            found = {
                cls: {f.name for f in cls.body if isinstance(f, ast.FunctionDef) and self._is_async(f) and not _manages(f)}
                for cls in ast.walk(self._tree)
                if isinstance(cls, ast.ClassDef)
            }

    def _is_async(self, function: ast.FunctionDef) -> bool:
        """Return whether a function itself awaits something."""
        return any(
            (isinstance(node, ast.Call) and self._is_awaited(node))
            or (isinstance(node, ast.With) and any(self._is_manager(item.context_expr) for item in node.items))
            or function.name in ("__enter__", "__exit__")
            for node in _inside(function)
        )


def _manages(function: ast.FunctionDef) -> bool:
    return any(_name(decorator) == "contextmanager" for decorator in function.decorator_list)


def _inside(function: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of nested functions."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.Lambda | Function):
            yield node
            yield from _inside(node)


def _last(node: ast.expr | ast.stmt | ast.alias | ast.arg) -> int:
    """Return the last line of a node."""
    return node.end_lineno or node.lineno


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _name(node: ast.AST) -> str:
    """Return the dotted name of a called function, “self._q.get”, or an empty string."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return f"{_name(node.value)}.{node.attr}"
        case ast.Call() if _name(node.func) == "super":
            return "super()"
        case _:
            return ""
