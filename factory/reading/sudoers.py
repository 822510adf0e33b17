"""sudo's rules as an image holds them: who may do what, with aliases and included files resolved."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.leftovers import named, text
from factory.reading.once import once

if TYPE_CHECKING:
    from factory.inspection import Image

MAIN = ("/etc/sudoers", "/usr/etc/sudoers")
PROGRAMS = ("/usr/bin/sudo", "/usr/local/bin/sudo", "/bin/sudo")
_DEPTH = 16


@dataclass(frozen=True)
class Grant:
    """A rule for *who*: ``name``, ``#1000``, ``%group``, ``+netgroup`` or ``ALL``; aliases are resolved."""

    who: str
    no_password: bool
    path: str
    line: int
    raw: str

    @property
    def everything(self) -> bool:
        """Whether all commands are allowed without a password."""
        return bool(re.search(r"\bNOPASSWD\s*:(\s*\w+:)*\s*ALL\b", self.raw))

    @property
    def evidence(self) -> str:
        """Where it stands and what it says."""
        return f"{self.path}:{self.line}: {self.raw}"


@dataclass(frozen=True)
class Sudoers:
    """The rules, and the lines of ``Defaults`` as (words, evidence).

    *broken* has the (path, line, evidence) of lines that sudo cannot make out.
    """

    grants: tuple[Grant, ...]
    defaults: tuple[tuple[str, str], ...]
    broken: tuple[tuple[str, int, str], ...] = ()


@once
def read(image: Image) -> Sudoers:
    """The rules of *image*; none when there is no sudoers file."""
    main = next((path for path in MAIN if image.exists(path)), MAIN[0])
    lines = list(_lines(image, main, 0))
    aliases: dict[str, list[str]] = {}
    for _, _, line in lines:
        if found := re.match(r"User_Alias\s+(.*)", line):
            for part in found[1].split(":"):
                name, _, members = part.partition("=")
                aliases[name.strip()] = _names(members)
    grants, defaults, broken = [], [], []
    for path, number, line in lines:
        if line.startswith("Defaults"):
            defaults.append((line, f"{path}:{number}: {line}"))
        elif not re.match(r"(User|Runas|Host|Cmnd|Cmd)_Alias\s", line):
            if why := fault(line):
                broken.append((path, number, f"{path}:{number}: {line} ({why})"))
            if "=" not in line:
                continue
            users = re.match(r'((?:"[^"]*"|\\.|[^\s,\\"])+(?:\s*,\s*(?:"[^"]*"|\\.|[^\s,\\"])+)*)\s', line)
            for who in _resolved(_names(users[1]) if users else [], aliases, 0):
                grants.append(Grant(who, bool(re.search(r"\bNOPASSWD\s*:", line)), path, number, line))
    return Sudoers(tuple(grants), tuple(defaults), tuple(broken))


def fault(rule: str) -> str:
    """Why sudo cannot make out a rule for a user, as far as that is certain; "" when it can.

    What a command may hold is left alone: backslashes and quotes hide signs, regular expressions have their own.
    """
    bare = re.sub(r'\\.|"[^"]*"|\^[^$]*\$', "x", rule)
    who, equals, what = bare.partition("=")
    if rule.startswith("#"):
        return ""
    if not equals:
        return "no rule: it has no ="
    if len(re.sub(r"\s*,\s*", ",", who).split()) < 2:
        return "no rule: it names no user, or no host"
    if not what.strip():
        return "no rule: it allows no command"
    for found in re.finditer(r"(?:^|[=,])\s*\(", f"={what}"):
        end = re.match(r"[^()=]*\)\s*(\))?", f"={what}"[found.end() :])
        if end is None or end[1]:
            return "no rule: its parentheses do not match"
        if not f"={what}"[found.end() + end.end() :].strip():
            return "no rule: it allows no command"
    if tag := re.search(r"(?:^|[=,)])\s*((?:NO)?(?:PASSWD|EXEC|SETENV))\s+ALL\b", what):
        return f"no rule: {tag[1]} lacks its colon"
    return ""


def _resolved(names: list[str], aliases: dict[str, list[str]], depth: int) -> Iterator[str]:
    for name in names:
        if name in aliases and depth < _DEPTH:
            yield from _resolved(aliases[name], aliases, depth + 1)
        elif not name.startswith("!"):
            yield name


def _names(text_: str) -> list[str]:
    return [part.strip().strip('"').replace("\\", "") for part in text_.split(",") if part.strip()]


def _lines(image: Image, path: str, depth: int) -> Iterator[tuple[str, int, str]]:
    """The (path, number, text) of every line that says something, with the included files in their places."""
    joined, start = "", 0
    for number, raw in enumerate((text(image, path) or "").splitlines(), 1):
        start = start if joined else number
        if raw.endswith("\\"):
            joined += raw[:-1]
            continue
        line, joined = (joined + raw).strip(), ""
        include = re.match(r"[#@](include|includedir)\s+(.+)", line)
        if include and depth < _DEPTH:
            target = include[2].strip().strip('"').replace("\\ ", " ")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            if include[1] == "include":
                yield from _lines(image, target, depth + 1)
                continue
            # As sudo does, names with a dot or a tilde at the end are passed over.
            for file, _ in named(image, target, ["*"]):
                name = posixpath.basename(file)
                found = image.stat(file, follow=True)
                if "." not in name and not name.endswith("~") and found and found.kind == "file":
                    yield from _lines(image, file, depth + 1)
            continue
        line = line if re.match(r"#\d", line) else re.sub(r"(?<!\\)#(?!\d).*", "", line).strip()
        if line:
            yield path, start, line
