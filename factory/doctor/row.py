"""One row of what the doctor finds, and an examination whose own failure is a row too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from factory.errors import FactoryError, sentence


@dataclass(frozen=True)
class Check:
    """One line: *state* is ok, warn or fail; *fix* says what to do where it is not ok; *about* groups the lines.

    *command* is what *fix* points at, to be copied: it stands alone below it.
    """

    state: Literal["ok", "warn", "fail"]
    what: str
    found: str
    fix: str = ""
    about: Literal["host", "setting"] = "host"
    command: str = ""


def guarded(examination: Callable[[], Iterator[Check]], *, name: str = "") -> list[Check]:
    """The rows of *examination*; one that raises ends with a failed row that says so."""
    checks: list[Check] = []
    name = name or getattr(examination, "__name__", "").strip("_").replace("_", " ")
    try:
        checks.extend(examination())
    except FactoryError as error:
        found = " ".join(sentence(part) for part in (error.message, error.cause) if part)
        checks.append(Check("fail", name, found, error.hint, command=error.command))
    except OSError as error:
        checks.append(Check("fail", name, str(error), "See that this user may read and write there"))
    return checks
