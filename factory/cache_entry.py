"""One entry of the cache, and its record on the disk: ``entry.json`` beside ``content``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


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
    def used(self) -> float:
        """When it was last used (seconds since the epoch)."""
        return self.folder.stat().st_mtime


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
