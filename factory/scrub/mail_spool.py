"""Deletes mail: what cron and others sent to root in the build, and what waits in a mail server's queue.

Queued mail would be sent by every machine made from the image. Directories stay, with the owners that mail servers
want; scheduled commands (crontabs, at) are the recipe's, and stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, below, size

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Mailboxes and mail queues"
ORDER = 360

_QUEUES = "active bounce corrupt defer deferred flush hold incoming maildrop saved trace"
_FOLDERS = (
    "/var/mail",
    "/var/spool/mail",
    "/var/spool/clientmqueue",
    "/var/spool/mqueue",
    "/var/spool/exim4/input",
    "/var/spool/exim4/msglog",
    "/var/spool/exim4/db",
    *(f"/var/spool/postfix/{queue}" for queue in _QUEUES.split()),
)


def apply(_: Facts) -> str:
    """Either of /var/mail and /var/spool/mail may be a link to the other."""
    return f"""
    for directory in {" ".join(_FOLDERS)}; do
        [ ! -d "$directory/." ] || find "$directory/." -xdev -type f -delete
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """An empty mailbox is a mailbox. A file that is reached by two names is reported once."""
    seen = set()
    for path, found in below(image, *_FOLDERS):
        if found.kind == "file" and found.size and (found.partition, found.inode) not in seen:
            seen.add((found.partition, found.inode))
            yield Leftover(path, size(found))
