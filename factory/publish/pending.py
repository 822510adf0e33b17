"""Uploads that are under way, noted on this host before they begin, so that ``factory gc`` aborts those of dead runs.

A note is ``FACTORY_STATE/uploads/<mark of the process>.<random>.json``; it goes when the upload is complete or aborted.
An upload that its run left for the next try keeps its note: the next run goes on with it under a note of its own, and
``factory gc`` ends it unless such a run lives.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from pathlib import Path

from factory import settings, targets
from factory.console import Console
from factory.errors import FactoryError
from factory.files import make_folder, touching, write_whole
from factory.processes import abandoned, mark, remove_left

Known = tuple[str, str, str]  # what a note says: target, key and place


def note(target: str, key: str, place: str = "") -> Path:
    """Write down that an upload to *key* in the bucket *place* of *target* begins; gives the note. Raises HostError."""
    folder = _folder()
    with touching(folder, "Making the folder for notes of uploads"):
        make_folder(folder.parent, 0o711)
        make_folder(folder, 0o700)
    path = folder / f"{mark()}.{secrets.token_hex(4)}.json"
    write_whole(path, json.dumps({"target": target, "key": key, "place": place}).encode(), mode=0o600)
    return path


def forget(path: Path) -> None:
    """Remove the note at *path*, with those of dead runs of the same upload: nothing of it is pending any more."""
    mine = _read(path)
    _drop(path)
    for other in _notes():
        if mine is not None and _same(_read(other), mine) and _is_dead(other):
            _drop(other)


def reap(*, dry_run: bool = False) -> list[str]:
    """Abort the uploads of runs that have ended; a line for people for each. With *dry_run* the store is not asked."""
    from factory.publish import transport
    from factory.publish.store import open_store

    done = []
    if not dry_run:
        remove_left(_folder(), ".*")
    for path in _notes():
        if not _is_dead(path):
            continue
        known = _read(path)
        if known is None:
            if dry_run:
                done.append(f"would remove {path}")
            else:
                _drop(path)
            continue
        if _goes_on(known):
            continue
        target, key, place = known
        if dry_run:
            done.append(f"would abort the upload of {key}")
            continue
        try:
            way = transport.load(target) if target in targets.names() else transport.Transport(target, "generic")
            store = open_store(way, Console.quiet(), patience=5)
            if place not in ("", store.place):
                done.append(f"the upload noted in {path} lies in {place}, and the settings name {store.place}")
                continue
            count = store.abort_pending(key)
        except FactoryError as error:
            done.append(f"the upload noted in {path} cannot be aborted: {error.message}")
            continue
        _drop(path)
        done += [f"aborted the upload of {key}"] if count else []
    return done


def _goes_on(known: Known) -> bool:
    """Whether a living run has taken the upload up."""
    return any(_same(_read(path), known) and not _is_dead(path) for path in _notes())


def _same(one: Known | None, other: Known) -> bool:
    """Whether both are of one upload, whatever the target; old notes do not say where it is."""
    return one is not None and one[1] == other[1] and (one[2] == other[2] or "" in (one[2], other[2]))


def _notes() -> list[Path]:
    return sorted(_folder().glob("[0-9]*.json"))


def _is_dead(path: Path) -> bool:
    """Whether the run that wrote the note has ended; False for a note that is gone meanwhile."""
    try:
        return abandoned(path.name, written=path.stat().st_mtime)
    except OSError:
        return False


def _read(path: Path) -> Known | None:
    """Target, key and place; None for a note that cannot be read."""
    try:
        known = json.loads(path.read_text("utf-8"))
        return str(known["target"]), str(known["key"]), str(known.get("place", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _drop(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _folder() -> Path:
    return settings.state_dir() / "uploads"
