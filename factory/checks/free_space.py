"""Free space: the root file system, and /boot when it is one of its own, can take what the first boot writes.

*bytes* must be free, or *percent* of the file system. The root grows at the first boot; before that, it must boot.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule

_MIB = 1 << 20


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    least, percent = int(rule.parameters.get("bytes", 250 * _MIB)), float(rule.parameters.get("percent", 10))
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
        if system.free < enough and system.free * 100 < percent * system.size:
            yield Problem(place, told[-1])
    if not told:
        raise NotApplicable("the root file system is of a kind that does not tell its free space here")
    yield Note(", ".join(told))
