"""File systems: each was unmounted, with nothing left in its journal, and none is marked as damaged."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    clean = []
    for part in looked.disk.partitions():
        system = part.filesystem
        if system is None:
            continue
        if system.clean is False:
            # What a boot would replay is not what can be read here, so it is no matter of taste.
            yield Problem(f"partition {part.number}", f"partition {part.number} ({system.kind}): {system.fault}")
        elif system.clean:
            clean.append(f"{part.number} ({system.kind})")
        if system.size > part.size:
            yield Problem(
                f"partition {part.number}",
                f"partition {part.number}: its {system.kind} has {system.size} bytes, the partition only {part.size}",
            )
    yield Note(f"clean: {', '.join(clean) or 'none that tells'}")
