"""One disk: what the guest mounts at boot lies on the disk of this image."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    mounts = looked.image.mounts()
    for place, number in mounts.items():
        if number is None:
            yield Problem("/etc/fstab", f"/etc/fstab: what is mounted at {place} is not on this disk")
    yield Note(f"mounted from this disk: {', '.join(mounts)}")
