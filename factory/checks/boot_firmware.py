"""The boot loader: one that the firmware of the target finds, BIOS or UEFI."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading.boot_firmware import read_bios, read_uefi


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    """*firmware* (a list; without it the target's): one of them must find a loader.

    With *default*, an image that lacks a loader for that one is only warned about: it has to be imported by name.
    """
    found = {"bios": read_bios(looked.disk), "uefi": read_uefi(looked.disk, looked.target.architectures)}
    wanted = rule.parameters.get("firmware", looked.target.firmware)
    for name in wanted:
        if not found[name]:
            yield Note(f"a loader for {name}")
    if all(found[name] for name in wanted):
        yield Problem("image", "; ".join(f"{name}: {found[name]}" for name in wanted))
        return
    default = rule.parameters.get("default", "")
    if default and found[default]:
        others = ", ".join(name for name in wanted if not found[name])
        yield Problem("image", f"the target boots {default} unless it is told {others}: {found[default]}", warn=True)
