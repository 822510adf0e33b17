"""The words of systemd's unit files: sections with settings, where later files are laid over earlier ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Settings that hold one value: a later line replaces an earlier one. Lists are emptied by a line without a value.
_LISTS = re.compile(
    r"(Wants|Requires|Requisite|BindsTo|Upholds|After|Before|Conflicts|PartOf|Also|Alias|WantedBy|RequiredBy|UpheldBy|"
    r"Environment|EnvironmentFile|Exec\w+|Listen\w+|Condition\w+|Assert\w+|Documentation|Sockets|DNS|Domains|Address)"
)


@dataclass(frozen=True)
class Setting:
    """A line of a unit file: its value (continued lines are joined), the file it is from, and the line's number."""

    value: str
    path: str
    line: int


@dataclass(frozen=True)
class Unit:
    """A unit with its drop-ins. *name* is its real name (aliases are resolved), *path* its file."""

    name: str
    path: str
    settings: dict[tuple[str, str], tuple[Setting, ...]] = field(default_factory=dict)

    def get(self, section: str, key: str) -> tuple[Setting, ...]:
        """Every line of a setting that counts, in order; one at most for a setting that is no list."""
        return self.settings.get((section, key), ())

    def words(self, section: str, key: str) -> Iterator[str]:
        """Every word of a setting that is a list of words."""
        for setting in self.get(section, key):
            yield from setting.value.replace('"', " ").split()

    def last(self, section: str, key: str) -> str:
        """The value that counts; "" when there is none."""
        found = self.get(section, key)
        return found[-1].value if found else ""


def lines(content: str) -> Iterator[tuple[int, str, str, str]]:
    """The (line number, section, key, value) of every setting in a unit file."""
    section, joined, start = "", "", 0
    for number, line in enumerate(content.splitlines(), 1):
        text = line.strip()
        if text.startswith(("#", ";")):  # also between continued lines
            continue
        start = start if joined else number
        if text.endswith("\\"):
            joined += text[:-1] + " "
            continue
        text, joined = (joined + text).strip(), ""
        if text.startswith("[") and text.endswith("]"):
            section = text[1:-1]
        elif "=" in text:
            key, _, value = text.partition("=")
            yield start, section, key.strip(), value.strip()


def merge(name: str, path: str, contents: list[tuple[str, str]]) -> Unit:
    """The unit that the (path, content) of its file and then of its drop-ins make."""
    found: dict[tuple[str, str], list[Setting]] = {}
    for source, content in contents:
        for number, section, key, value in lines(content):
            place = found.setdefault((section, key), [])
            if not value or not _LISTS.fullmatch(key):
                place.clear()
            if value:
                place.append(Setting(value, source, number))
    return Unit(name, path, {key: tuple(settings) for key, settings in found.items()})
