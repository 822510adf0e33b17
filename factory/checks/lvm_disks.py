"""LVM finds its disks on any machine: no list of the build's disks is left, and no filter lets in those alone.

Files are told as the check of leftover files does, by the same parameters. Lists and filters count in an initramfs too,
where the root file system lies on LVM. Parameter ``disks``: the names of which LVM must accept one with the number of
each partition that is LVM's.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.drivers import MADE_ANEW, readable
from factory.checks.leftover_files import problems
from factory.leftovers import text
from factory.reading import lvm

_CONF = "/etc/lvm/lvm.conf"
_LIST = "etc/lvm/devices/system.devices"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    yield from problems(looked, rule)
    image = looked.image
    volumes = [p.number for p in image.partitions() if p.filesystem and p.filesystem.kind == "LVM2_member"]
    if not volumes:
        return
    names = [[f"/dev/{disk}{number}" for disk in rule.parameters["disks"]] for number in volumes]
    root = image.mounts()["/"]
    needed = any(part.number == root and part.type == "lvm" for part in image.partitions())
    for place, shown, content in _files(looked):
        for found in lvm.filters(content):
            lost = [each[0] for each in names if not any(found.accepts(name) for name in each)]
            if lost:
                evidence = f"{shown}:{found.line}: {found.shown} lets LVM not look at {lost[0]}"
                fix = f"Put # before line {found.line} of {_CONF} in the guest, and {MADE_ANEW}"
                yield Problem(place, evidence, warn=not needed, fix=fix)
    for archive in readable(looked):
        entries = [line for line in archive.text(_LIST).splitlines() if "IDTYPE=" in line and not line.startswith("#")]
        if entries:
            evidence = f"{archive.path}: {_LIST} names {len(entries)} of the build's disks"
            fix = f"In the guest, rm -f /{_LIST}, then {MADE_ANEW}"
            yield Problem(archive.path, evidence, warn=not needed, fix=fix)


def _files(looked: Looked) -> Iterator[tuple[str, str, str]]:
    """Each lvm.conf: the subject of a finding, how it is shown, its text."""
    yield _CONF, _CONF, text(looked.image, _CONF) or ""
    for archive in readable(looked):
        yield archive.path, f"{archive.path}: {_CONF[1:]}", archive.text(_CONF[1:])
