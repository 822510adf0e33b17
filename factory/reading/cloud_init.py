"""cloud-init's own settings as an image holds them: cloud.cfg with everything in cloud.cfg.d laid over it.

As cloud-init does: files are taken in the order of their names (dot files too), a later one wins, mappings are merged,
lists are replaced as a whole; a file that is no YAML mapping counts for nothing; ``conf_d`` names another folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from factory import yamlfile
from factory.errors import RecipeError
from factory.inspection import Unreadable
from factory.reading.lines import content_of, is_file

if TYPE_CHECKING:
    from factory.inspection import Image

BASE = "/etc/cloud/cloud.cfg"
FOLDER = "/etc/cloud/cloud.cfg.d"
PROGRAMS = ("/usr/bin/cloud-init", "/usr/local/bin/cloud-init", "/opt/cloud-init/bin/cloud-init")
_TRUE = ("true", "1", "on", "yes", "y")
_NOTHING = ("", "~", "null")
MOST_VALUES = 100_000  # of one file, aliases written out


@dataclass(frozen=True)
class Part:
    """One file of the settings: its text, and what it says (None when it is no mapping)."""

    path: str
    text: str
    settings: dict[str, Any] | None
    fault: str = ""

    def line(self, key: str) -> int:
        """The line of the last mapping key *key*, 0 when there is none."""
        lines = [(number, line) for number, line in enumerate(self.text.splitlines(), 1) if not _COMMENT.match(line)]
        for found in (_key(key).match, re.compile(rf"[{{,\s\"']{re.escape(key)}[\"']?\s*:").search):
            if numbers := [number for number, line in lines if found(line)]:
                return numbers[-1]
        return 0


@dataclass(frozen=True)
class CloudInit:
    """The settings that are in force. *program* is empty when cloud-init is not installed; *faults* are for people."""

    program: str
    settings: dict[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()

    @property
    def faults(self) -> list[str]:
        """What is wrong with files that cloud-init cannot use."""
        return [part.fault for part in self.parts if part.fault]

    def get(self, *keys: str) -> Any:
        """The value below *keys*, None when it is not there or null. Scalars are text."""
        value: Any = self.settings
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return None if isinstance(value, str) and value.lower() in _NOTHING else value

    def word(self, *keys: str) -> str:
        """The value below *keys* in lower case when it is a scalar, else empty."""
        value = self.get(*keys)
        return value.lower() if isinstance(value, str) else ""

    def true(self, *keys: str) -> bool:
        """Whether the value below *keys* is what YAML calls true."""
        return self.word(*keys) in _TRUE

    def place(self, *keys: str) -> str:
        """``path:line: text`` of what decides the value below *keys*; the base file when nothing sets it."""
        for part in reversed(self.parts):
            value: Any = part.settings
            for key in keys:
                value = value.get(key, _ABSENT) if isinstance(value, dict) else _ABSENT
            if value is not _ABSENT:
                number = part.line(keys[-1])
                lines = part.text.splitlines()
                return f"{part.path}:{number}: {lines[number - 1].strip()}" if number else part.path
        return BASE

    def path(self, *keys: str) -> str:
        """The file that decides the value below *keys*."""
        return self.place(*keys).split(":")[0]

    def modules(self, stage: str) -> set[str]:
        """The names of the modules of a stage such as ``cloud_init_modules``, with ``_`` for ``-``."""
        return modules(self.settings, stage)


_ABSENT = object()
_COMMENT = re.compile(r"\s*#")


def read(image: Image) -> CloudInit:
    """The settings in *image*. Raises Unreadable."""
    program = next((path for path in PROGRAMS if is_file(image, path)), "")
    parts = [part for part in [_part(image, BASE)] if part]
    base = parts[0].settings if parts and parts[0].settings else {}
    folder = str(base.get("conf_d", FOLDER)).strip()
    found = image.stat(folder, follow=True) if folder.startswith("/") else None
    if found and found.kind == "dir":
        for name in image.listdir(folder):
            path = f"{folder.rstrip('/')}/{name}"
            if name.endswith(".cfg") and is_file(image, path):
                parts += [part for part in [_part(image, path)] if part]
    settings: dict[str, Any] = {}
    for part in parts:
        settings = over(settings, part.settings or {})
    return CloudInit(program, settings, tuple(parts))


def merged(image: Image) -> tuple[dict[str, Any], list[str]]:
    """The settings, every scalar as text, and what is wrong with files that could not be understood."""
    found = read(image)
    return found.settings, found.faults


def true(settings: dict[str, Any], key: str) -> bool:
    """Whether *key* is set to what YAML calls true."""
    return str(settings.get(key, "")).lower() in _TRUE


def modules(settings: dict[str, Any], stage: str) -> set[str]:
    """The names of the modules of a stage such as ``cloud_init_modules``, with ``_`` for ``-``."""
    listed = settings.get(stage)
    names = (
        [item[0] if isinstance(item, list) and item else item for item in listed] if isinstance(listed, list) else []
    )
    return {name.replace("-", "_") for name in names if isinstance(name, str)}


def over(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """*low* with *high* laid over it: mappings are merged, everything else is replaced."""
    result = dict(low)
    for key, value in high.items():
        old = result.get(key)
        result[key] = over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _part(image: Image, path: str) -> Part | None:
    if not is_file(image, path):
        return None
    content = content_of(image, path)
    if not any(line.strip() and not line.lstrip().startswith("#") for line in content.splitlines()):
        return Part(path, content, {})
    try:
        found = flat(yamlfile.foreign(content, path), path)
    except RecipeError as error:
        return Part(path, content, None, str(error.faults[0]))
    if isinstance(found, dict):
        return Part(path, content, found)
    return Part(path, content, None, f"{path} holds no mapping")


def flat(value: Any, path: str) -> Any:
    """*value* with YAML's merge keys (``<<``) carried out, which the reader of foreign files leaves alone.

    Raises Unreadable for aliases that blow a file up: nobody could look at all of it. (Loops are no YAML to us.)
    """
    return _Flat(path).flat(value)[0]


class _Flat:
    """Parts that several aliases share stay shared; *done* has each with the number of values that it stands for."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._done: dict[int, tuple[Any, int]] = {}

    def flat(self, value: Any) -> tuple[Any, int]:
        if not isinstance(value, list | dict):
            return value, 1
        if known := self._done.get(id(value)):
            return known
        found = self._items(value) if isinstance(value, list) else self._mapping(value)
        if found[1] > MOST_VALUES:
            raise Unreadable(f"{self._path} stands for more than {MOST_VALUES} values by its aliases")
        self._done[id(value)] = found
        return found

    def _items(self, value: list[Any]) -> tuple[Any, int]:
        items = [self.flat(item) for item in value]
        return [item for item, _ in items], 1 + sum(count for _, count in items)

    def _mapping(self, value: dict[str, Any]) -> tuple[Any, int]:
        merges = value.get("<<", [])
        result: dict[str, Any] = {}
        for merge in reversed(merges if isinstance(merges, list) else [merges]):
            if isinstance(merge, dict):
                result |= self.flat(merge)[0]
        count = 1
        for key, item in value.items():
            if key != "<<":
                result[key], more = self.flat(item)
                count += more
        return result, count + len(result)


def _key(key: str) -> re.Pattern[str]:
    return re.compile(rf"""\s*(?:-\s+)?[{{\s]*["']?{re.escape(key)}["']?\s*:""")
