"""Scrub operations: what is taken out of a guest as its last act, and the proof on the final image that it is gone.

An operation is a module of this folder with

    a docstring                             what is removed, why, and what that means for a recipe
    SUMMARY: str                            the same in one line, without a full stop
    ORDER: int                              operations run from the lowest to the highest; each number is used once
    apply(facts) -> str                     shell commands, run as root in the guest; under ``set -eu`` a failing one
    ends
                                            the operation, so what may be absent must not be an error
    verify(image, facts) -> Iterator        a Leftover for everything that is still in the image

:func:`script` makes one script of them all. It stops whatever writes, deletes, trims, makes the disk read-only and
powers off, so nothing is written again. Commands may use ``homes`` (prints every home, one a line; the root directory
is an empty line), ``empty DIRECTORY...`` (deletes what is in them), ``remove FILE...`` and ``remove_trees PATH...``,
and should need nothing but a POSIX shell, find, grep and sed. :func:`verify` reads the finished image and depends on
nothing that the guest said.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from factory.leftovers import Leftover

if TYPE_CHECKING:
    from factory.inspection import Image

__all__ = [
    "SCRIPT",
    "Facts",
    "Leftover",
    "Operation",
    "Outcome",
    "deletion",
    "operations",
    "outcome",
    "script",
    "verify",
]

SCRIPT = "/run/factory-scrub"
"""Where the script must lie in the guest: in its memory, and where it cannot run by accident on another machine."""

_FOLDER = Path(__file__).parent
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?|[0-9]+")


@dataclass(frozen=True)
class Facts:
    """What is known of the build whose guest is scrubbed.

    *hostname* is the one that the build gave to the guest; *allow_users* (names or numbers) may exist in the image
    although they are no part of the distribution; *own_files* are absolute paths of files that the factory put onto
    the guest's disk; *addresses* are of the build's proxies and mirrors, which must not stay in any configuration.
    """

    hostname: str
    allow_users: tuple[str, ...] = ()
    own_files: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # The name is searched and replaced all over /etc, so it must be one that nothing else can contain.
        if not re.fullmatch(r"factory-[a-z0-9]{6,55}", self.hostname):
            raise ValueError(
                f"{self.hostname!r} is no host name of a build (factory-, then 6 or more random characters)"
            )
        for name in self.allow_users:
            if not _ACCOUNT.fullmatch(name):
                raise ValueError(f"{name!r} is no name of an account")
        for path in self.own_files:
            if not re.fullmatch(r"(/[^/\n]+){2,}", path) or ".." in path.split("/"):
                raise ValueError(f"{path!r} is no path of a file in a directory")


@dataclass(frozen=True)
class Operation:
    """A module of this folder. *about* is its docstring."""

    name: str
    summary: str
    order: int
    about: str
    apply: Callable[[Facts], str]
    verify: Callable[[Image, Facts], Iterator[Leftover]]


@dataclass(frozen=True)
class Outcome:
    """What the script said last: whether all went well, and the operations that failed, with their last words."""

    ok: bool
    failed: tuple[str, ...]


@functools.cache
def operations() -> tuple[Operation, ...]:
    """Every operation, in the order in which they run."""
    return tuple(sorted(map(_operation, _members()), key=lambda operation: operation.order))


def script(facts: Facts) -> str:
    """The whole script: to be put at :data:`SCRIPT` and started apart from any session. It ends with the power off."""
    return "\n".join([_part("begin"), _part("stop"), _body(facts), "exit 0", ""])


def deletion(facts: Facts, *names: str) -> str:
    """The operations alone (only *names*, if any are given), for a tree that nothing runs in: no stop, no power off.

    It prints a line for each operation that fails, and then ends with 1. Run it by ``chroot``: it deletes below /.
    """
    return "\n".join([_part("begin"), _body(facts, names), 'exit "$status"', ""])


def outcome(console: str) -> Outcome | None:
    """What a guest's *console* shows of the script's end; None when it has not come to it."""
    done = re.search(r"FACTORY-SCRUB-DONE (\d+)", console)
    failed = re.findall(r"FACTORY-SCRUB failed ([^\r\n]+)", console)
    return Outcome(done[1] == "0" and not failed, tuple(dict.fromkeys(failed))) if done else None


def verify(image: Image, facts: Facts) -> list[Leftover]:
    """Everything that any operation should have removed and that is still in *image*. Raises Unreadable."""
    return [
        replace(leftover, operation=operation.name)
        for operation in operations()
        for leftover in operation.verify(image, facts)
    ]


def _members() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem != "__init__")


def _operation(module_name: str) -> Operation:
    module = importlib.import_module(f"factory.scrub.{module_name}")
    name = module_name.replace("_", "-")
    return Operation(name, module.SUMMARY, module.ORDER, module.__doc__ or "", module.apply, module.verify)


def _part(name: str) -> str:
    return (_FOLDER / f"{name}.sh").read_text(encoding="utf-8")


def _body(facts: Facts, names: Collection[str] = ()) -> str:
    """A function for each operation, then the calls, so that a broken operation cannot end the script half-way."""
    functions, calls = [], []
    for operation in operations():
        commands = operation.apply(facts).strip("\n")
        if commands and (not names or operation.name in names):
            name = "scrub_" + operation.name.replace("-", "_")
            functions.append(f"{name}() {{\n{commands}\n}}\n")
            calls.append(f"operation {operation.name} {name}")
    return "\n".join([*functions, *calls])
