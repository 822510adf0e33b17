"""Publishing: a tested image goes into object storage, gets a URL that a cloud can fetch, and is imported there.

    store = store.open_store(transport, console)     # factory/publish/store.py
    upload = store.begin(artefact, stage)            # parts go up in the background; nothing is visible yet
    stored = upload.commit()                         # or upload.abort(): nothing is left in the bucket
    url = store.presign(stored, seconds)             # refused when it would not live as long as the target demands
    probe.probe(url, stored.size, store.ca_bundle()) # fetched as the cloud will fetch it
    prepared, brought = importer.prepare(...), importer.bring(...)   # factory/publish/<transport.importer>.py
    store.put_beside(artefact, documents)            # manifest, findings, checksums
    store.point(artefact, stored)                    # latest.json flips last

What crosses the border between the modules of this package is defined here. None of it knows boto3, which
:mod:`factory.publish.s3` alone imports, and on use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

    from factory.console import Stage
    from factory.publish.transport import Transport

QCOW2_MAGIC = b"QFI\xfb"


@dataclass(frozen=True)
class Artefact:
    """What is published: an image file that passed, and what is known of it. Sizes are in bytes."""

    image: Path
    sha256: str
    size: int
    name: str  # of the recipe, or the image file's own without its ending
    version: str = ""
    format: str = "qcow2"
    virtual_size: int = 0  # 0 when nobody looked
    architecture: str = "x86_64"
    build_id: str = ""
    digest: str = ""  # of the recipe; empty for a bare image
    description: str = ""
    uefi: bool = True  # whether it boots with UEFI
    bios: bool = True
    boots: tuple[str, ...] = ()  # the firmwares, bios and uefi, that boot tests started it by
    properties: Mapping[str, str] = field(default_factory=dict)
    requirements: Mapping[str, int] = field(default_factory=dict)  # of the recipe: vcpus, memory and disk in bytes
    folder: Path | None = None  # of the build, with manifest.json, findings.json and SHA256SUMS
    modified: int = 0  # when its file was, in nanoseconds, before its bytes were read; 0 when they were not read here


@dataclass(frozen=True)
class StoredObject:
    """An object of the store whose size and sha256 were verified. *fresh* is False when it was there already."""

    endpoint: str  # https://host[:port]; never with a query
    region: str
    bucket: str
    key: str
    size: int
    sha256: str
    fresh: bool = True
    verified: str = ""  # how: "etag", "read back", or "noted" by this host before


@dataclass(frozen=True)
class PresignedUrl:
    """A URL that carries its own permission: whoever has it may read the object. Its text never shows by accident."""

    secret: str = field(repr=False)  # the URL itself; only for the cloud, --print-url and --url-file
    expires: datetime  # UTC; the true one: the least of asked, the store's limit and the credentials' life
    method: str = "GET"
    note: str = ""  # what limits its life, or makes its end uncertain; empty when it is what was asked for

    def __str__(self) -> str:
        return f"{self.masked} (until {self.expires:%Y-%m-%dT%H:%M:%SZ})"

    @property
    def masked(self) -> str:
        """The URL with its query hidden."""
        parts = urlsplit(self.secret)
        return f"{parts.scheme}://{parts.netloc}{parts.path}?***"

    @property
    def seconds_left(self) -> float:
        """Seconds until it ends."""
        return (self.expires - datetime.now(UTC)).total_seconds()


@dataclass(frozen=True)
class Head:
    """What a store says of an object. *metadata* has lower-case names, whatever the store made of them."""

    size: int
    etag: str
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class Pending:
    """An upload that was begun and not ended; *age* is by the store's own clock."""

    key: str
    upload_id: str
    age: timedelta

    @staticmethod
    def age_of(begun: object, date: str) -> timedelta:
        """How long ago by the store's clock; nothing when the store does not say."""
        if not isinstance(begun, datetime):
            return timedelta()
        try:
            now = parsedate_to_datetime(date)
        except (TypeError, ValueError):
            now = datetime.now(UTC)
        return (now if now.tzinfo else now.replace(tzinfo=UTC)) - begun


class BuildPublication(Protocol):
    """What publishes beside a build, see :mod:`factory.publish.with_build`."""

    def __enter__(self) -> BuildPublication:
        """Look at settings, credentials and bucket. Raises UsageError and PublishError."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing in the store of a build that did not end well."""

    def begin(self, artefact: Callable[[], Artefact]) -> None:
        """Let the parts go up in the background, while the image is tested. Raises nothing but defects."""

    def conclude(self, folder: Path) -> None:
        """The build in *folder* is green: let the image appear, and import it. Raises PublishError."""


class Unpublished:
    """A build that is not published."""

    def __enter__(self) -> Unpublished:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, artefact: Callable[[], Artefact]) -> None:
        """Nothing."""

    def conclude(self, folder: Path) -> None:
        """Nothing."""


class Upload(Protocol):
    """An upload that has begun: parts go up in threads of their own, and nothing is visible in the bucket."""

    def commit(self) -> StoredObject:
        """Wait for the parts, let the object appear, and verify its size and bytes. Raises PublishError."""

    def abort(self) -> None:
        """Stop, and leave nothing in the bucket. Never raises; what could not be removed is told as a warning."""

    def __enter__(self) -> Upload:
        """For ``with``: what goes wrong inside aborts it, but a PublishError leaves the parts for the next try."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """A bucket of an S3-compatible store. All methods raise PublishError with the store's own words."""

    transport: Transport

    def key(self, artefact: Artefact) -> str:
        """The key of the image; it holds recipe, version and digest, so other bytes have another key."""

    @property
    def place(self) -> str:
        """The bucket and where it is, as an address."""

    @property
    def patience(self) -> float:
        """Seconds that a request is tried again."""

    def say(self, text: str) -> None:
        """Tell people *text*."""

    def find(self, artefact: Artefact, stage: Stage | None = None) -> StoredObject | None:
        """The object with exactly these bytes, if it is there; *stage* is told what takes time."""

    def begin(self, artefact: Artefact, stage: Stage) -> Upload:
        """Begin an upload, or go on with one that was interrupted; the same bytes are not sent twice."""

    def presign(self, stored: StoredObject, seconds: int, *, method: str = "GET") -> PresignedUrl:
        """A URL for *seconds*, or shorter when the store's limit or the credentials' life is shorter.

        Refused when it would not live as long as the target demands.
        """

    def put_beside(self, artefact: Artefact, documents: Mapping[str, bytes]) -> None:
        """Put small files beside the image, by file name."""

    def point(self, artefact: Artefact, stored: StoredObject) -> None:
        """Let ``latest.json`` of the recipe point to this image."""

    def newer(self, artefact: Artefact, since: str) -> str:
        """The key of another image that ``latest.json`` points to since after *since* (ISO 8601); else empty."""

    def ca_bundle(self) -> str | bool:
        """The file of certificates to trust for the store; True for those that come with the libraries."""
