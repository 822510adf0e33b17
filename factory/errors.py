"""Everything the factory can end with, drawn as a tree.

Each exception has an exit status (the contract of the command line), a stable code (``docs/errors.md`` explains each),
a message (what failed), a cause (why, as far as it is known) and a hint (what to do).

    FactoryError
    ├── RecipeError      2  the recipe is wrong; holds every Fault that was found
    ├── UsageError       2  the command line or a setting is wrong, or a named file is absent
    ├── HostError        3  this host lacks something: a program, memory, disk space, rights
    ├── BuildError       4  the build failed
    │   ├── CommandFailed   a program on this host ended badly
    │   ├── MachineError    the virtual machine died, hung or never answered
    │   ├── StepFailed      a provision step failed in the guest
    │   └── BaseError       the base image could not be had, or is not what was promised
    ├── ImageRefused     5  built, but a check or a boot test failed
    └── PublishError     6  publishing failed; the image is fine

A ``KeyboardInterrupt`` (or SIGTERM) ends with 130 once everything is cleaned up.
Anything else that escapes is a defect of the factory and shows its traceback.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class FactoryError(Exception):
    """What failed, the likely cause, and the fix. Only :mod:`factory.cli` prints it and exits."""

    status = 4
    code = "factory.error"
    folder: Path | None = None  # of the build that it ended: logs, and findings when it came that far

    def __init__(
        self, message: str, *, cause: str = "", hint: str = "", code: str = "", output: str = "", command: str = ""
    ) -> None:
        """*output* is the last part of what a program or guest printed; it is shown below the paragraph.

        *command* is what mends it, to be copied: it is shown alone on its lines, with nothing glued to it.
        """
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint
        self.output = output
        self.command = command
        if code:
            self.code = code

    def __str__(self) -> str:
        told = [sentence(part) for part in (self.message, self.cause, self.hint) if part]
        return " ".join([*told, *self.command.split("\n")]).strip()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """How it is pickled, for another process: made anew without ``__init__``, which may take what is gone."""
        return _made_again, (type(self), self.args), vars(self)

    @property
    def remedy(self) -> str:
        """The hint with its command, as one line: for a place that has no line of its own for the command."""
        return ": ".join(part for part in (self.hint.rstrip(". "), "; ".join(self.command.splitlines())) if part)

    def as_dict(self) -> dict[str, object]:
        """The same as data, for ``--json`` and ``--log-format json``."""
        return {
            "code": self.code,
            "status": self.status,
            "message": self.message,
            "cause": self.cause,
            "hint": self.hint,
            "command": self.command,
        }


def _made_again(kind: type[FactoryError], args: tuple[Any, ...]) -> FactoryError:
    return kind.__new__(kind, *args)


def sentence(text: str) -> str:
    """*text* with the full stop that it may lack."""
    text = text.rstrip()
    return text if text.endswith(("?", "!")) else text.rstrip(". ") + "."


@dataclass(frozen=True, order=True)
class Fault:
    """One fault of a recipe: where it is and what to write instead."""

    file: str
    line: int  # 1 is the first line; 0 when the fault is the file itself
    path: str  # such as ``provision[2].copy.mode``; empty for the whole file
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        path = f" {self.path}:" if self.path else ""
        suggestion = f" ({self.suggestion})" if self.suggestion else ""
        return f"{where}:{path} {self.message}{suggestion}"


class UsageError(FactoryError):
    """The command line or a setting is wrong, or a file that it names is not there."""

    status = 2
    code = "usage"


class RecipeError(FactoryError):
    """A recipe that cannot be built, with every fault at once."""

    status = 2
    code = "recipe.invalid"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        files = sorted({fault.file for fault in self.faults})
        count = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''}"
        lines = any(fault.line for fault in self.faults)
        hint = "Mend the lines named above and run it again" if lines else "Check the names"
        super().__init__(f"{count} in {', '.join(files)}", hint=hint)

    def as_dict(self) -> dict[str, object]:
        return super().as_dict() | {"faults": [vars(fault) for fault in self.faults]}


class HostError(FactoryError):
    """This host lacks something the work needs."""

    status = 3
    code = "host"


class BuildError(FactoryError):
    """The build failed."""

    status = 4
    code = "build"


class CommandFailed(BuildError):
    """A program on this host ended with a status that was not allowed, or took too long."""

    code = "build.command"


class MachineError(BuildError):
    """The virtual machine died, hung, or never answered; *output* is the end of its console."""

    code = "machine"


class StepFailed(BuildError):
    """A provision step failed in the guest."""

    code = "step.failed"


class BaseError(BuildError):
    """The base image could not be had, or is not what was promised."""

    code = "base"


class ImageRefused(FactoryError):
    """The image was built, but a check or a boot test failed: it is never published."""

    status = 5
    code = "image.refused"


class PublishError(FactoryError):
    """Publishing failed; the image itself is fine."""

    status = 6
    code = "publish"
