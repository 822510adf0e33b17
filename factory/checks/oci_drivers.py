"""Drivers of what the metadata of an .oci archive asks for: other disks and cards than paravirtualized ones.

Parameters: ``disk`` and ``network`` map words of bootVolumeType and networkType to a driver, or alternatives joined by
``|``; ``unsure`` lists the words of which nobody says what device it is, so that a missing driver is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from factory.checks import Looked, NotApplicable, Note, Problem, Rule, drivers
from factory.checks.oci_metadata import SUBJECT, launch_options


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    options = launch_options(looked)
    asked = False
    for name, kind, place in (("bootVolumeType", "disk", "initramfs"), ("networkType", "network", "modules")):
        word = options.get(name)
        wanted = rule.parameters[kind].get(word) if isinstance(word, str) else None
        if wanted is None:
            continue
        asked = True
        for found in drivers.check(looked, rule.model_copy(update={"parameters": {place: [wanted]}})):
            told = f"{SUBJECT} asks for {name} {word}: {found.evidence}"
            if isinstance(found, Note):
                yield Note(told)
            else:
                fix = found.fix or rule.fix.replace("TYPE", name)
                yield replace(found, evidence=told, warn=found.warn or word in rule.parameters["unsure"], fix=fix)
    if not asked:
        raise NotApplicable("there is no image_metadata.json that asks for other than paravirtualized disks and cards")
