"""A URL for an image that is in the store: signed, tried out, and written where only its owner reads it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from factory.errors import PublishError, UsageError
from factory.files import touching, write_whole
from factory.manifest import read_manifest
from factory.publish import Artefact, PresignedUrl, Store, StoredObject, artefacts, publications, transport
from factory.publish.probe import probe
from factory.publish.store import PROMPT, open_store
from factory.publish.store import Store as S3Store
from factory.units import format_duration

if TYPE_CHECKING:
    from factory.console import Console

LIFE = 24 * 3600  # seconds, unless asked


def fresh(artefact: Artefact, target: str, seconds: int, console: Console, *, head: bool = False) -> PresignedUrl:
    """A new URL for *artefact*, which is in the store of *target* already. Raises PublishError."""
    way = transport.load(target)
    require_life(seconds, way.target, way.least_life)
    store = open_store(way, console, patience=PROMPT)
    if not artefact.sha256:
        with console.stage("digest") as stage:
            artefact = artefacts.read(artefact, stage)
    with console.stage("store") as stage:
        stage.note(store.host)
        stored = store.find(artefact, stage)
    if stored is None:
        _require_bucket(store)
        raise PublishError(
            f"{artefact.image.name} is not in the store",
            cause="Nothing with its name and sha256 is at its key",
            hint="Publish it first",
            code="publish.not-uploaded",
        )
    with console.stage("sign"):
        return signed(store, stored, artefact, seconds, method="HEAD" if head else "GET")


def _require_bucket(store: S3Store) -> None:
    """Raise PublishError when the bucket is not there at all: a question for an image does not tell that."""
    try:
        store.reach()
    except PublishError as error:
        if error.code in ("publish.bucket-missing", "publish.region"):  # a key may only be allowed to read images
            raise


def where_published(artefact: Artefact, console: Console) -> tuple[Artefact, str]:
    """*artefact* and the target that it was published to last; else its build's only one, or ``generic``.

    A bare image is read for that when any import is known on this host; its sha256 is then there. Raises UsageError
    when a build has several targets and was published to none.
    """
    if artefact.folder is None:
        if not artefact.sha256 and publications.publications():
            with console.stage("digest") as stage:
                artefact = artefacts.read(artefact, stage)
        record = publications.of_bytes(artefact.sha256)
        return artefact, record.target if record else "generic"
    build = read_manifest(artefact.folder)
    if build.publication:
        return artefact, build.publication.target
    if len(build.targets) > 1:
        raise UsageError(
            "it is not said which cloud will fetch the image",
            cause=f"The build names {', '.join(build.targets)}, and its manifest tells of no publication",
            hint=f"Write '--target {build.targets[0]}'",
            code="usage.target",
        )
    return artefact, (*build.targets, "generic")[0]


def require_life(seconds: int, target: str, least: int) -> None:
    """Raise PublishError when a URL of *seconds* would live shorter than *least*, which the target demands."""
    if seconds < least:
        raise PublishError(
            f"the URL would live {format_duration(seconds)}, and target {target} demands that it lives "
            f"{format_duration(least)} or longer",
            cause="The limit is what was asked for",
            hint="Ask for a longer life with --expires",
            code="publish.url-life",
        )


def signed(
    store: Store, stored: StoredObject, artefact: Artefact, seconds: int, *, method: str = "GET"
) -> PresignedUrl:
    """A URL for *stored* that was tried out. Raises PublishError, and HostError when the image is no longer there."""
    url = store.presign(stored, seconds, method=method)
    with touching(artefact.image, "Reading an image"), artefact.image.open("rb") as file:
        start = file.read(4)
    probe(url, stored.size, store.ca_bundle(), start, patience=store.patience, told=store.say)
    return url


def check_place(path: Path) -> None:
    """Raise UsageError when :func:`write` could not succeed, or would put a file in the place of something else."""
    fault = ""
    if not os.access(path.parent, os.W_OK | os.X_OK) or not path.parent.is_dir():
        fault = f"{path.parent} is no folder that this account may write to"
    elif path.is_symlink():
        fault = "It is a link: name the file itself"
    elif path.is_dir():
        fault = "It is a folder"
    elif path.exists() and not path.is_file():
        fault = "It is no plain file; without --url-file, 'factory presign' prints the URL"
    if fault:
        raise UsageError(
            f"--url-file {path} cannot be written",
            cause=fault,
            hint="Name a file in a folder that is there",
            code="usage.command-line",
        )


def write(path: Path, url: PresignedUrl) -> None:
    """Write the URL to *path*, readable by this account only (0600). Raises HostError."""
    write_whole(path, f"{url.secret}\n".encode(), mode=0o600)
