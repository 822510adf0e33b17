"""Expiry: no account that somebody logs in to has expired or must change its password first, which no key can do."""

from __future__ import annotations

import time
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import accounts

DAY = 86400  # seconds


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    today = int(time.time()) // DAY
    for account in looked.know(accounts.read).all:
        if not account.login_shell or not account.password_place.startswith(accounts.SHADOW):
            continue
        told = f"{account.password_place}: {account.name}"
        if account.expires is not None and account.expires <= today:
            yield Problem(account.name, f"{told} has expired (day {account.expires} since 1970)")
        elif account.changed == 0:
            yield Problem(account.name, f"{told} must change its password at the first login")
        elif account.changed and account.longest is not None and account.changed + account.longest < today:
            yield Problem(account.name, f"{told} has a password older than its {account.longest} days")
