"""The list of datasources stands on one line, so that ds-identify reads the same as cloud-init."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import cloud_init, datasources


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if not looked.know(cloud_init.read).program:
        raise NotApplicable("cloud-init is not installed")
    found = looked.know(datasources.read)
    if found.multi_line:
        yield Problem(found.multi_line.split(":")[0], f"{found.multi_line} (the list goes on in other lines)")
    elif found.settings and found.seen is None:
        yield Problem(found.settings_place.split(":")[0], f"{found.settings_place} (not seen by ds-identify)")
    elif found.settings is not None and found.seen is not None and set(found.settings) != set(found.seen):
        yield Problem(
            found.seen_place.split(":")[0],
            f"ds-identify reads {found.seen_place}, and cloud-init {found.settings_place}",
        )
    yield Note(found.seen_place or "no list")
