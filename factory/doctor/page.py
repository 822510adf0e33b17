"""What the doctor found, as a page for people, as wide as their terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from factory import settings
from factory.doctor.row import Check

NARROW = 80  # columns, below which what was found stands below what was looked at
LEAST = 30  # columns, however narrow the terminal


def page(checks: Sequence[Check], width: int | None) -> str:
    """*checks* in at most *width* columns, but words are not broken; None: each in one line, for programs."""
    parts = [_lines([check for check in checks if check.about == "host"], width)]
    if others := [check for check in checks if check.about != "host"]:
        parts.append([_fill(f"Settings: the environment, then {settings.config_file()}, then the target's", width)])
        parts[-1] += _lines(others, width)
    return "\n\n".join(["\n".join(lines) for lines in parts if lines] + [_fill(_last(checks), width)])


def _lines(checks: Sequence[Check], width: int | None) -> list[str]:
    name = max((len(check.what) for check in checks), default=0)
    return [line for check in checks for line in _row(check, name, width)]


def _row(check: Check, name: int, width: int | None) -> Iterator[str]:
    state = "" if check.about == "setting" and check.state == "ok" else check.state
    first = f"{state:<4}  {check.what:<{name}}  "
    if width is not None and width < NARROW and len(first) + len(check.found) > width:
        yield first.rstrip()
        first = " " * 9
    yield _fill(check.found, width, first)
    if check.fix:
        yield _fill(check.fix, width, "      -> ")
    for line in check.command.splitlines():  # never broken: it is to be copied
        yield f"         {line}"


def _fill(text: str, width: int | None, first: str = "") -> str:
    """*text* behind *first*, its further lines indented as far."""
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
    counts = [("fault", "fail"), ("warning", "warn")]
    told = [
        f"{number} {what}{'' if number == 1 else 's'}"
        for what, state in counts
        if (number := sum(check.state == state for check in checks))
    ]
    return f"{' and '.join(told)}: the arrows say what to do." if told else "All is well."
