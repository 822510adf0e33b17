"""A URL for an image that is in the store: signed, tried out, and written where only its owner reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from factory.errors import PublishError
from factory.files import write_whole
from factory.publish import Artefact, PresignedUrl, Store, StoredObject, transport
from factory.publish.probe import probe
from factory.publish.store import open_store

if TYPE_CHECKING:
    from factory.console import Console

LIFE = 24 * 3600  # seconds, unless asked


def fresh(artefact: Artefact, target: str, seconds: int, console: Console, *, head: bool = False) -> PresignedUrl:
    """A new URL for *artefact*, which is in the store of *target* already. Raises PublishError."""
    store = open_store(transport.load(target), console)
    stored = store.find(artefact)
    if stored is None:
        raise PublishError(
            f"{artefact.image.name} is not in the store",
            cause="Nothing with its name and sha256 is at its key",
            hint="Publish it first",
            code="publish.not-uploaded",
        )
    return signed(store, stored, artefact, seconds, method="HEAD" if head else "GET")


def signed(
    store: Store, stored: StoredObject, artefact: Artefact, seconds: int, *, method: str = "GET"
) -> PresignedUrl:
    """A URL for *stored* that was tried out. Raises PublishError."""
    url = store.presign(stored, seconds, method=method)
    with artefact.image.open("rb") as file:
        probe(url, stored.size, store.ca_bundle(), file.read(4))
    return url


def write(path: Path, url: PresignedUrl) -> None:
    """Write the URL to *path*, readable by this account only (0600). Raises HostError."""
    write_whole(path, f"{url.secret}\n".encode(), mode=0o600)
