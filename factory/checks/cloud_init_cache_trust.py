"""cloud-init finds out on which instance it runs: nothing makes it trust what it knew before."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.quoting import quoted
from factory.reading import cloud_init

MARKS = ("/var/lib/cloud/instance/manual-clean",)
KEY = "manual_cache_clean"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    settings = looked.know(cloud_init.read)
    if settings.true(KEY):
        path = settings.path(KEY)
        yield Problem(path, settings.place(KEY), fix=f"Take {KEY} out of {quoted(path)}")
    for path in [*MARKS, *looked.image.glob("/var/lib/cloud/instances/*/manual-clean")]:
        if looked.image.stat(path, follow=True):
            yield Problem(path, f"{path} is there")
    yield Note(f"{KEY} is not set")
