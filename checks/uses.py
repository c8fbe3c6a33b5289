"""The named queries that the DAOs use, found in their source: `self._q.get(…)` in a class bound to a query file."""

import ast
from collections.abc import Iterator
from pathlib import Path


def used(package: Path) -> set[str]:
    """Return the names of the queries, such as "hosts.get", that a package's classes call."""
    trees = [ast.parse(path.read_text("utf-8"), str(path)) for path in sorted(package.rglob("*.py"))]
    classes = {node.name: node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return {
        f"{file}.{query}"
        for cls in classes.values()
        for attribute, file in _bindings(cls, classes)
        for query in _called(classes, attribute)
    }


def _bindings(cls: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[tuple[tuple[str, str], str]]:
    """Return the bindings in database.py: the attribute, and its class, with the queries of a file."""
    for node in ast.walk(cls):
        if isinstance(node, ast.Assign) and (file := _bound(node.value)) and (name := _own(node.targets[0])):
            yield (cls.name, name), file
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes:
            keeps = _attributes_of_parameters(classes[node.func.id])
            for n, argument in enumerate(node.args):
                if (file := _bound(argument)) and n < len(keeps):
                    yield (node.func.id, keeps[n]), file


def _bound(node: ast.expr) -> str:
    """Return the file in `self._bind("file")`; empty for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_bind":
        return str(ast.literal_eval(node.args[0]))
    return ""


def _own(node: ast.AST) -> str:
    """Return the name in `self.name`; empty for anything else."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr
    return ""


def _attributes_of_parameters(cls: ast.ClassDef) -> list[str]:
    """Return the attribute in which __init__ keeps each of its parameters, in order."""
    for init in cls.body:
        if isinstance(init, ast.FunctionDef) and init.name == "__init__":
            kept = {
                node.value.id: _own(node.targets[0])
                for node in init.body
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name)
            }
            return [kept.get(argument.arg, "") for argument in init.args.args[1:]]
    return []


def _called(classes: dict[str, ast.ClassDef], attribute: tuple[str, str]) -> Iterator[str]:
    """Yield the names in `self.attribute.name` of a class."""
    cls, name = attribute
    for node in ast.walk(classes[cls]):
        if isinstance(node, ast.Attribute) and _own(node.value) == name:
            yield node.attr
