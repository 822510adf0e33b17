"""Builds that were kept, as a rule when they failed: which there are, and how to get into their machines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from factory import ledger, settings
from factory.errors import UsageError
from factory.hypervisor.console_watch import ConsoleWatch
from factory.ledger import Entry, KeptMachine

LOOK = 0.3  # seconds between two looks at a console


def find(build: str = "") -> Entry:
    """The kept *build*, by its id or the name of its recipe; the newest one without. Raises UsageError."""
    kept = [entry for entry in ledger.entries(settings.state_dir()) if entry.kept]
    wanted = [entry for entry in kept if not build or build.rstrip("/") in _names(entry)]
    if wanted:
        return wanted[-1]
    names = ", ".join(f"{entry.build_id} ({entry.recipe})" for entry in kept)
    raise UsageError(
        f"there is no kept build {build!r}" if build else "no build is kept",
        cause=f"Kept are: {names}"
        if names
        else "A failed build is kept with --keep on-failure, the default on a "
        "terminal, until its time is over or 'factory gc' removes it",
        hint="Name one of them" if names else "Build it again with --keep on-failure",
        code="usage.no-kept-build",
    )


def _names(entry: Entry) -> tuple[str, ...]:
    folder = Path(entry.partial)
    return entry.build_id, entry.recipe, f"{entry.build_id}.failed", str(folder.with_name(f"{entry.build_id}.failed"))


def _output(entry: Entry) -> Path:
    """Where the logs of *entry* are: a good build can be kept, too."""
    good = Path(entry.partial).with_name(entry.build_id)
    return good if good.is_dir() else good.with_name(f"{entry.build_id}.failed")


def machine_of(entry: Entry) -> KeptMachine:
    """The machine of *entry*, which still runs. Raises UsageError when it does not."""
    machine = entry.kept_machine
    if machine and not ledger.expired(entry) and any(ledger.started(c.pid) == c.start for c in entry.children):
        return machine
    raise UsageError(
        f"the machine of {entry.build_id} does not run any more",
        cause="It ended with the build, or its time is over"
        if machine is None
        else "It was ended, or its time is over",
        hint=f"Its console is in {_output(entry)}; 'factory retry {entry.build_id}' builds it again",
        code="usage.machine-gone",
    )


def ssh_words(entry: Entry, command: Sequence[str] = ()) -> list[str]:
    """The ssh that logs in to the machine of *entry*, nothing asked and nothing stored."""
    machine = machine_of(entry)
    known = machine.known_hosts or "/dev/null"
    options = {
        "IdentityFile": machine.key,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes" if machine.known_hosts else "no",
        "LogLevel": "ERROR",
        "ConnectTimeout": "30",
    }
    words = ["ssh", "-F", "none", "-p", str(machine.port or entry.port), "-l", machine.user]
    words += [word for name, value in options.items() for word in ("-o", f'{name}="{value.replace("%", "%%")}"')]
    return [*words, "127.0.0.1", "--", *command] if command else [*words, "127.0.0.1"]


def console_of(entry: Entry, *, follow: bool) -> Iterator[str]:
    """What the machine of *entry* says on its serial console, from the beginning, safe for a terminal.

    With *follow* until the machine ends; one that has ended has nothing more to say.
    """
    machine = entry.kept_machine
    watch = ConsoleWatch(Path(machine.console) if machine else _output(entry) / "console-build.log")
    while True:
        runs = follow and any(ledger.started(child.pid) == child.start for child in entry.children)
        while text := watch.read():
            yield text
        if not runs:
            return
        time.sleep(LOOK)


def settings_in(words: Sequence[str]) -> list[str]:
    """The values of ``--set`` in the words of a command line."""
    return [words[number + 1] for number, word in enumerate(words[:-1]) if word == "--set"]


def again(entry: Entry, values: Sequence[str]) -> list[str]:
    """The words of the command line that build *entry* again, with the settings *values* beside its own."""
    if not entry.again:
        raise UsageError(
            f"{entry.build_id} cannot be continued",
            cause="How it was called is not known",
            hint=f"Run 'factory build {entry.recipe}'",
            code="usage.no-retry",
        )
    return [*entry.again, *(word for value in values for word in ("--set", value))]
