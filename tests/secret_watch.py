"""Where secrets show: in files, in any usual form, and on the command lines of processes while something runs."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote


def forms(value: str) -> set[bytes]:
    """How a secret can stand somewhere: as it is, in base64, and quoted for a URL."""
    encoded = base64.b64encode(value.encode()).decode().rstrip("=")
    return {value.encode(), encoded[:-2].encode(), quote(value, safe="").encode()}


def in_files(secrets: Mapping[str, str], places: Iterable[Path]) -> set[str]:
    """``name: path`` for each secret that stands in a file below *places*; names of files count too."""
    found = set()
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*"))]
    for file in files:
        data = os.fsencode(file) + (file.read_bytes() if file.is_file() and not file.is_symlink() else b"")
        found |= {f"{name}: {file}" for name, value in secrets.items() if any(form in data for form in forms(value))}
    return found


class Watch:
    """Looks at the command lines and at what is readable of all processes until it is stopped."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._found: set[str] = set()
        self.looks = 0
        self._over = threading.Event()
        self._needles = {name: forms(value) for name, value in secrets.items()}
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.looks += 1
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    words = (folder / "cmdline").read_bytes()
                except OSError:
                    continue
                for name, needles in self._needles.items():
                    if any(needle in words for needle in needles):
                        self._found.add(f"{name} in {words[:80]!r}")

    def stop(self) -> set[str]:
        """Where a secret was seen."""
        self._over.set()
        self._thread.join()
        return self._found
