"""YAML files with line numbers, in which every scalar is text.

A document becomes a tree of what :mod:`factory.yamltree` defines.
``1.10``, ``0644`` and ``on`` stay what the file says: the model that reads the tree gives them a type.

What makes YAML surprising or dangerous is refused: tags, anchors and aliases, merge keys, keys that are not text,
several documents in a file, more than 1 MiB, 20 000 values or 32 levels. The parser's events are read directly, so
nothing is ever built from such a file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from factory.errors import Fault, RecipeError, UsageError
from factory.quoting import escape, quote
from factory.yamltree import Document, Items, Mapping, Node, Scalar, plain

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 1 << 20
MAX_NODES = 20_000
MAX_DEPTH = 32


def load(path: Path, *, shown: str = "") -> Document:
    """Parse the file *path*, named *shown* in faults. RecipeError: its content; UsageError: it cannot be read."""
    return parse(read(path, shown=shown), shown or str(path))


def load_plain(path: Path) -> dict[str, Any]:
    """The mapping in *path* as nested dicts, lists and text. Any fault is a UsageError that names the line."""
    try:
        document = load(path)
        faults = document.faults
    except RecipeError as error:
        faults = error.faults
    if faults:
        raise UsageError(f"{faults[0]}", hint="Mend the file", code="usage.yaml")
    if not isinstance(document.root, Mapping):
        raise UsageError(f"{path} holds no mapping (`key: value` lines)", hint="Mend the file", code="usage.yaml")
    content: dict[str, Any] = plain(document.root)
    return content


def read(path: Path, *, shown: str = "") -> str:
    """The text of a regular file of at most 1 MiB in UTF-8. UsageError when there is no such file to read."""
    name = shown or str(path)
    try:
        # A FIFO would otherwise hang the open, and a device would never end.
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{name} is not a regular file", code="usage.file-kind")
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise UsageError(f"{name} cannot be read: {reason}", code="usage.file-unreadable") from None
    if len(data) > MAX_BYTES:
        raise RecipeError([Fault(name, 0, "", f"is larger than {MAX_BYTES >> 20} MiB")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError([Fault(name, line, "", "is not UTF-8 text", "save the file as UTF-8")]) from None


def parse(text: str, name: str) -> Document:
    """Parse *text*, named *name* in faults. RecipeError when it is not YAML that we accept."""
    import yaml

    bad = _FORBIDDEN.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        message = f"holds the character U+{ord(bad[0]):04X}, which YAML does not allow"
        raise RecipeError([Fault(name, line, "", message, "remove it")])
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Composer(name, yaml.parse(text, Loader=loader)).document()
    except yaml.MarkedYAMLError as error:
        raise RecipeError([_syntax_fault(error, text, name)]) from None
    except yaml.YAMLError as error:
        raise RecipeError([Fault(name, 0, "", f"is not YAML: {error}")]) from None


# What YAML 1.1 calls printable, turned round; U+FEFF is a byte order mark that is not at the start.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
# Text that no file name, environment variable or UTF-8 file can hold; only an escape such as "\0" writes it.
_IMPOSSIBLE = re.compile("[\x00\ud800-\udfff]")


# The end of a line below which a text of several lines stands.
_BLOCK = re.compile(r"[\s:-][|>][-+0-9]{0,2}\s*(?:\s#.*)?$")


class _Refused(Exception):
    def __init__(self, fault: Fault) -> None:
        self.fault = fault


@dataclass
class _Composer:
    """Builds the tree from the parser's events, and stops at the first thing that is not accepted."""

    name: str
    events: Iterator[yaml.Event]
    faults: list[Fault] = field(default_factory=list)
    nodes: int = 0

    def document(self) -> Document:
        import yaml

        try:
            next(self.events)  # the start of the stream
            if isinstance(next(self.events), yaml.StreamEndEvent):
                self._refuse(0, "is empty")
            root = self._node(next(self.events), 0)
            next(self.events)  # the end of the document
            extra = next(self.events)
            if not isinstance(extra, yaml.StreamEndEvent):
                self._refuse(_line(extra), "a second document starts here", "one file holds one document: remove ---")
        except _Refused as refused:
            raise RecipeError([*self.faults, refused.fault]) from None
        if isinstance(root, Scalar) and root.empty:
            raise RecipeError([Fault(self.name, 0, "", "is empty")])
        return Document(root, tuple(self.faults))

    def _node(self, event: Any, depth: int) -> Node:
        import yaml

        line = _line(event)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self._refuse(line, f"holds more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            self._refuse(line, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            self._refuse(line, f"the alias *{event.anchor} is not supported", "write the value out; quote a leading *")
        if event.anchor is not None:
            self._refuse(line, f"the anchor &{event.anchor} is not supported", "remove it; quote a leading &")
        if event.tag is not None:
            self._refuse(line, f"the tag {_short_tag(event.tag)} is not supported", "remove it; quote a leading !")
        if isinstance(event, yaml.ScalarEvent):
            if _IMPOSSIBLE.search(event.value):
                self._refuse(line, "an escape makes a character that no text can hold", "remove it")
            return Scalar(event.value, line, event.implicit[0])
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
                items.append(self._node(item, depth + 1))
            return Items(tuple(items), line)
        return self._mapping(line, depth)

    def _mapping(self, line: int, depth: int) -> Mapping:
        import yaml

        mapping = Mapping({}, {}, line)
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                self._refuse(key.line, "a list or mapping is used as a key", "a key is text; quote a leading [ or {")
            if key.text == "<<" and key.plain:
                self._refuse(key.line, "the merge key << is not supported", "write the keys out")
            if not key.text.strip():
                self._refuse(key.line, "a key is empty", "write its name before the colon")
            value = self._node(next(self.events), depth + 1)
            first = mapping.key_lines.get(key.text)
            if first is not None:
                message = f"the key {quote(key.text)} is repeated; it first stands in line {first}"
                self.faults.append(Fault(self.name, key.line, "", message, "keep one of them"))
                continue
            mapping.entries[key.text] = value
            mapping.key_lines[key.text] = key.line
        return mapping

    def _refuse(self, line: int, message: str, suggestion: str = "") -> NoReturn:
        raise _Refused(Fault(self.name, line, "", message, suggestion))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _short_tag(tag: str) -> str:
    return escape(tag.replace("tag:yaml.org,2002:", "!!"))


def _syntax_fault(error: yaml.MarkedYAMLError, text: str, name: str) -> Fault:
    """The parser's complaint in words that say what to write instead."""
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    lines = text.split("\n")
    problem = error.problem or "the syntax is wrong"
    if error.context_mark and ("end of stream" in problem or "flow" in (error.context or "")):
        # Where it was noticed is far below; where the open quote or bracket stands is what to mend.
        line = min(error.context_mark.line + 1, len(text.rstrip().split("\n")))
        what = "a quoted text" if "scalar" in (error.context or "") else "a [ or {"
        if "escape" not in problem:
            return Fault(name, line, "", f"this is not YAML: {what} that starts here is never closed", "close it")
    unfinished = error.context_mark is not None and "expected ':'" in problem
    if error.context_mark and unfinished:
        # A key without a colon is noticed below it: the line that was taken for one is the one to mend.
        mark, line = error.context_mark, error.context_mark.line + 1
    written = lines[line - 1] if 0 < line <= len(lines) else ""
    start = written[mark.column : mark.column + 1] if mark else ""
    if "\t" in written[: len(written) - len(written.lstrip())] or start == "\t":
        return Fault(name, line, "", "a tab is used for indentation", "use spaces")
    above = next((number for number in range(line - 1, 0, -1) if lines[number - 1].strip()), 0)
    if unfinished and above and _BLOCK.search(lines[above - 1]):
        message = f"this is not YAML: the text below line {above} does not stand further right than its key"
        return Fault(name, line, "", message, "indent it further than its key")
    if "mapping values are not allowed" in problem:
        return Fault(
            name, line, "", "this is not YAML: a ': ' stands where no key can be", "quote the text, or check the indent"
        )
    if "cannot start any token" in problem:
        return Fault(name, line, "", f"this is not YAML: a value cannot start with {quote(start)}", "quote the text")
    about = f" ({error.context})" if error.context else ""
    return Fault(name, line, "", f"this is not YAML: {escape(problem)}{escape(about)}", "check the indent and quotes")


def foreign(text: str, shown: str) -> Any:
    """YAML that others wrote, such as a guest's cloud.cfg: anchors allowed, every scalar as text, tags without effect.

    Raises RecipeError, with the line, when it cannot be read, uses aliases as a bomb does or is nested absurdly.
    """
    if text.count("*") + text.count("<<") > MOST_ALIASES and len(_ALIAS.findall(text)) > MOST_ALIASES:
        raise RecipeError([Fault(shown, 0, "", f"it has more than {MOST_ALIASES} aliases")])
    import yaml

    loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        if _may_be_deep(text):
            _refuse_deep(yaml.parse(text, Loader=loader), shown)
        return yaml.load(text, Loader=loader)  # noqa: S506 - the base loader makes text, lists and mappings only
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise RecipeError([Fault(shown, line, "", str(error.problem or "it is not YAML"))]) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError([Fault(shown, 0, "", "it is not YAML")]) from error


def _may_be_deep(text: str) -> bool:
    """Whether *text* has what it takes to be nested deeper than DEEPEST: brackets, or far indented lines."""
    return text.count("[") + text.count("{") > DEEPEST // 2 or _INDENTED.search(text) is not None


def _refuse_deep(events: Iterator[Any], shown: str) -> None:
    """Raise RecipeError where YAML is nested deeper than DEEPEST: the loader, in C, would end this process."""
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            line = event.start_mark.line + 1
            raise RecipeError([Fault(shown, line, "", f"it is nested deeper than {DEEPEST} levels")])


DEEPEST = 200
# Each level of a block is further right than the one above, but for a list below its key.
_INDENTED = re.compile(rf"^[ ?:-]{{{DEEPEST // 4}}}", re.MULTILINE)
MOST_ALIASES = 100
_ALIAS = re.compile(r"(?:^|[\s\[{,:-])\*[A-Za-z0-9_-]+")
