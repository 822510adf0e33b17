"""The boot loader: one that the firmware of the target finds, BIOS or UEFI."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading.boot_firmware import read_bios, read_uefi

_ASKED = {"bios": "Publish it without --uefi", "uefi": "Publish it with --uefi"}


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    """*firmware* (a list; without it the target's): one of them must find a loader.

    With *default*, an image that lacks a loader for that one is only warned about: it has to be imported by name. When
    it is known which one the import names, that one must find a loader.
    """
    found = {"bios": read_bios(looked.disk), "uefi": read_uefi(looked.disk, looked.target.architectures)}
    wanted, default = rule.parameters.get("firmware", looked.target.firmware), rule.parameters.get("default", "")
    fix = None
    if default and looked.firmware:
        wanted, default = [looked.firmware], ""
        fix = next((_ASKED[name] for name, why in found.items() if not why), None)
    for name in wanted:
        if not found[name]:
            yield Note(f"a loader for {name}")
    if all(found[name] for name in wanted):
        yield Problem("image", "; ".join(f"{name}: {found[name]}" for name in wanted), fix=fix)
        return
    if default and found[default]:
        others = ", ".join(name for name in wanted if not found[name])
        yield Problem("image", f"the target boots {default} unless it is told {others}: {found[default]}", warn=True)
