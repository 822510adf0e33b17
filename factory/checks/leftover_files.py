"""Files that only the machine of the build or its installer made are not in the image.

Parameter ``paths``: patterns of absolute paths; ``empty: yes`` also reports files without content.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import matching, size


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    patterns = tuple(rule.parameters["paths"])
    empty = rule.parameters.get("empty", "no") == "yes"
    for path, found in matching(looked.image, *patterns):
        if found.size or empty:
            yield Problem(path, f"{path}: {size(found)}")
    yield Note(f"nothing matches {', '.join(patterns)}")
