"""Locked accounts: where sshd asks no PAM, a password that starts with ``!`` refuses keys too.

Such an account needs ``*`` instead. Looked at are accounts of people, and root where it is the login user.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import accounts, default_user, sshd


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    ssh, known = looked.know(sshd.read), looked.know(accounts.read)
    if not ssh.installed:
        raise NotApplicable("there is no sshd")
    if ssh.value("UsePAM", "no") == "yes":
        yield Note(f"{ssh.deciding('UsePAM')[0].evidence}")
        return
    login = looked.know(default_user.read).name or "root"
    for account in known.all:
        wanted = account.name == login or (known.human(account) and account.login_shell)
        if wanted and account.password.startswith("!"):
            yield Problem(account.name, f"{account.password_place}: {account.name} is locked by !; sshd asks no PAM")
