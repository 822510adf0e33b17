"""Uploads that are under way, noted on this host before they begin, so that ``factory gc`` aborts those of dead runs.

A note is ``FACTORY_STATE/uploads/<mark of the process>.<random>.json``; it goes when the upload is complete or aborted.
An upload that its run left for the next try keeps its note: the next run goes on with it, and ``factory gc`` ends it.
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


def note(target: str, key: str, place: str = "") -> Path:
    """Write down that an upload to *key* in the bucket *place* of *target* begins; gives the note. Raises HostError."""
    folder = _folder()
    with touching(folder, "Making the folder for notes of uploads"):
        make_folder(folder.parent, 0o711)
        make_folder(folder, 0o700)
    path = folder / f"{mark()}.{secrets.token_hex(4)}.json"
    write_whole(path, json.dumps({"target": target, "key": key, "place": place}).encode(), mode=0o600)
    return path


def reap(*, dry_run: bool = False) -> list[str]:
    """Abort the uploads of runs that have ended; a line for people for each. With *dry_run* the store is not asked."""
    from factory.publish import transport
    from factory.publish.store import open_store

    done = []
    if not dry_run:
        remove_left(_folder(), ".*")
    for path in sorted(_folder().glob("[0-9]*.json")):
        try:
            if not abandoned(path.name, written=path.stat().st_mtime):
                continue
            known = json.loads(path.read_text("utf-8"))
            target, key, place = str(known["target"]), str(known["key"]), str(known.get("place", ""))
        except (OSError, ValueError, KeyError, TypeError):
            if dry_run:
                done.append(f"would remove {path}")
            else:
                _drop(path)
            continue
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


def _drop(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _folder() -> Path:
    return settings.state_dir() / "uploads"
