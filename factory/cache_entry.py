"""One entry of the cache, and its record on the disk: ``entry.json`` beside ``content``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

AHEAD = timedelta(hours=1)  # so far clocks are set forward or back in the common course of things


@dataclass(frozen=True)
class Entry:
    """One file in the cache: *path* is read-only, *size* in bytes, *created* in UTC, *facts* what its maker said."""

    kind: str
    key: str
    path: Path
    sha256: str
    size: int
    created: datetime
    facts: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The entry's own folder."""
        return self.path.parent

    @property
    def age(self) -> float:
        """Seconds since it was made, or last found to be still current."""
        return max(0.0, (datetime.now(UTC) - self.created).total_seconds())

    @property
    def ahead(self) -> bool:
        """Whether it is dated in the future, so that its age means nothing."""
        return ahead(self.created)

    @property
    def used(self) -> float:
        """When it was last used (seconds since the epoch)."""
        return self.folder.stat().st_mtime


def ahead(moment: datetime) -> bool:
    """Whether *moment* is in the future: it was written down while this host's clock was wrong, or the clock is now."""
    return moment > datetime.now(UTC) + AHEAD


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    """*entries* by their date, and at the end those of the future: else they would count as the newest for years."""
    return sorted(entries, key=lambda entry: (not entry.ahead, entry.created), reverse=True)


def read(path: Path) -> Entry | None:
    """The entry that the record at *path* tells of; None when it tells of none."""
    try:
        record = json.loads(path.read_text())
        return Entry(
            kind=path.parents[2].name,
            key=path.parents[1].name,
            path=path.with_name("content"),
            sha256=str(record["sha256"]),
            size=int(record["size"]),
            created=datetime.fromisoformat(record["created"]),
            facts=dict(record["facts"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # half removed, or written by a factory that knows another form


def identity(path: Path) -> list[int]:
    """What changes when the file at *path* does."""
    status = path.lstat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
