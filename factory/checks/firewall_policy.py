"""The guest's own firewall is as the target wants it: off, so that the cloud's security groups alone decide, or on."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.checks.firewall_lets_in import PORTS, firewalls


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    policy = looked.target.firewall
    if policy == "any":
        raise NotApplicable(f"{looked.target.title} says nothing about firewalls")
    closing = [each for each in firewalls(looked) if each.unknown or any(map(each.closes, PORTS))]
    if policy == "enabled":
        if not closing:
            none = "no firewall that closes anything starts at boot"
            yield Problem(
                "image", none, fix="In the guest: systemctl enable nftables, with rules in /etc/nftables.conf"
            )
        yield Note(", ".join(each.started for each in closing))
        return
    for each in closing:
        path = each.files[0] if each.files else each.started.split(",")[0]
        why = each.unknown or next(filter(None, map(each.closes, PORTS)))
        yield Problem(path, f"{each.name} is started by {each.started}: {why}")
    yield Note("no firewall that closes anything starts at boot")
