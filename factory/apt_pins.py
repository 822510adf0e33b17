"""Packages that a signed index names and its mirror does not have: told from apt's words, and passed over by a pin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

TRIES = 3  # rounds: apt stops at the first few that it misses

_NOT_FOUND = re.compile(r"/([a-z0-9][a-z0-9+.-]+)_([^/_\s]+)_[a-z0-9]+\.deb\s+404\b")


def missing(output: str) -> dict[str, str]:
    """The packages, and their versions without an epoch, that apt could not fetch because they are not there."""
    return {name: unquote(version) for name, version in _NOT_FOUND.findall(output)}


def preferences(versions: Mapping[str, str]) -> str:
    """Apt's words for "never these versions"; the name of a file has no epoch, so one may stand before each."""
    return "\n".join(
        f"Package: {name}\nPin: version *{version}\nPin-Priority: -1\n" for name, version in sorted(versions.items())
    )
