"""The order of a publication: ask the store, check, look for the name, upload, verify, sign, probe, import, tell of it.

``factory publish`` runs all of it; a build that publishes uploads while it tests, and goes on at :func:`conclude`.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from factory import files, settings
from factory.copying import file_digest
from factory.errors import HostError, PublishError, UsageError
from factory.manifest import MANIFEST, PublicationEntry, read_manifest
from factory.manifest import write as write_manifest
from factory.publish import (
    Artefact,
    PresignedUrl,
    Store,
    StoredObject,
    artefacts,
    gate,
    publications,
    signing,
    store_settings,
    transport,
)
from factory.publish.importer import Brought, Preparation, Wishes
from factory.publish.keys import address_of
from factory.publish.publications import Publication
from factory.publish.signing import LIFE
from factory.publish.store import open_store, reach

if TYPE_CHECKING:
    from factory.console import Console
    from factory.publish.transport import Transport

NO_BUCKET = "BUCKET"
ENDED_WELL = ("active", "uploaded")  # the statuses of an image that others may be told of


@dataclass(frozen=True)
class Published:
    """What came of it. *url* is None when nothing was signed; *stored* is None when nothing had to be uploaded."""

    brought: Brought
    stored: StoredObject | None = None
    url: PresignedUrl | None = None


@dataclass(frozen=True)
class Planned:
    """A dry run: what would be sent, for people and as data."""

    text: str
    data: dict[str, Any]


@contextlib.contextmanager
def _after_the_upload() -> Iterator[None]:
    """Turn a HostError inside, such as a full disk, into a PublishError: the image is fine, and in the store."""
    try:
        yield
    except HostError as error:
        raise PublishError(
            f"the image is in the store, and then this host failed: {error.message}",
            cause=error.cause,
            hint=f"{error.hint.rstrip('.')}. Then run the same command again, which goes on from there".lstrip(". "),
            code="publish.local-file",
        ) from error


def publish(
    artefact: Artefact,
    target: str,
    wishes: Wishes,
    console: Console,
    *,
    life: int = LIFE,
    url_file: Path | None = None,
    show_url: bool = False,
) -> Published:
    """Publish *artefact*, whose bytes need not have been read. Raises UsageError, ImageRefused and PublishError.

    A URL is made for the cloud, and when somebody wants it: *url_file*, *show_url*.
    """
    way = transport.load(target)
    firmware = _look_at_all(artefact, way, wishes, console, life)
    if url_file is not None:
        signing.check_place(url_file)
    look_ahead(target)
    store = open_store(way, console)
    reach(way, console)  # before the image is read, which takes minutes
    artefact = gate.passed(artefact, target, console, firmware)
    preparation = prepare(artefact, target, wishes, console)
    brought = preparation.before_upload()
    if brought is None:
        store.require_life(life)
        with console.stage("upload") as stage, store.begin(artefact, stage) as upload:
            stored = upload.commit()
        return conclude(store, stored, artefact, preparation, console, life=life, url_file=url_file)
    published = taken(store, artefact, brought, console)
    if url_file is None and not show_url:
        return published
    url = signing.fresh(artefact, target, life, console)
    if url_file is not None:
        with _after_the_upload():
            signing.write(url_file, url)
    return replace(published, url=url)


@_after_the_upload()
def taken(store: Store, artefact: Artefact, brought: Brought, console: Console) -> Published:
    """What follows when the cloud had the image: what the run that brought it there did not come to."""
    there = None
    if brought.how == "adopted":
        with console.stage("store") as stage:
            there = store.find(artefact, stage)
    tell(artefact, brought, there, console)
    if there is not None:
        _tell_store(store, artefact, brought, there)
    elif brought.how == "adopted":
        console.warn(f"latest.json does not point to {brought.name}: its image is not in {store.place} any more")
    return Published(brought, there)


def _look_at_all(
    artefact: Artefact, way: Transport, wishes: Wishes, console: Console, life: int, *, without_bucket: str = ""
) -> str:
    """Raise at once what can be known without reading the image: first what is wrong, then what would be refused.

    Gives the firmware that the cloud will be asked for, bios or uefi; empty when it is not asked for any.
    """
    # A file of another format is for the rules to refuse.
    preparation = prepare(replace(artefact, format="qcow2"), way.target, wishes, console)
    address = address_of(way, artefact, without_bucket=without_bucket)
    signing.require_life(life, way.target, way.least_asked)
    preparation.check_place(address)
    return preparation.firmware


@_after_the_upload()
def conclude(
    store: Store,
    stored: StoredObject,
    artefact: Artefact,
    preparation: Preparation,
    console: Console,
    *,
    life: int = LIFE,
    url_file: Path | None = None,
) -> Published:
    """What follows the upload: the URL, the import, the manifest, what lies beside the image, and the pointer last."""
    with console.stage("sign") as stage:
        url = signing.signed(store, stored, artefact, life)
        stage.note(f"until {url.expires:%Y-%m-%dT%H:%M:%SZ}" + (f", {url.note}" if url.note else ""))
    if url_file is not None:
        signing.write(url_file, url)
    brought = preparation.bring(stored, url)
    tell(artefact, brought, stored, console)
    _tell_store(store, artefact, brought, stored, preparation.documents(stored))
    return Published(brought, stored, url)


def plan(
    artefact: Artefact, target: str, wishes: Wishes, console: Console, *, life: int = LIFE, show_url: bool = False
) -> Planned:
    """What :func:`publish` would send. Uploads nothing and calls nobody; *show_url* signs, which needs credentials."""
    way = transport.load(target)
    firmware = _look_at_all(artefact, way, wishes, console, life, without_bucket=NO_BUCKET)
    if not settings.value("FACTORY_S3_BUCKET"):
        console.warn(f"FACTORY_S3_BUCKET is not set: {NO_BUCKET} stands for it")
    artefact = gate.passed(artefact, target, console, firmware)
    preparation = prepare(artefact, target, wishes, console)
    address = address_of(way, artefact, without_bucket=NO_BUCKET)
    url = f"{address}?***"
    if show_url:
        store = open_store(way, console)
        unseen = StoredObject("", "", "", store.key(artefact), artefact.size, artefact.sha256)
        url = store.presign(unseen, life).secret
    return Planned(preparation.describe(url), preparation.as_dict(url))


@_after_the_upload()
def resume(image: str, target: str, wishes: Wishes, console: Console) -> Published:
    """Wait for an import that was begun, by the cloud's id of the image. Raises UsageError and PublishError.

    The store is told of an image that is active only, which without waiting it may not be yet.
    """
    record = publications.by_id(image)
    target = target or (record.target if record else "mgc")
    module = _importer(transport.load(target))
    if not hasattr(module, "resume"):
        raise UsageError(
            f"target {target} has no imports to wait for", hint="Name another --target", code="usage.target"
        )
    brought: Brought = module.resume(image, wishes, console)
    if record and record.folder and Path(record.folder, MANIFEST).is_file():
        _note(Path(record.folder), brought, record.sha256, (record.endpoint, record.bucket, record.key), console)
    if record and not record.told and brought.status == "active":
        _catch_up(record, target, brought, console)
    return Published(brought)


def _catch_up(record: Publication, target: str, brought: Brought, console: Console) -> None:
    """Do what the run that began the import *record* was interrupted before: the documents, and the pointer."""
    folder = Path(record.folder)
    artefact = artefacts.of(folder) if record.folder and (folder / MANIFEST).is_file() else None
    if artefact is None or artefact.sha256 != record.sha256:
        console.warn(f"latest.json may not point to {record.name} yet: run the command that began its import again")
        return
    again = (
        f"latest.json does not point to {record.name} yet: %s. Then run 'factory publish --resume {record.id}' again"
    )
    try:
        store = open_store(transport.load(target), console)
    except (UsageError, PublishError) as error:  # what was asked for is done all the same
        console.warn(again % f"{error.message}. {error.hint}".rstrip(". "))
        return
    place = f"{record.endpoint}/{record.bucket}"
    if (store.place, store.key(artefact)) != (place, record.key):
        named = f"{store.place}/{store.key(artefact)}"
        console.warn(again % f"the settings name {named}, and it lies at {place}/{record.key}. Set FACTORY_S3_*")
        return
    with console.stage("store") as stage:
        there = store.find(artefact, stage)
    if there is None:
        console.warn(f"latest.json does not point to {record.name}: its image is not in {store.place} any more")
        return
    _tell_store(store, artefact, brought, there, since=record.began)


def prepare(artefact: Artefact, target: str, wishes: Wishes, console: Console) -> Preparation:
    """The import of *artefact*, with every field looked at and nothing sent. Raises UsageError."""
    way = transport.load(target)
    prepared: Preparation = _importer(way).prepare(artefact, wishes, way, console)
    return prepared


def look_ahead(target: str) -> None:
    """Raise what would end a publication to *target* anyway, such as a missing key, before a build begins."""
    way = transport.load(target)
    look = getattr(_importer(way), "look_ahead", None)
    if look is not None:
        look(store_settings.of(way).endpoint)


def tell(artefact: Artefact, brought: Brought, stored: StoredObject | None, console: Console) -> None:
    """Write the publication into the manifest of the build, and its checksum beside it."""
    if artefact.folder is not None:
        record = publications.by_id(brought.id)  # of other bytes when --if-exists skip took what had the name
        there = stored or (record if record and record.sha256 == artefact.sha256 else None)
        place = (there.endpoint, there.bucket, there.key) if there else ("", "", "")
        _note(artefact.folder, brought, artefact.sha256, place, console)


def _importer(way: Transport) -> ModuleType:
    return importlib.import_module(f"factory.publish.{way.importer}")


def _tell_store(
    store: Store,
    artefact: Artefact,
    brought: Brought,
    stored: StoredObject,
    more: Mapping[str, bytes] | None = None,
    *,
    since: str = "",
) -> None:
    """Manifest, findings and checksums go up beside the image, and the pointer flips last: once the cloud has it.

    Not for an image that is still imported (--resume does it then), nor for one whose bytes nobody knows. *since*: when
    an earlier run began the import; the pointer stays when it came to another image after that.
    """
    if brought.how == "skipped" or brought.status not in ENDED_WELL:
        return
    store.put_beside(artefact, {**artefacts.documents(artefact), **(more or {})})
    newer = store.newer(artefact, since) if since else ""
    if newer:
        store.say(f"latest.json stays as it is: it leads to {newer}, which was published after this import was begun")
    else:
        store.point(artefact, stored)
    publications.told(brought.id)


def _note(folder: Path, brought: Brought, sha256: str, place: tuple[str, str, str], console: Console) -> None:
    """Write it into the manifest of the build; *place* is endpoint, bucket and key, or empty texts."""
    try:
        manifest = read_manifest(folder)
    except UsageError as error:  # the image is where it was to go
        console.warn(f"The publication is not noted in the build: {error.message}")
        return
    if manifest.image.sha256 != sha256:
        return  # another build lies there now
    told = manifest.publication
    sums = {manifest.image.file: manifest.image.sha256}
    endpoint, bucket, key = place
    known = (brought.target, brought.id, brought.status, *(place if any(place) else ()))
    if told and known == (told.target, told.id, told.status, told.endpoint, told.bucket, told.key)[: len(known)]:
        if not _summed(folder):  # an earlier run could not write it
            files.write_sums(folder, sums)
        return  # nothing new; the manifest stays the one that lies beside the image in the store
    entry = PublicationEntry(
        target=brought.target,
        name=brought.name,
        id=brought.id,
        status=brought.status,
        how=brought.how,
        api=brought.api,
        endpoint=endpoint,
        bucket=bucket,
        key=key,
        sha256=sha256,
        moment=datetime.now(UTC),
    )
    write_manifest(folder / MANIFEST, manifest.model_copy(update={"publication": entry}))
    files.write_sums(folder, sums)


def _summed(folder: Path) -> bool:
    """Whether ``SHA256SUMS`` has the manifest as it is."""
    with files.touching(folder, "Reading a build"):
        line = files.sum_line(MANIFEST, file_digest(folder / MANIFEST))
        return (folder / files.SUMS).is_file() and line in (folder / files.SUMS).read_text("utf-8", "replace")
