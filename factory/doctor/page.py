"""What the doctor found, as a page for people, as wide as their terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from factory.doctor.row import Check

NARROW = 80  # columns, below which what was found stands below what was looked at
LEAST = 30  # columns, however narrow the terminal


def page(checks: Sequence[Check], width: int | None) -> str:
    """*checks* in at most *width* columns, but words are not broken; None: each in one line, for programs."""
    host = [check for check in checks if check.about == "host"]
    others = [check for check in checks if check.about != "host"]
    parts = [lines for lines in (_lines(host, width), _lines(others, width)) if lines]
    return "\n\n".join(["\n".join(lines) for lines in parts] + [_fill(_last(checks), width)])


def _lines(checks: Sequence[Check], width: int | None) -> list[str]:
    name = max((len(check.what) for check in checks), default=0)
    return [line for check in checks for line in _row(check, name, width)]


def _row(check: Check, name: int, width: int | None) -> Iterator[str]:
    first = f"{check.state:<4}  {check.what:<{name}}  "
    if width is not None and width < NARROW:
        yield first.rstrip()
        first = " " * 8
    yield _fill(check.found, width, first)
    if check.fix:
        yield _fill(f"-> {check.fix}", width, " " * 6)


def _fill(text: str, width: int | None, first: str = "") -> str:
    """*text* behind *first*, its further lines indented likewise."""
    if width is None:
        return (first + text).rstrip()
    return textwrap.fill(
        text,
        max(width, LEAST),
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _last(checks: Sequence[Check]) -> str:
    counts = {state: sum(check.state == state for check in checks) for state in ("fail", "warn")}
    told = [
        f"{counts['fail']} to mend (fail)" if counts["fail"] else "",
        f"{counts['warn']} to know of (warn)" if counts["warn"] else "",
    ]
    return f"{', '.join(filter(None, told))}: the arrows say what to do." if any(told) else "All is well."
