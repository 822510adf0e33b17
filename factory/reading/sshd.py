"""sshd as an image holds it: whether it is installed and starts, and what its configuration comes to.

Options on the command line come first, then the lines in the order in which sshd reads them, each Include in its place.
For nearly every keyword the first line that counts wins, so a drop-in beats what stands below the Include. Lines in a
Match block beat the others for the connections that it is about.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from factory.leftovers import text
from factory.reading import openrc, systemd, unit_start
from factory.reading.once import once
from factory.reading.unit_file import Setting

if TYPE_CHECKING:
    from factory.inspection import Image

PROGRAMS = ("/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd", "/usr/local/sbin/sshd")
CONFIGS = (
    "/etc/ssh/sshd_config",
    "/usr/etc/ssh/sshd_config",  # SUSE
    "/usr/share/defaults/ssh/sshd_config",  # distributions whose /etc may be empty
    "/usr/share/ssh/sshd_config",
)
UNITS = ("ssh.service", "sshd.service")
SOCKETS = ("ssh.socket", "sshd.socket")
_DEPTH = 16  # of Includes in Includes, as in sshd
_ALIASES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
}


@dataclass(frozen=True)
class Line:
    """A line of the configuration. *match* has the words of its Match block; None outside any."""

    keyword: str  # lower case, by its newest name
    words: tuple[str, ...]
    path: str
    number: int
    raw: str
    match: tuple[str, ...] | None = None

    @property
    def value(self) -> str:
        """The first word, in lower case."""
        return self.words[0].lower() if self.words else ""

    @property
    def evidence(self) -> str:
        """Where it stands and what it says."""
        return f"{self.path}:{self.number}: {self.raw}" + (f" (Match {' '.join(self.match)})" if self.match else "")

    @property
    def removed(self) -> str:
        """The command that takes the line out; "" for an option on the command line."""
        return f"sed -i '{self.number}s/.*//' {shlex.quote(self.path)}" if self.path.startswith("/") else ""

    def about(self, user: str, groups: Sequence[str] | None = None) -> bool | None:
        """Whether the Match block is about connections of *user*; None when more than the user decides.

        *groups* are those of the user, None when they are not known.
        """
        if self.match is None or [word.lower() for word in self.match] == ["all"]:
            return True
        answer: bool | None = True
        words = list(self.match)
        while words:
            kind, _, value = words.pop(0).partition("=")
            value = value or (words.pop(0) if words else "")
            if value == "*":
                continue
            if kind.lower() == "user":
                if not listed(user, value.split(",")):
                    return False
            elif kind.lower() == "group" and groups is not None:
                if not any(listed(group, value.split(",")) for group in groups):
                    return False
            else:
                answer = None
        return answer


@dataclass(frozen=True)
class Sshd:
    """*installed*: there is the program. *starts*: the path of what starts it at boot; "" and *why_not* otherwise.

    *sockets*: what a socket of systemd listens on for it, which then decides in place of Port and ListenAddress.
    """

    installed: bool
    starts: str
    why_not: str
    lines: tuple[Line, ...]
    sockets: tuple[Setting, ...] = ()
    config: str = CONFIGS[0]
    """The file with the configuration, whether it is there or not."""

    def first(self, keyword: str) -> Line | None:
        """The line that counts where no Match block does."""
        return next((line for line in self.lines if line.keyword == keyword.lower() and line.match is None), None)

    def value(self, keyword: str, default: str) -> str:
        """The first word of that line in lower case; *default* when there is none."""
        line = self.first(keyword)
        return line.value if line else default

    def each(self, keyword: str) -> list[Line]:
        """Every line of a keyword outside Match blocks, for those where all count."""
        return [line for line in self.lines if line.keyword == keyword.lower() and line.match is None]

    def matched(self, keyword: str) -> list[Line]:
        """Every line of a keyword in Match blocks."""
        return [line for line in self.lines if line.keyword == keyword.lower() and line.match is not None]

    def deciding(self, keyword: str) -> list[Line]:
        """The lines that decide for some connection: the one that counts, and those in Match blocks."""
        first = self.first(keyword)
        return [*([first] if first else []), *self.matched(keyword)]


@once
def read(image: Image) -> Sshd:
    """sshd of *image*."""
    installed = any(map(image.exists, PROGRAMS))
    units = systemd.read(image)
    starts, why_not, options = "", "", []
    sockets: tuple[Setting, ...] = ()
    if units.present:
        starts, why_not = _started(image, units)
        if not any(map(units.started, UNITS)):
            found = [units.unit(name) for name in SOCKETS if units.started(name)]
            sockets = tuple(each for unit in found if unit for each in unit.get("Socket", "ListenStream"))
        for name in (*UNITS, *(name.replace(".", "@.") for name in UNITS)):
            options += _unit_options(image, units, name)
    else:
        level = openrc.read(image)
        starts = level.started.get("sshd", "")
        why_not = "" if starts else "sshd is in no run level" if level.present else "no init system was found"
        words = _variables(text(image, "/etc/conf.d/sshd") or "")
        options = _split(f"{words.get('SSHD_OPTS', '')} {words.get('command_args', '')}")
    if not installed:
        starts, why_not = "", "there is no sshd"
    given, config = _given(options)
    path = config or next((path for path in CONFIGS if image.exists(path)), CONFIGS[0])
    return Sshd(installed, starts, why_not, (*given, *_file(image, path, None, 0)), sockets, path)


def listed(name: str, patterns: list[str]) -> bool:
    """Whether *name* matches sshd's list of patterns, in which ``!`` excludes."""
    found = False
    for pattern in patterns:
        if fnmatchcase(name, pattern.removeprefix("!")):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _started(image: Image, units: systemd.Systemd) -> tuple[str, str]:
    reasons = []
    for name in UNITS:
        if path := units.started(name):
            unit = units.unit(name)
            runs = unit.get("Service", "ExecStart") if unit else ()
            if not runs or any("sshd" in setting.value for setting in runs):
                why_not = unit_start.why_not(image, units, unit) if unit else ""
                if not why_not:
                    return path, ""
                reasons.append(why_not)
                continue
            reasons.append(f"{name} starts something else: {runs[0].path}:{runs[0].line}: {runs[0].value}")
            continue
        reasons.append(units.why_not(name))
    for name in SOCKETS:
        if path := units.started(name):
            unit = units.unit(name)
            said = [unit.last("Socket", key) if unit else "" for key in ("Service", "Accept")]
            template = "@" if said[1].lower() in ("yes", "true", "1", "on") else ""
            service = said[0] or f"{name.removesuffix('.socket')}{template}.service"
            if masked := units.masked(service):
                reasons.append(f"{name} would start {service}, which is masked by {masked}")
            elif (found := units.unit(service)) is None:
                reasons.append(f"{name} would start {service}, which is not there")
            elif why_not := unit_start.why_not(image, units, found):
                reasons.append(f"{name} would start {service}, but {why_not}")
            else:
                return path, ""
    told = [reason for reason in reasons if not reason.startswith("there is no ")] or reasons
    return "", "; ".join(dict.fromkeys(told))


