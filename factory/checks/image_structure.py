"""The image's own structure: ``qemu-img check`` finds no corruption."""

from __future__ import annotations

from collections.abc import Iterator

from factory import disk
from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.errors import CommandFailed

CHECKED = ("qcow2", "vdi", "vhdx", "vmdk")  # what qemu-img can check

AGAIN = "Copy the image again from where it is whole (compare sha256sum IMAGE), or build it again: nothing mends it"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if looked.no_disk:
        raise NotApplicable("qemu-img looks at no file that is refused, or that is no disk image")
    if looked.file.format not in CHECKED:
        raise NotApplicable(f"{looked.file.format} has no structure to check")
    try:
        found = disk.check(looked.file.path, looked.file.format)
    except CommandFailed as error:
        yield Problem("image", f"qemu-img check: {error.cause or error.message}", fix=AGAIN)
        return
    if found.corruptions:
        yield Problem("image", f"qemu-img check: {found.corruptions} corruptions", fix=AGAIN)
    elif found.leaks:
        yield Problem("image", f"qemu-img check: {found.leaks} leaked clusters", warn=True)
    elif found.state not in ("sound", "unchecked"):
        yield Problem("image", f"qemu-img check: {found.state}", fix=AGAIN)
    yield Note(f"qemu-img check: {found.state}")
