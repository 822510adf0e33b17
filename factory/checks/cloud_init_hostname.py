"""Every instance takes the name that the cloud gives it: cloud-init's settings pin no host name."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import cloud_init

PINS = ("hostname", "fqdn")
TRUE = ("preserve_hostname",)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    settings = looked.know(cloud_init.read)
    if not settings.program:
        raise NotApplicable("cloud-init is not installed")
    for key in TRUE:
        if settings.true(key):
            yield Problem(settings.path(key), settings.place(key))
    for key in PINS:
        if settings.get(key):
            yield Problem(settings.path(key), settings.place(key))
    yield Note("no host name is pinned")
