"""A YAML document as a tree in which every scalar is text and every node knows its line (1 is the first)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from factory.errors import Fault

Location = tuple[str | int, ...]
"""A place in a document, such as ``("provision", 2, "copy", "mode")``."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value, always text. *plain* is true when it was written without quotes or ``|``."""

    text: str
    line: int
    plain: bool = True

    @property
    def empty(self) -> bool:
        """True when nothing was written, as in ``key:``."""
        return self.plain and not self.text


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping; *key_lines* has the line of each key. A repeated key keeps its first value."""

    entries: dict[str, Node]
    key_lines: dict[str, int]
    line: int


Node = Scalar | Items | Mapping


@dataclass(frozen=True)
class Document:
    """A file that was parsed: its root, and the faults (repeated keys) that did not stop the parsing."""

    root: Node
    faults: tuple[Fault, ...] = ()


def plain(node: Node) -> Any:
    """*node* as nested dicts, lists and text."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return {key: plain(value) for key, value in node.entries.items()}


def find(root: Node, location: Location) -> Node | None:
    """The node at *location*, or None."""
    node: Node | None = root
    for part in location:
        node = _child(node, part)
    return node


def line_of(root: Node, location: Location) -> int:
    """The line of *location*: of its key where it has one, else of the nearest thing around it that exists."""
    node, line = root, root.line
    for part in location:
        child = _child(node, part)
        if child is None:
            break
        key = isinstance(node, Mapping) and isinstance(part, str)
        line = node.key_lines[part] if isinstance(node, Mapping) and key and isinstance(part, str) else child.line
        node = child
    return line


def _child(node: Node | None, part: str | int) -> Node | None:
    if isinstance(node, Mapping) and isinstance(part, str):
        return node.entries.get(part)
    if isinstance(node, Items) and isinstance(part, int) and 0 <= part < len(node.items):
        return node.items[part]
    return None
