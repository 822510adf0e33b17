"""Data of services: the image holds no database, no container store and no machine of its own.

*folders* are patterns of paths that exist only when there is such data.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    told = set()
    patterns = rule.parameters["folders"]
    for pattern in patterns:
        for path in looked.image.glob(pattern):
            folder = path.rpartition("/")[0]
            if folder not in told:
                told.add(folder)
                yield Problem(folder, f"{path} is there: data of a service")
    yield Note(f"nothing matches {', '.join(patterns)}")
