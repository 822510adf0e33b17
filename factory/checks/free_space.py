"""Free space: the root file system, and /boot when it is one of its own, can take what the first boot writes.

*bytes* must be free, or *percent* of the file system, and so many *inodes*: less is a warning. Where fewer bytes than
*none*, or fewer inodes than *none_inodes*, are left, the first boot cannot even write what makes the root grow. With
*strict*, too little is no warning either. What has a fixed number of inodes gets more as it grows.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule

_MIB = 1 << 20


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    given = rule.parameters
    least, percent = int(given.get("bytes", 250 * _MIB)), float(given.get("percent", 10))
    inodes, strict = int(given.get("inodes", 1000)), bool(given.get("strict"))
    none, none_inodes = int(given.get("none", 4 * _MIB)), int(given.get("none_inodes", 100))
    mounts = looked.image.mounts()
    told = []
    looked_at = set()  # subvolumes share the space of one file system
    for place in ("/", "/boot", "/var"):
        part = next((p for p in looked.image.partitions() if p.number == mounts.get(place) and place in mounts), None)
        system = part.filesystem if part and part.number not in looked_at else None
        looked_at.add(mounts.get(place))
        if system is None or not system.size or system.free is None:
            continue
        told.append(f"{place}: {system.free // _MIB} of {system.size // _MIB} MiB are free")
        # A kernel and its initramfs are about 80 MiB: a /boot of its own needs less than a root.
        enough = least if place != "/boot" else min(least, 100 * _MIB)
        little = system.free < enough and system.free * 100 < percent * system.size
        if little:
            yield Problem(place, told[-1], warn=not strict and (place == "/boot" or system.free >= none))
        if place != "/boot" and system.inodes is not None and system.inodes < inodes:
            evidence = f"{place}: {system.inodes} more files can be made (inodes)"
            yield Problem(place, evidence, warn=system.inodes >= none_inodes)
    if not told:
        raise NotApplicable("the root file system is of a kind that does not tell its free space here")
    yield Note(", ".join(told))
