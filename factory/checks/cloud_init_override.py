"""ds-identify is not overruled: its own file names no datasource and no policy that switches cloud-init off."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import cloud_init, datasources


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if not looked.know(cloud_init.read).program:
        raise NotApplicable("cloud-init is not installed")
    found = looked.know(datasources.override)
    if found.datasource:
        # One of this cloud's own works here, and nowhere else.
        own = found.datasource in looked.target.datasources
        yield Problem(datasources.OVERRIDE, found.datasource_place, warn=own)
    if found.disables:
        yield Problem(datasources.OVERRIDE, found.policy_place)
    yield Note(f"{datasources.OVERRIDE} overrules nothing")
