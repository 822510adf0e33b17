"""The firmware of an .oci archive: its metadata asks for one that finds a loader on the disk."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.checks.oci_metadata import SUBJECT, read
from factory.reading.boot_firmware import read_bios, read_uefi


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if looked.archive is None or looked.archive.metadata is None:
        raise NotApplicable("there is no image_metadata.json")
    try:
        options = read(looked.archive.metadata).get("externalLaunchOptions")
    except (ValueError, RecursionError):
        raise NotApplicable("image_metadata.json cannot be read") from None
    firmware = options.get("firmware") if isinstance(options, dict) else None
    if firmware not in ("BIOS", "UEFI_64"):
        raise NotApplicable("image_metadata.json names no firmware")
    why = read_bios(looked.disk) if firmware == "BIOS" else read_uefi(looked.disk, looked.target.architectures)
    if why:
        yield Problem(SUBJECT, f"firmware is {firmware}, and {why}")
    yield Note(f"firmware is {firmware}, and the disk has a loader for it")
