"""Deletes logs and the journal, and keeps the directories they lie in, with their owners and modes.

Logs tell the build's addresses, names and sometimes secrets. Services (auditd, nginx and many more) do not start
without their directory in /var/log, and a missing /var/log/journal would switch the journal to memory only. A file that
only root can write is deleted, because root makes it again. Any other is emptied: its service may not be able to.

Whatever a recipe puts below /var/log is a log, and goes. Records of logins are another operation's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, any_below, below, remaining, size

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Logs and the journal"
ORDER = 370

_LOGS = "/var/log"
_JOURNAL = "/var/log/journal"
_RECORDS = ("wtmp", "btmp", "lastlog", "faillog", "tallylog")  # of logins
_STATE = ("/var/lib/logrotate/status", "/var/lib/logrotate/logrotate.status", "/var/lib/logrotate.status",
          "/var/lib/rsyslog/imjournal.state")  # fmt: skip
# Older copies, which no service opens.
_ROTATED = re.compile(r"\.(gz|xz|bz2|zst|old)$|\.[0-9]+$|-[0-9]{8}([-.].*)?$")
_ROTATED_NAMES = (
    "*.gz",
    "*.xz",
    "*.bz2",
    "*.zst",
    "*.old",
    "*.[0-9]",
    "*.[0-9][0-9]",
    "*-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]*",
)


def apply(_: Facts) -> str:
    """-perm /022: somebody but the owner may write."""
    records = " ".join(f"! -path {_LOGS}/./{name}" for name in _RECORDS)
    rotated = " -o ".join(f"-name '{name}'" for name in _ROTATED_NAMES)
    return f"""
    empty {_JOURNAL}
    remove {" ".join(_STATE)}
    [ -d {_LOGS}/. ] || return 0
    find {_LOGS}/. -xdev -type f {records} \\( {rotated} \\) -delete
    find {_LOGS}/. -xdev -type f {records} -uid 0 ! -perm /022 -delete
    find {_LOGS}/. -xdev -type f {records} -size +0c -exec truncate -s 0 -- {{}} +
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """The journal's folder must be there where systemd was told to use it; that is checked when the machine boots."""
    yield from any_below(image, _JOURNAL)
    yield from remaining(image, *_STATE)
    for path, found in below(image, _LOGS):
        if found.kind != "file" or path.startswith(f"{_JOURNAL}/") or path.removeprefix(f"{_LOGS}/") in _RECORDS:
            continue
        if found.size:
            yield Leftover(path, size(found))
        elif _ROTATED.search(path):
            yield Leftover(path, "an empty copy of an older log")
