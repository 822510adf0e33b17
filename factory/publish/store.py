"""The store of a target: keys and metadata, what is there already, what is stale, URLs, and what lies beside an image.

<prefix><recipe>/<version>/<first 16 of the sha256>/<image>     and manifest.json, findings.json, SHA256SUMS, ...
<prefix><recipe>/latest.json                                    points to one of them; written last
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mimetypes
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from factory.errors import PublishError
from factory.files import touching
from factory.publish import Artefact, PresignedUrl, StoredObject, pending, store_settings
from factory.publish.arrived import Arrived
from factory.publish.keys import folder_of, metadata_of, plain
from factory.publish.refusals import Refusal
from factory.publish.s3 import PATIENCE, Bucket
from factory.publish.transport import Transport
from factory.publish.upload import PartsUpload

if TYPE_CHECKING:
    from factory.console import Console, Stage

STALE = timedelta(days=2)  # age of a pending upload that nobody will come back for
POINTER = "latest.json"
POINTER_LIMIT = 1 << 16  # bytes of it that are read
PROMPT = 30.0  # seconds that the store has to answer when somebody waits for that, or before any work is done


def open_store(transport: Transport, console: Console, *, patience: float = PATIENCE) -> Store:
    """The store of a target, by the settings; nothing is sent yet. *patience*: seconds that a request is tried again.

    Raises UsageError when a setting is missing or wrong, PublishError when there are no credentials.
    """
    names = " and ".join(name for name in (transport.key_id_variable, transport.secret_variable) if name)
    usual = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    bucket = Bucket(store_settings.of(transport), f"{names} (or {usual})" if names else usual, patience=patience)
    store = Store(transport, bucket, console)
    bucket.patience.waiting = lambda refusal, left: console.say(store.waits(refusal, left))
    with store.asking("getting credentials"):
        for secret in bucket.secrets():
            console.redact(secret)
    return store


def reach(transport: Transport, console: Console) -> None:
    """Ask the bucket of a target for something, so that a store that is not there is told within half a minute."""
    with console.stage("store") as stage:
        store = open_store(transport, console, patience=PROMPT)
        stage.note(store.host)
        store.reach()


class Store:
    """A bucket of an S3-compatible store. All methods raise PublishError with the store's own words."""

    def __init__(self, transport: Transport, bucket: Bucket, console: Console) -> None:
        """Use :func:`open_store`."""
        self.transport, self._bucket, self._console = transport, bucket, console

    # Images

    def key(self, artefact: Artefact) -> str:
        """The key of the image; it holds recipe, version and digest, so other bytes have another key."""
        return self._folder(artefact) + plain(artefact.image.name)

    def _folder(self, artefact: Artefact) -> str:
        return folder_of(self._bucket.settings.prefix, artefact)

    def reach(self) -> None:
        """Ask the bucket for something, so that what is wrong with it is told before any work."""
        with self.asking("looking into the bucket"):
            self._bucket.pending(f"{self._bucket.settings.prefix}{POINTER}")
            if not self._bucket.lists_uploads:
                self._bucket.head(f"{self._bucket.settings.prefix}{POINTER}")
                self._console.warn(
                    f"{self.host} does not list unfinished uploads: what a run leaves when it is killed is neither "
                    "gone on with nor removed"
                )

    @property
    def host(self) -> str:
        """Where the store is, for people."""
        return self._bucket.host

    @property
    def place(self) -> str:
        """The bucket and where it is, as an address."""
        return f"{self._bucket.endpoint}/{self._bucket.name}"

    def waits(self, refusal: Refusal, left: float) -> str:
        """What people are told when a request is tried again, for *left* more seconds at most."""
        return f"Waiting for {self.host}, {left:.0f} s more at most: {refusal.text}"

    @property
    def patience(self) -> float:
        """Seconds that a request is tried again."""
        return self._bucket.patience.seconds

    def say(self, text: str) -> None:
        """Tell people *text*."""
        self._console.say(text)

    def stop(self) -> None:
        """End all waiting for the store: nobody wants its answers any more."""
        self._bucket.patience.stop.set()

    def find(self, artefact: Artefact, stage: Stage | None = None, file: int | None = None) -> StoredObject | None:
        """The object with exactly these bytes, if it is there. *file* is a descriptor of the image.

        What this host did not verify before is compared with the image, by its ETag or byte by byte.
        """
        with contextlib.ExitStack() as ends:
            ends.enter_context(self.asking("looking for the image"))
            arrived = Arrived(self._bucket, artefact, self.key(artefact), stage)
            head, known = arrived.noted()
            if head is None or known is not None:
                return known
            if file is None:
                ends.enter_context(touching(artefact.image, "Reading an image"))
                file = ends.enter_context(artefact.image.open("rb")).fileno()
            return arrived.proven(head, file)

    def begin(self, artefact: Artefact, stage: Stage, file: int | None = None) -> PartsUpload | Present:
        """Begin an upload, or go on with one that was interrupted; the same bytes are not sent twice.

        Uploads of the same recipe that nobody came back for within two days are dropped. *file* is a descriptor of the
        image, when its path may change meanwhile.
        """
        self._bucket.patience.waiting = lambda refusal, left: stage.note(self.waits(refusal, left))
        found = self.find(artefact, stage, file)
        if found is not None:
            stage.note("the same bytes are there already")
            return Present(found)
        key = self.key(artefact)
        with self.asking("beginning the upload"):
            self._drop_stale(artefact, key)
            noted = pending.note(self.transport.target, key, self.place)
            return PartsUpload(self._bucket, artefact, key, metadata_of(artefact), stage, self._console, file, noted)

    def abort_pending(self, key: str) -> int:
        """Abort every upload to *key* that has not ended; how many there were."""
        with self.asking("looking for uploads that were left"):
            left = [each for each in self._bucket.pending(key) if each.key == key]
            for each in left:
                self._bucket.abort(each.key, each.upload_id)
        return len(left)

    def _drop_stale(self, artefact: Artefact, key: str) -> None:
        for each in self._bucket.pending(f"{self._bucket.settings.prefix}{plain(artefact.name)}/"):
            if each.key != key and each.age > STALE:
                self._bucket.abort(each.key, each.upload_id)
                self._console.say(f"Dropped an upload of {each.key} that was left {each.age.days} days ago.")

    # URLs

    def presign(self, stored: StoredObject, seconds: int, *, method: str = "GET") -> PresignedUrl:
        """A URL for *seconds*, or shorter when the store's limit or the credentials' life is shorter.

        Refused when it would not live as long as the target demands. The text is hidden in all output from now on.
        """
        transport = self.transport
        with self.asking("signing a URL"):
            temporary = self._bucket.temporary()
        life, reason = self._life(seconds, transport.least_life)
        end = self._bucket.credentials_end()
        with self.asking("signing a URL"):
            secret = self._bucket.presign(stored.key, life, method)
        expires = _expires(secret)
        if end is not None:
            expires = min(expires, end)
        note = "" if reason == "what was asked for" else f"its life is limited by {reason}"
        if temporary and end is None:
            note = "the credentials are temporary and do not say until when: the URL ends with them, maybe earlier"
        self._console.redact(secret)
        self._console.redact(urlsplit(secret).query)
        for name, values in parse_qs(urlsplit(secret).query).items():
            if name.lower() in ("x-amz-signature", "x-amz-security-token", "signature"):
                self._console.redact(values[0])
        return PresignedUrl(secret, expires, method, note)

    def require_life(self, seconds: int) -> None:
        """Raise PublishError when a URL for *seconds* that is signed now would end too early: before any work."""
        self._life(seconds, self.transport.least_asked)

    def _life(self, seconds: int, least: int) -> tuple[int, str]:
        """How long a URL for *seconds* that is signed now lives, and what limits that; PublishError below *least*."""
        transport = self.transport
        end, now = self._bucket.credentials_end(), datetime.now(UTC)
        limits = {"what was asked for": seconds, "what the store signs at most": transport.longest_life}
        if end is not None:
            limits["the life of the temporary credentials"] = int((end - now).total_seconds())
        reason, life = min(limits.items(), key=lambda each: each[1])
        if life < max(least, 1):
            raise PublishError(
                f"the URL would live {_hours(life)}; target {transport.target} demands {_hours(least)}",
                cause=f"The limit is {reason}",
                hint="Ask for a longer life" if life == seconds else "Use lasting credentials, or fresh temporary ones",
                code="publish.url-life",
            )
        return life, reason

    # Beside the image

    def put_beside(self, artefact: Artefact, documents: Mapping[str, bytes]) -> None:
        """Put small files beside the image, by file name."""
        with self.asking("uploading the documents"):
            for name, data in documents.items():
                self._put(self._folder(artefact) + plain(name), data)

    def point(self, artefact: Artefact, stored: StoredObject) -> None:
        """Let ``latest.json`` of the recipe point to this image."""
        pointer = {
            "schema": 1,
            "name": artefact.name,
            "version": artefact.version,
            "build_id": artefact.build_id,
            "key": stored.key,
            "size": stored.size,
            "sha256": stored.sha256,
            "published": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        data = (json.dumps(pointer, indent=2) + "\n").encode()
        with self.asking("flipping latest.json"):
            self._put(self._pointer(artefact), data)

    def newer(self, artefact: Artefact, since: str) -> str:
        """The key of another image that ``latest.json`` points to since a moment after *since* (ISO 8601); else empty.

        A pointer that cannot be read counts as old.
        """
        with self.asking("looking into latest.json"):
            data = self._bucket.read(self._pointer(artefact), POINTER_LIMIT)
        try:
            known = json.loads(data or b"")
            later = datetime.fromisoformat(known["published"]) > datetime.fromisoformat(since)
            return str(known["key"]) if later and known["key"] != self.key(artefact) else ""
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""

    def _pointer(self, artefact: Artefact) -> str:
        return f"{self._bucket.settings.prefix}{plain(artefact.name)}/{POINTER}"

    def _put(self, key: str, data: bytes) -> None:
        kind = "application/json" if key.endswith(".json") else mimetypes.guess_type(key)[0] or "text/plain"
        self._bucket.put(key, data, kind, hashlib.md5(data, usedforsecurity=False).digest())

    def prove_writable(self) -> None:
        """Begin an upload and abort it at once: nothing is left, and the credentials are proved."""
        key = f"{self._bucket.settings.prefix}.factory-doctor"
        patience = self._bucket.patience
        with self.asking("trying whether the bucket can be written to"), patience.of(min(patience.seconds, PROMPT)):
            # What a request that was never answered may have begun goes, too.
            self._bucket.abort(key, patience.with_(lambda: self._bucket.create(key, {})))
            self.abort_pending(key)

    def ca_bundle(self) -> str | bool:
        """The file of certificates to trust for the store; True for those that come with the libraries."""
        return self._bucket.settings.ca_bundle

    @contextlib.contextmanager
    def asking(self, doing: str) -> Iterator[None]:
        """Turn a refusal while *doing* something into a PublishError."""
        try:
            yield
        except Refusal as refusal:
            raise self._bucket.error(refusal, doing) from refusal


class Present:
    """An upload that needs none: the bytes are there already."""

    def __init__(self, found: StoredObject) -> None:
        self._found = found

    def commit(self) -> StoredObject:
        """The object that was found."""
        return self._found

    def wait(self) -> None:
        """Nothing is on its way."""

    def leave(self) -> None:
        """Nothing is left."""

    def abort(self) -> None:
        """Nothing: what is there was published by an earlier, green build of the same bytes."""

    def __enter__(self) -> Present:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _expires(url: str) -> datetime:
    """When a signed URL ends, by its own words."""
    query = parse_qs(urlsplit(url).query)
    signed = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return signed + timedelta(seconds=int(query["X-Amz-Expires"][0]))


def _hours(seconds: int) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{max(seconds, 0)} s"
