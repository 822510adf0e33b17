"""``factory gc``: all that runs which were killed left on this host, found and removed. Living runs are not touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factory import bases, cache, debian_bootstrap, ledger, settings
from factory.errors import HostError
from factory.files import touching
from factory.hypervisor import embedded, enclosure
from factory.publish import pending

if TYPE_CHECKING:
    from factory.console import Console


def reap(console: Console, *, dry_run: bool = False, kept: bool = True) -> list[str]:
    """Remove what dead runs left, and with *kept* what was kept on purpose; a line for people for each thing.

    With *dry_run* nothing is removed, ended or asked of a store, and the lines say what would be. What cannot be
    looked at keeps no other part from being cleared: its HostError comes last, and has the lines as its output.
    """
    state = settings.state_dir()
    told: list[str | Path] = []
    failures: list[HostError] = []
    parts: list[Callable[[], Sequence[str | Path]]] = [
        lambda: ledger.reap(state, kept=kept, dry_run=dry_run),
        lambda: embedded.reap(kept=kept, dry_run=dry_run),
        lambda: enclosure.reap_links(state, dry_run=dry_run),
        lambda: pending.reap(dry_run=dry_run),
        lambda: bases.reap(console, dry_run=dry_run),
        lambda: debian_bootstrap.reap(dry_run=dry_run),
        lambda: cache.Cache().sweep(dry_run=dry_run),
    ]
    for part in parts:
        try:
            with touching(state, "Clearing up"):
                told += part()
        except HostError as error:
            failures.append(error)
    done = "would remove" if dry_run else "removed"
    lines = list(dict.fromkeys(each if isinstance(each, str) else f"{done} {each}" for each in told))
    if failures:
        failures[0].output = "\n".join(lines)
        raise failures[0]
    return lines


def reap_before_a_build() -> None:
    """As much of it as is quick and not kept: what the next build must not stumble over."""
    ledger.reap(settings.state_dir())
    embedded.reap()
    debian_bootstrap.reap()
