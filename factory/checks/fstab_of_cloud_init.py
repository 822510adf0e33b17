"""fstab has no line that cloud-init wrote for the builder's disks, and no swap file that it made."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading.lines import content_of, numbered

FSTAB = "/etc/fstab"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for number, line in numbered(content_of(looked.image, FSTAB), "#"):
        if "comment=cloudconfig" in line:
            yield Problem(FSTAB, f"{FSTAB}:{number}: {line.strip()}")
    yield Note("no line of cloud-init")
