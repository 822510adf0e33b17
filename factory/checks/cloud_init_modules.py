"""cloud-init's lists of modules have what an instance needs, and no file of its settings is broken.

Parameter ``modules``: the names, with ``_``; those of growth have a rule of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import cloud_init

STAGES = ("cloud_init_modules", "cloud_config_modules", "cloud_final_modules")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    settings = looked.know(cloud_init.read)
    if not settings.program:
        raise NotApplicable("cloud-init is not installed")
    there = {module for stage in STAGES for module in settings.modules(stage)}
    for part in settings.parts:
        if part.fault:
            yield Problem(
                part.path, f"{part.fault}; cloud-init leaves out the whole file", warn=part.path != cloud_init.BASE
            )
    for module in rule.parameters["modules"]:
        if module not in there:
            yield Problem(settings.path(STAGES[0]), f"no list has {module}: {settings.place(STAGES[0])}")
    yield Note(f"{len(there)} modules")
