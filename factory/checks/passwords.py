"""Passwords: no account or group has one, none is open without, and no hash is kept behind a lock.

Accounts that the recipe allows may have one, which is a warning: it is the same on every machine. A console that logs
somebody in by itself is open without one, too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import matching, text
from factory.quoting import quoted
from factory.reading import accounts, systemd

_CONSOLES = ("getty@tty1.service", "serial-getty@ttyS0.service", "console-getty.service")
_INITTAB = "/etc/inittab"
_BY_ITSELF = re.compile(r"\s(?:--autologin[= ]\s*|-a\s+)([\w.-]+)")


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
    yield from _consoles(looked)
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


def _consoles(looked: Looked) -> Iterator[Problem]:
    """Consoles on which a login needs nothing: whoever sees one, in a cloud's web page too, is logged in."""
    units = looked.know(systemd.read)
    for name in _CONSOLES if units.present else ():
        unit = units.unit(name)
        for setting in unit.get("Service", "ExecStart") if unit else ():
            if found := _BY_ITSELF.search(setting.value):
                told = f"{setting.path}:{setting.line}: {name} logs {found[1]} in without a password"
                fix = f"rm -f {quoted(setting.path)}" if ".service.d/" in setting.path else None
                yield Problem(setting.path, told, fix=fix or f"Take --autologin out of {quoted(setting.path)}")
    for number, line in enumerate((text(looked.image, _INITTAB) or "").splitlines(), 1):
        if not line.lstrip().startswith("#") and (found := _BY_ITSELF.search(line)):
            told = f"{_INITTAB}:{number}: a console logs {found[1]} in without a password"
            yield Problem(_INITTAB, told, fix=f"Take --autologin out of {_INITTAB}")
