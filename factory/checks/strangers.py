"""Accounts: none that nobody allowed, no second root, no rights for users who are not there.

Accounts of people are those from UID_MIN of /etc/login.defs on. Parameters: ``shells``, system accounts that their
packages give a shell; ``people``, accounts with a high number that are none of people; ``rights``, groups whose
members can become root.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.reading import accounts


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    known, given = looked.know(accounts.read), rule.parameters
    allowed = {*looked.allow_users, *given.get("people", [])}
    for account in known.all:
        told = f"{account.place}: {account.name}:{account.uid}:{account.home}:{account.shell}"
        if account.uid == 0 and account.name != "root":
            yield Problem(account.name, f"{told} (the user id of root)", fix=f"userdel -f {shlex.quote(account.name)}")
        elif {account.name, str(account.uid)} & allowed:
            continue
        elif known.human(account):
            # With its home only where that is nobody else's.
            own = "-r " if account.home.startswith("/home/") else ""
            fix = f"userdel -f {own}{shlex.quote(account.name)}"
            yield Problem(account.name, f"{told} (an account of a person)", fix=fix)
        elif account.login_shell and account.uid and account.name not in given.get("shells", []):
            fix = f"usermod -s /usr/sbin/nologin {shlex.quote(account.name)}"
            yield Problem(account.name, f"{told} (a system account with a shell)", True, fix)
    seen: dict[str, str] = {}
    for account in known.all:
        if account.name in seen:
            fix = without_line(accounts.PASSWD, int(account.place.rpartition(":")[2]))
            yield Problem(account.name, f"{account.place}: {account.name} is already in {seen[account.name]}", fix=fix)
        seen.setdefault(account.name, account.place)
    for group in known.groups:
        for member in group.members:
            if member not in known.names:
                strong = group.name in given.get("rights", [])
                fix = f"gpasswd -d {shlex.quote(member)} {shlex.quote(group.name)}"
                yield Problem(member, f"{group.place}: {member} in {group.name} is no account", not strong, fix)
