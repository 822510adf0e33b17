"""BIOS and MBR, as an older document asks: UEFI or GPT then have to be declared."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading.boot_firmware import read_bios


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if looked.archive is not None and looked.archive.kind == "oci":
        yield Note("the archive's own metadata says which firmware it wants")
        return
    why = read_bios(looked.disk)
    if why:
        yield Problem("image", f"it boots by UEFI only ({why}): declare the firmware UEFI_64")
    elif looked.disk.table == "gpt":
        yield Note("GPT, and a loader that BIOS finds")
