"""``factory build --junit FILE``: what the checks and boot tests of one or several builds found, as one JUnit file.

Each build is a test suite. One that ended before it came to a verdict has a case that tells what ended it, so no recipe
is ever missing in what CI shows.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from factory import targets
from factory.errors import FactoryError, UsageError
from factory.files import touching, write_whole
from factory.manifest import read_findings
from factory.report import Report, junit

if TYPE_CHECKING:
    from factory.parallel import Ended
    from factory.plan import Plan


def check_place(path: Path) -> None:
    """Raise UsageError or HostError when the file *path* could not be written at the end of the builds."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder} for the file of --junit",
            hint="Make it first",
            command=f"mkdir -p {shlex.quote(str(folder))}",
            code="usage.output",
        )
    if path.is_dir():
        raise UsageError(f"--junit {path} is a folder", hint="Name a file in it", code="usage.output")
    with touching(folder, "Looking for a place to write to"):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, os.strerror(13), str(folder))


def begin(path: Path) -> None:
    """Look at the place and remove the file of an earlier run, so that no old result is taken for the one to come.

    Raises UsageError or HostError.
    """
    check_place(path)
    with touching(path, "Removing the file of an earlier run"):
        if path.is_file():
            path.unlink()


def write(path: Path, ends: Iterable[Ended], safe: Callable[[FactoryError], dict[str, object]]) -> None:
    """Write a suite for each of *ends* to *path*, whole or not at all; *safe* is an error as data without secrets.

    Raises HostError when it cannot be written.
    """
    write_whole(path, junit.whole([_suite(ended, safe) for ended in ends]).encode())


def _suite(ended: Ended, safe: Callable[[FactoryError], dict[str, object]]) -> Element:
    wanted = ended.plan.targets or (targets.load("generic"),)
    recipe = ended.plan.recipe
    name = f"factory build {recipe.name} {recipe.version} ({', '.join(target.name for target in wanted)})"
    found = _found(ended, name)
    error = ended.error
    if error is None:
        assert found is not None
        return found
    if found is None:
        return junit.broken_suite(name, safe(error))
    if found.get("failures") == "0":  # else its failed cases tell it already
        junit.add_error(found, safe(error))
    return found


def _found(ended: Ended, name: str) -> Element | None:
    """The suite of the build's findings; None when it ended before there were any."""
    folder = ended.built.folder if ended.built else ended.error.folder if ended.error else None
    if folder is None:
        return None
    try:
        document = read_findings(folder)
    except FactoryError:
        if ended.built:
            raise
        return None
    return junit.suite(name, Report(document, _rules(ended.plan)), ended.built.seconds if ended.built else None)


def _rules(plan: Plan) -> dict[str, targets.Rule]:
    wanted = plan.targets or (targets.load("generic"),)
    return {rule.id: rule for target in wanted for rule in targets.rules(target)}
