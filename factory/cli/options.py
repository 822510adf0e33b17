"""What options and arguments of several verbs are: their types, and what their values mean."""

from __future__ import annotations

import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from factory.errors import UsageError
from factory.quoting import quote

FROM_FILE = re.compile(r"([^=@]+)@([^=]+)")  # a value of --set that is in a file


class LogFormat(StrEnum):
    """How progress is written."""

    text = "text"
    json = "json"


class Accelerator(StrEnum):
    """What runs the guests."""

    auto = "auto"
    kvm = "kvm"
    tcg = "tcg"


class BootTestMode(StrEnum):
    """How much is booted."""

    full = "full"
    quick = "quick"
    none = "none"


class Boots(StrEnum):
    """How much is booted where nothing but boots was asked for."""

    full = "full"
    quick = "quick"


class Keep(StrEnum):
    """When working files stay."""

    on_failure = "on-failure"
    always = "always"
    never = "never"


class IfExists(StrEnum):
    """What to do when the name of an image is taken in the cloud."""

    fail = "fail"
    skip = "skip"


class Document(StrEnum):
    """The documents that have a JSON Schema."""

    recipe = "recipe"
    manifest = "manifest"
    findings = "findings"


Recipes = Annotated[list[str], typer.Argument(metavar="RECIPE...", help="Names (recipes/<name>.yaml) or paths.")]
Target = Annotated[
    list[str], typer.Option("--target", "-t", metavar="T", help="The cloud, in place of the recipe's targets.")
]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="NAME=VALUE", help="A value for a variable; NAME@FILE takes it from a file."),
]
Accel = Annotated[Accelerator | None, typer.Option("--accel", help="kvm refuses to fall back to tcg.")]
Connect = Annotated[str, typer.Option("--connect", metavar="URI", help="libvirt; default qemu:///embed, no daemon.")]
Offline = Annotated[bool, typer.Option("--offline", help="Take bases from the cache only.")]
AcceptStale = Annotated[bool, typer.Option("--accept-stale", help="Take a base although it is older than its max_age.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="In place of out.")]
LogFormatHere = Annotated[LogFormat | None, typer.Option("--log-format", help="json: one event a line.")]


def given(context: typer.Context) -> set[str]:
    """The options of this command line whose values are not their defaults."""
    return {
        parameter.opts[0]
        for parameter in context.command.params
        if context.params.get(parameter.name or "") != parameter.get_default(context)
        and parameter.opts[0].startswith("--")
    }


def libvirt(connect: str) -> str:
    """The address of libvirt; one that is not of this host is refused before any work is done."""
    from factory import settings
    from factory.hypervisor.connection import require_local

    uri = connect or settings.value("FACTORY_CONNECT")
    require_local(uri)
    return uri


def keep_of(chosen: Keep | None) -> Keep:
    """What ``--keep`` means when it is not given: who sits at a terminal wants to look into a failure."""
    if chosen is not None:
        return chosen
    return Keep.on_failure if sys.stderr.isatty() and not os.environ.get("CI") else Keep.never


def only(targets: list[str]) -> str:
    """The one cloud of ``--target``; empty when none is named."""
    if len(set(targets)) > 1:
        raise UsageError(
            f"one cloud at a time, not {len(set(targets))}: {', '.join(dict.fromkeys(targets))}",
            hint="Call it once for each",
            code="usage.target",
        )
    return next(iter(targets), "")


def seconds_of(text: str, option: str) -> int:
    """The duration *text* of *option* in seconds."""
    from factory.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option} {error}", hint=f"Write '{option} 2h'", code="usage.duration") from None


def settings_of(values: list[str]) -> dict[str, str]:
    """NAME=VALUE, or NAME@FILE, of each ``--set`` as a dictionary."""
    found = {}
    for value in values:
        if match := FROM_FILE.fullmatch(value):
            found[match[1]] = _content(match[1], Path(match[2]))
            continue
        name, separator, text = value.partition("=")
        if not separator or not name:
            raise UsageError(
                "--set wants NAME=VALUE", hint="Write '--set greeting=hello'", code="usage.set"
            )  # the value may be a secret: not shown
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"--set {quote(name)} gives it a value that is no UTF-8 text",
                hint="Write it in UTF-8: 'iconv -f latin1 -t utf-8' makes it of Latin-1",
                code="usage.set",
            ) from None
        found[name] = text
    return found


def read_once(value: str) -> str:
    """*value* of a ``--set`` in a form that can be read again: a pipe gives what it holds a single time."""
    match = FROM_FILE.fullmatch(value)
    if match is None or Path(match[2]).is_file():
        return value
    return f"{match[1]}={_content(match[1], Path(match[2]))}"


def lasting(value: str) -> str:
    """*value* of a ``--set`` as it can be given again in any folder."""
    match = FROM_FILE.fullmatch(value)
    return f"{match[1]}@{Path(match[2]).absolute()}" if match else value


def _content(name: str, file: Path) -> str:
    """What *file* holds, without its last line break."""
    from factory.recipe.rules import LONGEST_VALUE

    try:
        with file.open("rb") as opened:
            text = opened.read(LONGEST_VALUE + 3).decode("utf-8")  # a line break more may follow
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the file of --set {quote(name)} cannot be read",
            cause=getattr(error, "strerror", None) or "It is no UTF-8 text",
            hint=f"Check the path {quote(str(file), 200)}",
            code="usage.set",
        ) from None
    text = text.removesuffix("\n").removesuffix("\r")
    if len(text) > LONGEST_VALUE or "\0" in text:
        raise UsageError(
            f"the file of --set {quote(name)} holds no value",
            cause="It is longer than 64 KiB, or has a zero byte in it",
            hint="Name a file with the value and nothing else",
            code="usage.set",
        )
    return text
