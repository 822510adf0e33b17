"""The kernel's words that the next boot entry will get: those of files from which tools make boot entries anew."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from factory.reading.lines import content_of, layered, numbered, shell

if TYPE_CHECKING:
    from factory.inspection import Image

GRUB = "/etc/default/grub"
FILES = ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline")


def read(image: Image) -> list[tuple[str, str, tuple[str, ...]]]:
    """(path, ``path:line: text``, words) of every line that gives words."""
    found = []
    for path in [GRUB, *layered(image, [f"{GRUB}.d"], ".cfg")]:
        for name, entry in shell(path, content_of(image, path)).items():
            if name.startswith("GRUB_CMDLINE_LINUX"):
                found.append((path, entry.place, _words(entry.value)))
    for path in FILES:
        for number, line in numbered(content_of(image, path), "#"):
            found.append((path, f"{path}:{number}: {line.strip()}", _words(line)))
    return found


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return tuple(text.split())
