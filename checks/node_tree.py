"""PostgreSQL's text form of an analysed query (pg_node_tree), read into nodes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

_WORD = re.compile(r'[(){}\[\]]|"(?:[^"\\]|\\.)*"|(?:[^\s(){}\[\]"\\]|\\.)+')


class RteKind(IntEnum):
    """The kinds of entries in a query's range table."""

    RELATION = 0
    SUBQUERY = 1
    JOIN = 2
    FUNCTION = 3
    VALUES = 5
    CTE = 6
    RESULT = 8
    GROUP = 9


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree: its label and fields."""

    label: str
    fields: dict[str, "Value"]

    def text(self, key: str) -> str:
        """Return a field that is one word; empty where it is not there."""
        value = self.fields.get(key, "")
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """Return a field that is a number; 0 where it is not there."""
        return int(self.text(key) or 0)

    def node(self, key: str) -> "Node | None":
        """Return a field that is a node; None where it is none."""
        value = self.fields.get(key)
        return value if isinstance(value, Node) else None

    def items(self, key: str) -> list["Value"]:
        """Return a field that is a list; of one thing, where it is not a list."""
        value = self.fields.get(key, [])
        return value if isinstance(value, list) else [value]

    def nodes(self, key: str) -> list["Node"]:
        """Return the nodes in a field."""
        return [value for value in self.items(key) if isinstance(value, Node)]

    def constant(self) -> bytes | None:
        """Return the bytes of a constant; None where it is none, or null."""
        found = [value for value in self.items("constvalue") if isinstance(value, list)]
        return bytes(int(str(byte)) & 255 for byte in found[0]) if found else None

    def has(self, key: str) -> bool:
        """Return whether a field holds more than nothing: a node, a word, a list or set with members."""
        value = self.fields.get(key, "<>")
        return value not in ("<>", "false", []) and value != ["b"]


Value = str | Node | list["Value"]


def parse(text: str) -> Node:
    """Return the last query of a pg_node_tree: of a function, the one that it returns."""
    value = _value(iter(_WORD.findall(text)))
    while isinstance(value, list):
        value = value[-1]
    if not isinstance(value, Node):
        raise ValueError(f"not a tree: {text[:60]}")
    return value


def parse_all(text: str) -> list[Node]:
    """Return the nodes of a pg_node_tree that is a list, at any depth of lists."""
    return list(_flat(_value(iter(_WORD.findall(text)))))


def _flat(value: Value) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    for item in value if isinstance(value, list) else []:
        yield from _flat(item)


def _value(words: Iterator[str], word: str | None = None) -> Value:
    word = next(words) if word is None else word
    if word in ("(", "["):
        items: list[Value] = []
        while (word := next(words)) not in (")", "]"):
            items.append(_value(words, word))
        return items
    if word != "{":
        return re.sub(r"\\(.)", r"\1", word.strip('"')) if word[0] == '"' or "\\" in word else word
    node = Node(next(words), {})
    key = ""
    while (word := next(words)) != "}":
        if word.startswith(":") and len(word) > 1:
            key = word[1:]
            continue
        value = _value(words, word)  # a constant's is two: its length and its bytes
        node.fields[key] = [node.fields[key], value] if key in node.fields else value
    return node


def numbers(item: Value | None, label: str, key: str) -> Iterator[int]:
    """Yield a field of all nodes of a label, at any depth."""
    if isinstance(item, Node):
        if item.label == label:
            yield item.number(key)
        item = list(item.fields.values())
    if isinstance(item, list):
        for inner in item:
            yield from numbers(inner, label, key)
