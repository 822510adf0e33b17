"""sudo: no rule is for a user who is not there or whom nobody allowed, each can be read, none needs root's password.

A rule without a password for a group is a warning, unless the group is listed in the parameter ``groups``. A rule for
the user whom cloud-init makes counts as well: cloud-init writes its own. What a package allows its own system account,
single commands, does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule, without_line
from factory.reading import accounts, sudoers


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    known, rules = looked.know(accounts.read), looked.know(sudoers.read)
    if not rules.grants and not rules.defaults and not rules.broken:
        raise NotApplicable("there is no sudoers file")
    numbers = {str(account.uid): account.name for account in known.all}
    groups = {group.name for group in known.groups} | {f"#{group.gid}" for group in known.groups}
    for grant in rules.grants:
        who = grant.who
        # A file of its own goes as a whole.
        fix = without_line(grant.path, grant.line) if grant.path in sudoers.MAIN else None
        if who.startswith("%"):
            if grant.no_password and who[1:] not in rule.parameters.get("groups", []):
                there = "" if who[1:] in groups else ", which is not there"
                yield Problem(grant.path, f"{grant.evidence} (a group{there})", True, fix)
        elif who == "ALL":
            if grant.no_password:
                yield Problem(grant.path, f"{grant.evidence} (everybody, without a password)", fix=fix)
        elif who != "root" and who != "#0" and not who.startswith("+"):
            name = numbers.get(who[1:], "") if who.startswith("#") else who
            account = known.named(name)
            if account is None:
                yield Problem(grant.path, f"{grant.evidence} (no such user)", fix=fix)
            elif {account.name, str(account.uid)}.isdisjoint(looked.allow_users) and (
                known.human(account) or grant.everything
            ):
                yield Problem(grant.path, f"{grant.evidence} (a user whom nobody allowed)", fix=fix)
    for path, number, evidence in rules.broken:
        yield Problem(path, evidence, fix=without_line(path, number))
    for line, evidence in rules.defaults:
        words = re.split(r"[\s,]+", line)
        if "targetpw" in words or "rootpw" in words:
            path, place = evidence.split(":")[:2]
            told = f"{evidence} (asks for the password of root)"
            yield Problem(path, told, True, without_line(path, int(place)))
