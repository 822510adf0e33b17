"""Deletes stored random seeds, and systemd's secret for encrypted credentials.

Two machines that start from the same seed may draw the same random numbers; they are made anew at the first shutdown.
A recipe that encrypted credentials with systemd-creds loses the key to them: that key would be every machine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, matching, size

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Random seeds and systemd's credential secret"
ORDER = 160

_ON_ESP = "/loader/random-seed"
_PATTERNS = (
    "/var/lib/systemd/random-seed",
    "/var/lib/random-seed",
    "/var/lib/misc/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/lib/seedrng/*",
    "/var/lib/systemd/credential.secret",
    *(f"{mount}{_ON_ESP}" for mount in ("/boot/efi", "/boot", "/efi")),
)


def apply(_: Facts) -> str:
    """The EFI system partition is mounted where the distribution mounts it."""
    return f"""
    remove {" ".join(_PATTERNS)}
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Looks into every FAT partition, mounted by fstab or not."""
    seen = set()
    for path, found in matching(image, *_PATTERNS):
        seen.add((found.partition, found.inode))
        yield Leftover(path, size(found))
    for partition in image.partitions():
        if not partition.filesystem or partition.filesystem.kind != "vfat":
            continue
        on_esp = image.stat(_ON_ESP, partition=partition.number)
        if on_esp and (on_esp.partition, on_esp.inode) not in seen:
            yield Leftover(f"partition {partition.number}: {_ON_ESP}", size(on_esp))
