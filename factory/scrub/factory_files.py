"""Deletes what the factory itself put onto the guest's disk, and proves that no address of the build stays in settings.

A proxy or mirror that only the build can reach makes every later update of a machine hang.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, below, holds, size

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Files of the factory, and addresses of the build's proxies and mirrors"
ORDER = 210

_SETTINGS = ("/etc", "/root", "/usr/local/etc")


def apply(facts: Facts) -> str:
    """Nothing when there is nothing of ours."""
    return f"remove {shlex.join(facts.own_files)}" if facts.own_files else ""


def verify(image: Image, facts: Facts) -> Iterator[Leftover]:
    """Addresses are searched for in settings only: packages may hold documents that name a public mirror."""
    for path in facts.own_files:
        if found := image.stat(path):
            yield Leftover(path, f"a file of the factory ({size(found)})")
    for path, found in below(image, *_SETTINGS) if facts.addresses else ():
        if found.kind == "file" and found.size:
            for address in facts.addresses:
                if holds(image, path, address.encode()):
                    yield Leftover(path, "holds the address of a proxy or mirror of the build")
