"""Mutants of Python files: comparisons, conditions, arithmetic, constants, results and whole statements."""

import ast
import re
from collections.abc import Iterator
from contextlib import contextmanager

from .mutant import Change

_COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
}
_OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Statements that can be left out. An assignment to a plain name can't: its readers would just not find it.
_STATEMENTS = (ast.Expr, ast.Assign, ast.AugAssign, ast.Delete, ast.Raise, ast.Return, ast.Continue, ast.Break)
_UNTOUCHED = ("__all__", "__slots__", "__match_args__")


def changes(text: str) -> list[Change]:
    """All changes of a module. A few are no valid Python; those are found out when they are tried."""
    tree = ast.parse(text)
    seeder = _Seeder(text, tree)
    seeder.visit(tree)
    return sorted(seeder.found, key=lambda change: (change.start, change.end))


class _Seeder(ast.NodeVisitor):
    """Collects changes while it walks through a module."""

    def __init__(self, text: str, tree: ast.Module) -> None:
        self.text = text
        self.found: list[Change] = []
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = text.splitlines()
        self._tree = tree
        self._scopes: list[str] = []
        self._span = (1, 1)
        self._related = tuple(range(1, len(self._lines) + 1))
        self._is_message = False

    # Places of things

    def _at(self, line: int, column: int) -> int:
        """Return the place of a character in the text: ast counts bytes."""
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())

    def _start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self._at(node.lineno, node.col_offset)

    def _end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        return self._at(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def _add(self, start: int, end: int, new: str) -> None:
        self.found.append(Change(".".join(self._scopes) or "module", start, end, new, self._span, self._related))

    def _replace(self, node: ast.expr | ast.stmt, new: str) -> None:
        self._add(self._start(node), self._end(node), new)

    def _between(self, left: ast.expr, right: ast.expr, pattern: str, new: str) -> None:
        """Change the operator between two operands."""
        start = self._end(left)
        if found := re.search(pattern, self.text[start : self._start(right)]):
            self._add(start + found.start(), start + found.end(), new)

    # Statements

    def visit(self, node: ast.AST) -> None:
        """Note which statement is visited, and leave it out for once."""
        if not isinstance(node, ast.stmt):
            super().visit(node)
            return
        span, related = self._span, self._related
        body = getattr(node, "body", None)
        last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
        self._span = (node.lineno, max(last, node.lineno))
        if not self._scopes and isinstance(node, ast.Assign | ast.AnnAssign):
            self._related = self._readers(node) or related
        if isinstance(node, _STATEMENTS) and self._may_go(node):
            self._replace(node, "pass")
        super().visit(node)
        self._span, self._related = span, related

    def _may_go(self, node: ast.stmt) -> bool:
        if isinstance(node, ast.Expr):
            return not isinstance(node.value, ast.Constant)  # docstrings, ...
        if isinstance(node, ast.Assign):
            return all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets)
        return not isinstance(node, ast.Return) or node.value is None

    def _readers(self, node: ast.Assign | ast.AnnAssign) -> tuple[int, ...]:
        """Return the lines that use what a module's assignment names."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        used = (found.lineno for found in ast.walk(self._tree) if isinstance(found, ast.Name) and found.id in names)
        return tuple(sorted(set(used) - set(range(node.lineno, (node.end_lineno or node.lineno) + 1))))

    @contextmanager
    def _scope(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[None]:
        related = self._related
        self._scopes.append(node.name)
        self._related = tuple(range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1))
        yield
        self._scopes.pop()
        self._related = related

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        with self._scope(node):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                if default:
                    self.visit(default)
            for statement in node.body:
                self.visit(statement)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        with self._scope(node):
            for statement in node.body:
                self.visit(statement)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not any(isinstance(target, ast.Name) and target.id in _UNTOUCHED for target in node.targets):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value and not isinstance(node.value, ast.Constant):
            self._replace(node, "return None")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        if node.exc and ast.unparse(node.exc).startswith("AssertionError"):
            return  # says what can't be
        is_message, self._is_message = self._is_message, True
        self.generic_visit(node)
        self._is_message = is_message

    def visit_Break(self, node: ast.Break) -> None:
        self._replace(node, "continue")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace(node, "break")

    def visit_If(self, node: ast.If | ast.While | ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    visit_While = visit_IfExp = visit_If  # noqa: N815

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._condition(condition)
        self.generic_visit(node)

    def _condition(self, test: ast.expr) -> None:
        """Turn a condition round, where nothing else does."""
        if not isinstance(test, ast.Compare | ast.UnaryOp | ast.Constant):
            self._replace(test, f"(not ({ast.get_source_segment(self.text, test)}))")

    # Expressions

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            pattern, new = _COMPARISONS[type(operator)]
            self._between(left, right, pattern, new)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, rf"\b{old}\b", new)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if found := _OPERATORS.get(type(node.op)):
            self._between(node.left, node.right, re.escape(found[0]), found[1])
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if found := _OPERATORS.get(type(node.op)):
            self._between(node.target, node.value, re.escape(found[0]), found[1])
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._add(self._start(node), self._start(node.operand), "")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
            self._replace(node.func, _FUNCTIONS[node.func.id])
        for keyword in node.keywords:
            if keyword.arg:
                self._drop(keyword)
        self.generic_visit(node)

    def _drop(self, keyword: ast.keyword) -> None:
        """Leave an argument out, with its comma."""
        start, end = self._start(keyword), self._end(keyword)
        if after := re.match(r"\s*,\s*", self.text[end:]):
            end += after.end()
        elif before := re.search(r"\s*,\s*$", self.text[:start]):
            start = before.start()
        self._add(start, end, "")

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace(node, str(not value))
        elif isinstance(value, int | float):
            self._replace(node, str(value + 1))
        elif isinstance(value, str | bytes) and value and not self._is_message and not re.search(rb"\s", _bytes(value)):
            self._replace(node, repr(value + value))  # type: ignore[operator]

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Messages; before Python 3.12 nothing in them has a place."""


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
