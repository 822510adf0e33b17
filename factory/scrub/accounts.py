"""Closes root's account to passwords, and reports accounts that nobody allowed.

A password in an image is the same on every machine made from it, whoever knows it. root gets ``*``: no password opens
it, keys do, and no hash is kept behind a lock. Accounts are never deleted, because only the recipe knows what they own:
an account of a person that ``checks.allow_users`` does not list, any with an empty password, a second user with the
id 0, and a password of an account that is not listed, refuse the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover
from factory.reading import accounts

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Passwords, and accounts that the recipe does not allow"
ORDER = 60


def apply(_: Facts) -> str:
    """Written into the same file, so that owner, mode and security label stay; usermod would leave a backup."""
    return r"""
    if grep -q '^root:[^:]*:' /etc/shadow && ! grep -Eq '^root:(\*|!|!!|!\*):' /etc/shadow; then
        shadow=$(sed 's/^root:[^:]*:/root:*:/' /etc/shadow)
        printf '%s\n' "$shadow" >/etc/shadow
    fi
"""


def verify(image: Image, facts: Facts) -> Iterator[Leftover]:
    """An account of the system (below 1000) is the distribution's or a package's, and needs no permission."""
    people = accounts.read(image)
    for account in people.all:
        allowed = not {account.name, str(account.uid)}.isdisjoint(facts.allow_users)
        if account.uid == 0 and account.name != "root":
            yield Leftover("/etc/passwd", f"{account.name} has the user id 0")
        if people.human(account) and not allowed:
            yield Leftover(
                "/etc/passwd", f"{account.name} ({account.uid}) is an account that the recipe does not allow"
            )
        if problem := _password(account, allowed):
            yield Leftover("/etc/shadow", f"{account.name} {problem}")


def _password(account: accounts.Account, allowed: bool) -> str:
    if account.kind == "none":
        return "needs no password"
    if account.kind == "locked" or (allowed and account.name != "root"):
        return ""
    return "is locked, but its password is kept behind the lock" if account.kind == "kept" else "has a password"
