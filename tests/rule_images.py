"""Images for the proof that the rules can fail: a healthy guest, changed in one place, and checked as a whole.

A table in ``tests/rules/test_<topic>.py`` holds a :func:`defect` and a :func:`benign` twin for each rule; the one test
there calls :func:`prove`. An image is made of files by mke2fs and sgdisk: no root, no loop device, no boot.
"""

from __future__ import annotations

import functools
import itertools
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factory import checking, targets
from factory.findings import Finding
from tests import images, trees
from tests.guest_tree import Content, file, plant
from tests.guest_tree import folder as directory
from tests.guest_tree import link as symbolic
from tests.trees.common import ROOT_UUID

BOOT_CODE = b"\xeb\x63\x90" + b"boot code of a loader, or what stands for it" + b"\x90" * 300


@dataclass
class Guest:
    """What an image is made of; changes change it."""

    family: str
    files: dict[str, Content]
    esp: dict[str, bytes] = field(default_factory=lambda: {"EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(510)})
    options: tuple[str, ...] = ("-U", ROOT_UUID)  # of mke2fs, or what makes the file system in its place
    filesystem: Callable[..., None] = images.ext
    size: int = 64 * images.MIB
    after: list[Callable[[Path], None]] = field(default_factory=list)  # on the raw disk that is made
    format: tuple[str, ...] = ("qcow2",)  # what it is converted to, with words for qemu-img
    last: list[Callable[[Path], None]] = field(default_factory=list)  # on the finished image


Change = Callable[[Guest], None]


@dataclass(frozen=True)
class Case:
    """Changes to a healthy guest that break *rule* or, as its benign twin, break nothing."""

    rule: str
    family: str
    changes: tuple[Change, ...]
    broken: bool
    related: tuple[str, ...] = ()
    target: str = "mgc"
    alone: bool = False
    known: tuple[tuple[str, Any], ...] = ()  # what the caller knows of the image


def defect(
    rule: str,
    family: str,
    *changes: Change,
    related: Iterable[str] = (),
    target: str = "mgc",
    known: Mapping[str, Any] | None = None,
) -> Case:
    """A guest that breaks *rule* and, beside it, none but the *related* ones."""
    return Case(rule, family, changes, True, tuple(related), target, known=tuple((known or {}).items()))


def benign(
    rule: str,
    family: str,
    *changes: Change,
    target: str = "mgc",
    alone: bool = False,
    known: Mapping[str, Any] | None = None,
) -> Case:
    """A guest that looks like a defect of *rule* and is none. *alone*: not in one image with the other twins."""
    return Case(rule, family, changes, False, (), target, alone, tuple((known or {}).items()))


# -- changes


def write(path: str, content: str | bytes, mode: int = 0o644) -> Change:
    """A new file, or a new content of one."""
    data = content.encode() if isinstance(content, str) else content

    def change(guest: Guest) -> None:
        guest.files[path] = file(data, mode)

    return change


def append(path: str, text: str) -> Change:
    """*text* at the end of a text file of the healthy guest."""
    return edit(path, lambda before: before + text)


def replace(path: str, old: str, new: str) -> Change:
    """*new* in place of *old*, which the healthy guest must have."""

    def changed(before: str) -> str:
        assert old in before, f"{path} has no {old!r}"
        return before.replace(old, new)

    return edit(path, changed)


def edit(path: str, change: Callable[[str], str]) -> Change:
    """A text file of the healthy guest, changed; its mode stays."""

    def apply(guest: Guest) -> None:
        before = guest.files[path]
        if isinstance(before, bytes | str):
            text = before.decode() if isinstance(before, bytes) else before
            guest.files[path] = change(text)
        else:
            text, mode = before
            guest.files[path] = file(change(text).encode(), mode)

    return apply


def link(path: str, target: str) -> Change:
    """A symbolic link."""
    return lambda guest: guest.files.__setitem__(path, symbolic(target))


def folder(path: str, mode: int = 0o755) -> Change:
    """An empty directory."""
    return lambda guest: guest.files.__setitem__(path, directory(mode))


def remove(*paths: str) -> Change:
    """Files or directories of the healthy guest that are not there; one that it does not have is a mistake."""

    def change(guest: Guest) -> None:
        for path in paths:
            found = [name for name in guest.files if name == path or name.startswith(f"{path}/")]
            assert found, f"the healthy guest has no {path}"
            for name in found:
                del guest.files[name]

    return change


def esp(files: dict[str, bytes]) -> Change:
    """The ESP holds only these files."""

    def change(guest: Guest) -> None:
        guest.esp = files

    return change


def on_disk(change: Callable[[Path], None]) -> Change:
    """*change* the raw disk, before it is converted."""
    return lambda guest: guest.after.append(change)


def converted(to: str, *, compress: bool = False, **options: str) -> Change:
    """The image is of another format, or a qcow2 with *options* of qemu-img."""

    def change(guest: Guest) -> None:
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        guest.format = (to, *(["-c"] if compress else []), *words)

    return change


def on_image(change: Callable[[Path], None]) -> Change:
    """*change* the finished image."""
    return lambda guest: guest.last.append(change)


# -- images


def make(path: Path, family: str, *changes: Change) -> Path:
    """An image at *path*: qcow2, GPT, BIOS boot, ESP, root last (ext4), of a healthy guest with *changes*."""
    guest = Guest(family, trees.files(family))
    for change in changes:
        change(guest)
    root = path.with_suffix(".root")
    plant(root, guest.files)
    try:
        images.disk(path, root, *guest.options, size=guest.size, esp=guest.esp, make=guest.filesystem)
    finally:
        shutil.rmtree(root)
    with path.open("r+b") as disk:
        disk.write(BOOT_CODE)
        disk.seek(1 << 20)  # the BIOS boot partition
        disk.write(BOOT_CODE)
    for action in guest.after:
        action(path)
    kind, *words = guest.format
    if kind != "raw":
        made = path.with_suffix(".made")
        images.call("qemu-img", "convert", "-f", "raw", "-O", kind, *words, path, made)
        made.replace(path)
    for action in guest.last:
        action(path)
    return path


def check(path: Path, target: str = "mgc", **known: Any) -> list[Finding]:
    """Every rule of *target* on the image at *path*."""
    return checking.check(path, [targets.load(target)], checking.Known(**known))


def broken(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """The findings that warn or fail, by rule."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.status in ("warn", "fail"):
            found.setdefault(finding.rule, []).append(finding)
    return found


# -- the proof


def cases(table: Iterable[Case]) -> list[Any]:
    """The parameters of the one test: each defect, and the benign twins of a family and target in one image."""
    table = list(table)
    found = [pytest.param([case], id=_name(number, case)) for number, case in enumerate(table) if case.broken]
    found += [pytest.param([case], id=_name(number, case)) for number, case in enumerate(table) if case.alone]
    together = [case for case in table if not case.broken and not case.alone]
    together.sort(key=lambda case: (case.family, case.target))
    for (family, target), twins in itertools.groupby(together, key=lambda case: (case.family, case.target)):
        found.append(pytest.param(list(twins), id=f"benign-{family}-{target}"))
    return found


def prove(group: list[Case], folder: Path) -> None:
    """A defect breaks its rule and no other but the related; benign twins break nothing."""
    first = group[0]
    changes = [change for case in group for change in case.changes]
    findings = check(make(folder / "disk.img", first.family, *changes), first.target, **dict(first.known))
    found = broken(findings)
    shown = "\n".join(f"{each.rule} {each.subject}: {each.evidence}" for some in found.values() for each in some)
    expected = {first.rule, *first.related} if first.broken else set()
    ids = {finding.rule for finding in findings}
    assert {case.rule for case in group} <= ids, "the target has no such rule"
    if first.broken:
        assert first.rule in found, f"{first.rule} was not broken by its defect; broken were:\n{shown}"
    assert set(found) <= expected, f"broken, and not related:\n{shown}"
    for finding in (finding for some in found.values() for finding in some):
        assert suits(finding), f"{finding.rule}: {finding.fix!r} is no fix for {finding.subject}: {finding.evidence}"


# What the system, the boot or logins depend on: taking it away mends nothing.
NEEDED = re.compile(
    r"image$|.*/grub\.cfg$|.*/extlinux\.conf$|/boot/(loader/|vmlinuz|initr).*|/etc/(cloud/cloud\.cfg|hosts|fstab|passwd|shadow|group|sudoers|"
    r"default/grub|ssh/sshd_config|NetworkManager/NetworkManager\.conf|network/interfaces|sysconfig/network)$"
)


def suits(finding: Finding) -> bool:
    """Whether the fix of a broken rule can be one for what was found."""
    removed = re.search(r"\brm -r?f (\S+)", finding.fix)
    harmful = removed is not None and removed[1].strip("'") == finding.subject and NEEDED.match(finding.subject)
    deleted = re.search(r"sed -i .*/d' (\S+)", finding.fix)
    harmful = harmful or (deleted is not None and re.match(r"/boot/", deleted[1]) is not None)
    return (
        bool(finding.fix.strip()) and "{subject}" not in finding.fix and "-f FORMAT" not in finding.fix and not harmful
    )


def _name(number: int, case: Case) -> str:
    return f"{case.rule}-{case.family}-{number}"


@functools.cache
def all_rules() -> dict[str, targets.Rule]:
    """Every rule of every target."""
    return {rule.id: rule for name in targets.names() for rule in targets.rules(targets.load(name))}
