"""What the next update of the boot loader's menu takes from: /etc/default/grub, its drop-ins, /etc/kernel/cmdline."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.leftovers import text

if TYPE_CHECKING:
    from factory.inspection import Image

_GRUB = "/etc/default/grub"
_CMDLINES = ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline")
_ASSIGNED = re.compile(r"\s*(?:export\s+)?([A-Z_][A-Z0-9_]*)=(.*)")


@dataclass(frozen=True)
class Setting:
    """The last assignment of a variable; *options* are the words of its value."""

    path: str
    line: int
    name: str
    value: str

    @property
    def options(self) -> tuple[str, ...]:
        """The words of the value."""
        return tuple(self.value.split())

    @property
    def evidence(self) -> str:
        """The place and the line, for a finding."""
        return f"{self.path}:{self.line}: {self.name}{'=' if self.name else ''}{self.value}"


def read(image: Image) -> dict[str, Setting]:
    """The variables of GRUB's defaults by name, later files winning; the kernel's command line is ``cmdline``."""
    found: dict[str, Setting] = {}
    for path in (_GRUB, *image.glob("/etc/default/grub.d/*.cfg")):
        for number, line in enumerate((text(image, path) or "").splitlines(), 1):
            match = _ASSIGNED.fullmatch(line)
            if match and not line.lstrip().startswith("#"):
                found[match[1]] = Setting(path, number, match[1], _value(match[2], match[1], found))
    for path in _CMDLINES:
        content = text(image, path)
        if content is not None:
            found["cmdline"] = Setting(path, 1, "", " ".join(content.split()))
            break
    return found


def _value(written: str, name: str, before: dict[str, Setting]) -> str:
    try:
        words = shlex.split(written, comments=True)
    except ValueError:
        words = [written]
    old = before[name].value if name in before else ""
    return re.sub(rf"\$\{{?{name}\}}?", lambda _: old, words[0] if words else "")
