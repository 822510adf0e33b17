"""Passwords: no account or group has one, none is open without, and no hash is kept behind a lock.

Accounts that the recipe allows may have one, which is a warning: it is the same on every machine.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import matching, text
from factory.reading import accounts


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    known = looked.know(accounts.read)
    for account in known.all:
        allowed = account.name != "root" and not {account.name, str(account.uid)}.isdisjoint(looked.allow_users)
        where = account.password_place
        if account.kind == "none":
            yield Problem(account.name, f"{where}: {account.name} needs no password")
        elif account.kind == "usable":
            yield Problem(account.name, f"{where}: {account.name} has a password", warn=allowed)
        elif account.kind == "kept":
            yield Problem(account.name, f"{where}: {account.name} is locked, and its password is kept behind the lock")
    seen = set()
    for place, fields in accounts.lines(looked.image, accounts.SHADOW, 2):
        # Lines that do not count, as those of a deleted account or a repeated one, are leaks all the same.
        stray = fields[0] in seen or fields[0] not in known.names
        if stray and accounts.kind(fields[1]) in ("usable", "kept"):
            fix = without_line(accounts.SHADOW, int(place.rpartition(":")[2]))
            yield Problem(fields[0], f"{place}: a password in a line that does not count", fix=fix)
        seen.add(fields[0])
    for group in known.groups:
        if accounts.kind(group.password) in ("usable", "kept"):
            told = f"{group.place}: the group {group.name} has a password"
            yield Problem(group.name, told, fix=f"gpasswd -r {shlex.quote(group.name)}")
    for path, _ in matching(looked.image, "/etc/userdb/*.user*"):
        if re.search(r'"hashedPassword"\s*:\s*\[\s*"[$]', text(looked.image, path) or ""):
            yield Problem(path, f"{path}: a password in a user record", fix=f"rm -f {shlex.quote(path)}")
    pointing = [account.name for account in known.all if account.password_place == accounts.SHADOW]
    if pointing and not looked.image.exists(accounts.SHADOW):
        yield Problem(
            accounts.SHADOW, f"{accounts.SHADOW} is not there, so nobody can log in, by a key either", fix="pwconv"
        )
    if known.all:
        yield Note(f"{len(known.all)} accounts, all locked")
    else:
        yield Problem(
            accounts.PASSWD,
            f"{accounts.PASSWD} has no account",
            fix="apt-get install --reinstall base-passwd, or make the image again",
        )
