"""Empties the records of logins: who logged in when and from where, and names that were tried and refused.

Refused names are often passwords typed into the wrong field. The files stay, because programs write to them only where
they are; newer distributions keep them in SQLite, which is made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, any_below, blank, matching, size

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Records of logins"
ORDER = 380

_FILES = tuple(f"/var/log/{name}" for name in ("wtmp", "btmp", "lastlog", "faillog", "tallylog"))
_DATABASES = ("/var/lib/lastlog/lastlog2.db*", "/var/lib/wtmpdb/wtmp.db*", "/var/log/wtmp.db*")
_FAILURES = ("/var/lib/faillock", "/var/log/faillock")


def apply(_: Facts) -> str:
    """Truncated, so that owner (root:utmp) and mode stay."""
    return f"""
    for file in {" ".join(_FILES)}; do
        [ ! -s "$file" ] || : >"$file"
    done
    for file in {" ".join(_DATABASES)}; do
        [ -L "$file" ] || remove "$file"  # a link is the package's own
    done
    empty {" ".join(_FAILURES)}
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """A database with no login in it has bytes too, and is made again."""
    for path, found in matching(image, *_FILES, *_DATABASES):
        target = image.stat(path, follow=True) if found.kind == "symlink" else found
        if target and target.size and not (target.kind == "file" and blank(image, path)):
            yield Leftover(path, size(target))
    yield from any_below(image, *_FAILURES)
