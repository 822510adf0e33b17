"""``factory gc``: all that runs which were killed left on this host, found and removed. Living runs are not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factory import bases, cache, debian_bootstrap, ledger, settings
from factory.hypervisor import embedded, enclosure
from factory.publish import pending

if TYPE_CHECKING:
    from factory.console import Console


def reap(console: Console, *, dry_run: bool = False) -> list[str]:
    """Remove what dead runs left, and what was kept on purpose; a line for people for each thing.

    With *dry_run* nothing is removed, ended or asked of a store, and the lines say what would be.
    """
    state = settings.state_dir()
    found = [
        *ledger.reap(state, kept=True, dry_run=dry_run),
        *embedded.reap(kept=True, dry_run=dry_run),
        *enclosure.reap_links(state, dry_run=dry_run),
        *pending.reap(dry_run=dry_run),
    ]
    folders = [*bases.reap(console, dry_run=dry_run), *debian_bootstrap.reap(dry_run=dry_run)]
    folders += cache.Cache().sweep(dry_run=dry_run)
    done = "would remove" if dry_run else "removed"
    return list(dict.fromkeys([*found, *(f"{done} {path}" for path in folders)]))


def reap_before_a_build() -> None:
    """As much of it as is quick and not kept: what the next build must not stumble over."""
    ledger.reap(settings.state_dir())
    embedded.reap()