def _unit_options(image: Image, units: systemd.Systemd, name: str) -> list[str]:
    unit = units.unit(name)
    if unit is None or units.real(name) != name:  # an alias has its turn by its own name
        return []
    variables: dict[str, str] = {}
    for setting in unit.get("Service", "Environment"):
        variables |= _variables("\n".join(_split(setting.value)))
    for setting in unit.get("Service", "EnvironmentFile"):
        variables |= _variables(text(image, setting.value.removeprefix("-")) or "")
    found = []
    for setting in unit.get("Service", "ExecStart"):
        for word in _split(setting.value)[1:]:
            variable = re.fullmatch(r"\$\{?(\w+)\}?", word)
            found += _split(variables.get(variable[1], "")) if variable else [word]
    return found


def _variables(content: str) -> dict[str, str]:
    found = {}
    for line in content.splitlines():
        match = re.match(r"\s*(?:export\s+)?(\w+)=(.*)", line)
        if match:
            found[match[1]] = " ".join(_split(match[2]))
    return found


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return line.split()


def _given(options: list[str]) -> tuple[list[Line], str]:
    """The lines that options (``-o``, ``-h``, ``-p``) stand for, and the file that ``-f`` names."""
    found, config = [], ""
    left = list(options)
    while left:
        word = left.pop(0)
        option, value = word[:2], word[2:]
        if option in ("-o", "-f", "-h", "-p", "-c") and not value:
            value = left.pop(0) if left else ""
        if option == "-f":
            config = value
        said = {"-h": f"HostKey {value}", "-p": f"Port {value}", "-c": f"HostCertificate {value}"}.get(option, value)
        if option in ("-o", "-h", "-p", "-c"):
            found += [line for line in [_line(said, "sshd's command line", 1, None)] if line]
    return found, config


def _file(image: Image, path: str, match: tuple[str, ...] | None, depth: int) -> Iterator[Line]:
    for number, raw in enumerate((text(image, path) or "").split("\n"), 1):
        line = _line(raw, path, number, match)
        if line is None:
            continue
        if line.keyword == "match":
            match = line.words
        elif line.keyword == "include" and depth < _DEPTH:
            for word in line.words:
                for included in _included(image, word):
                    # A Match block in an included file ends with it.
                    yield from _file(image, included, match, depth + 1)
        else:
            yield line


def _included(image: Image, pattern: str) -> list[str]:
    pattern = pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"
    hidden = posixpath.basename(pattern).startswith(".")
    found = []
    for path in image.glob(posixpath.normpath(pattern)):
        status = image.stat(path, follow=True)
        if status and status.kind == "file" and (hidden or not posixpath.basename(path).startswith(".")):
            found.append(path)
    return found


def _line(raw: str, path: str, number: int, match: tuple[str, ...] | None) -> Line | None:
    """A line of sshd_config: a keyword, ``=`` or blanks, words that may be quoted, perhaps a comment."""
    found = re.match(r"\s*\"?([^\s\"=#][^\s\"=]*)\"?(?:\s*=\s*|\s+|$)(.*)", raw)
    if not found:
        return None
    words: list[str] = []
    for quoted, plain in re.findall(r'"([^"]*)"|([^\s"]+)', found[2]):
        if plain.startswith("#"):
            break
        words.append(quoted or plain)
    keyword = found[1].lower()
    return Line(_ALIASES.get(keyword, keyword), tuple(words), path, number, raw.strip(), match)
