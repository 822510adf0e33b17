"""Traces of the build: what the scrub of a build deletes is not there.

*operations* names operations of :mod:`factory.scrub`, whose proofs are made here on any image. What those in *mild*
find deserves a warning only, as does what matches a path in it. *except* are patterns of paths that another rule tells
about.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from factory.checks import Looked, Note, Problem, Rule
from factory.quoting import quoted

if TYPE_CHECKING:
    from factory.inspection import Image

_RECORDS = re.compile(r"/var/log/(?:lastlog|faillog|tallylog)")
_EMPTY_COPY = "an empty copy of an older log"
EMPTIED = (
    "In the guest, with the device and the UUID that blkid shows of it: swapoff DEVICE && blkdiscard -z DEVICE && "
    "mkswap -U UUID DEVICE"
)
_GONE = "is no directory"  # systemd makes /tmp and /var/tmp anew


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    from factory.scrub import Facts

    nobody = Facts("factory-nobuild")
    mild, passed_over = rule.parameters.get("mild", ()), rule.parameters.get("except", ())
    operations = rule.parameters["operations"]
    for name in operations:
        operation = importlib.import_module(f"factory.scrub.{name}")
        for left in operation.verify(looked.image, nobody):
            if any(fnmatch(left.path, pattern) for pattern in passed_over) or left.evidence in (_EMPTY_COPY, _GONE):
                continue
            if _RECORDS.fullmatch(left.path) and _only_zeros(looked.image, left.path):
                continue
            warn = name in mild or left.severity == "warn" or any(fnmatch(left.path, pattern) for pattern in mild)
            # These two have to stay; whose mode or owner is wrong is mended by setting them.
            stays = left.path in ("/tmp", "/var/tmp")  # noqa: S108 - of the guest
            fix = f"chown 0:0 {quoted(left.path)} && chmod 1777 {quoted(left.path)}" if stays else None
            fix = fix if left.path.startswith("/") else EMPTIED
            yield Problem(left.path, f"{left.path}: {left.evidence}", warn, fix)
    yield Note(f"nothing that {', '.join(operations)} would remove")


def _only_zeros(image: Image, path: str) -> bool:
    """Whether a table of logins by user number has no login in it; it is as long as the highest number asks for."""
    return all(piece.count(0) == len(piece) for piece in image.chunks(path))
