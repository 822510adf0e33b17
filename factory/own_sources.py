"""The digest of the factory's own program and data: its version stays the same from one commit to the next."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent
KINDS = (".py", ".yaml", ".j2", ".sh")
IN_THE_GUEST = (
    *("beginning.py", "cloud_init.py", "seed.py", "seed_iso.py", "renewal/__init__.py", "renewal/in_guest.py"),
    *("customise.py", "guest", "provision", "recipe/copying.py", "recipe/files.py", "recipe/template.py"),
    *("packaging", "apt_pins.py", "mirror.py"),
)
"""Where what a build does in its guest before it is scrubbed comes from."""


@functools.cache
def digest(*parts: str) -> str:
    """sha256 over the sources below *parts* of the package; without any, over all of them and the templates.

    As they lie on the disk at the first call. Raises OSError when one cannot be read.
    """
    from factory.seed import template_folder

    starts = [PACKAGE / part for part in parts] or [PACKAGE, template_folder()]
    found = hashlib.sha256()
    for start in starts:
        for path in [str(start)] if start.is_file() else sorted(_sources(str(start))):
            with open(path, "rb") as file:
                content = file.read()
            found.update(f"{os.path.relpath(path, start.parent)} {len(content)}\n".encode())
            found.update(content)
    return found.hexdigest()


def _sources(folder: str) -> Iterator[str]:
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _sources(entry.path)
        elif entry.name.endswith(KINDS):
            yield entry.path
