"""The lines of /etc/fstab, and the devices that files name: by what a source such as ``UUID=...`` asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.leftovers import text

if TYPE_CHECKING:
    from factory.inspection import Image

PATH = "/etc/fstab"


@dataclass(frozen=True)
class Mount:
    """One line: what is mounted where, with which options. *place* is ``none`` or ``swap`` for swap."""

    line: int
    source: str
    place: str
    kind: str
    options: tuple[str, ...]
    written: str

    @property
    def evidence(self) -> str:
        """The place and the line, for a finding."""
        return f"{PATH}:{self.line}: {' '.join(self.written.split())}"

    @property
    def needed(self) -> bool:
        """Whether the boot waits for it and fails without it."""
        return not {"noauto", "nofail", "x-systemd.automount"} & set(self.options)


def read(image: Image) -> tuple[Mount, ...]:
    """Every line that mounts something, in order; none when the file is not there."""
    found = []
    for number, line in enumerate((text(image, PATH) or "").splitlines(), 1):
        fields = line.split()
        if len(fields) < 2 or fields[0].startswith("#"):
            continue
        kind = fields[2] if len(fields) > 2 else "auto"
        options = tuple(fields[3].split(",")) if len(fields) > 3 else ("defaults",)
        found.append(Mount(number, _unescaped(fields[0]), _unescaped(fields[1]), kind, options, line))
    return tuple(found)


def _unescaped(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)
