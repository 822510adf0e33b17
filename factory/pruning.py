"""Removes old builds: of each recipe the newest few stay, and the one that ``latest`` points to."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from factory import ledger
from factory.errors import UsageError
from factory.files import touching
from factory.publish import publications

FOLDER = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{8}(\.failed)?")
DOOMED = re.compile(r"\.\d{8}T\d{6}Z-[0-9a-f]{8}(\.failed|\.partial)?\.removed")  # of a run that was cut short
SKEW = 3600  # seconds by which the clocks of hosts that share a folder may differ
PARTIAL = re.compile(r"\.(\d{8}T\d{6}Z-[0-9a-f]{8})\.partial")


@dataclass(frozen=True)
class OldBuild:
    """A build that may go: its *folder*, and its *size* in bytes on the disk."""

    folder: Path
    size: int


def old_builds(
    output: Path,
    state: Path,
    *,
    recipes: Collection[str] = (),
    keep: int = 3,
    seconds: float = 0,
    now: datetime | None = None,
) -> list[OldBuild]:
    """The builds below *output* that may go, the oldest first.

    Of each recipe (only *recipes*, if any are named) the *keep* newest whole builds and as many failed ones stay, and
    so do the one that ``latest`` points to, those that a living run or a kept machine owns (*state* has the ledger),
    those whose import into a cloud was begun within two days and has not ended, and all that are younger than
    *seconds*. What a run began whose ledger is lost, as a container's is, goes when nothing was written to it for two
    days. Raises UsageError for a recipe without builds.
    """
    now = now or datetime.now(UTC)
    with touching(output, "Looking for builds"):
        owned = {entry.build_id for entry in ledger.entries(state)}
        found = [path for path in sorted(output.glob("*/*")) if path.is_dir() and not path.is_symlink()]
        latest = {path.resolve() for path in output.glob("*/latest")}
    _require(recipes, {path.parent.name for path in found}, output)
    groups: dict[tuple[str, bool], list[Path]] = defaultdict(list)
    gone = []
    for path in found:
        match = FOLDER.fullmatch(path.name)
        if recipes and path.parent.name not in recipes:
            continue
        if match:
            groups[path.parent.name, bool(match[2])].append(path)
        elif DOOMED.fullmatch(path.name) or _orphan(path, owned, now):
            gone.append(path)
    for paths in groups.values():
        paths.sort(key=lambda path: _age(path, now) > -SKEW)  # stable: what the clock dated ahead is not the newest
        gone += [path for path in paths[: max(len(paths) - keep, 0)] if not -SKEW < _age(path, now) < seconds]
    return [
        OldBuild(path, _size(path))
        for path in sorted(gone, key=lambda path: path.name.lstrip("."))
        if path.resolve() not in latest | publications.under_way(ledger.PATIENCE)
        and path.name.removesuffix(".failed") not in owned
    ]


def remove(builds: Sequence[OldBuild]) -> None:
    """Remove *builds*: each vanishes under its name at once, so that a run cut short leaves no half of one."""
    for build in builds:
        folder = build.folder
        with touching(folder, "Removing an old build"):
            if not folder.name.endswith(".removed"):
                folder = folder.rename(folder.with_name(f".{folder.name.lstrip('.')}.removed"))
            shutil.rmtree(folder)


def _require(recipes: Collection[str], known: set[str], output: Path) -> None:
    unknown = sorted(set(recipes) - known)
    if unknown:
        raise UsageError(
            f"there is no build of {', '.join(unknown)} below {output}",
            hint="'factory images list' shows them",
            code="usage.no-such-build",
        )


def _orphan(path: Path, owned: Collection[str], now: datetime) -> bool:
    """Whether *path* is half an output that no ledger knows and that nobody has written to for long."""
    match = PARTIAL.fullmatch(path.name)
    if match is None or match[1] in owned:
        return False
    with touching(path, "Looking at an old build"):
        written = max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
    return now.timestamp() - written > ledger.PATIENCE


def _age(path: Path, now: datetime) -> float:
    begun = datetime.strptime(path.name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return (now - begun).total_seconds()


def _size(folder: Path) -> int:
    with touching(folder, "Looking at an old build"):
        return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))
