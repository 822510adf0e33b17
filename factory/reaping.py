"""``factory gc``: all that runs which were killed left on this host, found and removed. Living runs are not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factory import bases, cache, debian_bootstrap, ledger, settings
from factory.hypervisor import embedded, enclosure
from factory.publish import pending

if TYPE_CHECKING:
    from factory.console import Console


def reap(console: Console) -> list[str]:
    """Remove what dead runs left, and what was kept on purpose; a line for people for each thing."""
    state = settings.state_dir()
    return [
        *ledger.reap(state, kept=True),
        *embedded.reap(kept=True),
        *enclosure.reap_links(state),
        *pending.reap(),
        *(f"removed {path}" for path in (*bases.reap(console), *debian_bootstrap.reap())),
        *(f"removed {path}" for path in cache.Cache().sweep()),
    ]


def reap_before_a_build() -> None:
    """As much of it as is quick and not kept: what the next build must not stumble over."""
    ledger.reap(settings.state_dir())
    embedded.reap()
