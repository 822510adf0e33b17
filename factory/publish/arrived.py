"""What the store has at the key of an image: whether it is there, and whether it is the image, byte by byte."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

from factory.errors import PublishError
from factory.publish import Artefact, Head, StoredObject, verified
from factory.publish.parts import cut, md5, part_size, whole_etag
from factory.publish.s3 import Bucket

if TYPE_CHECKING:
    from factory.console import Stage

SETTLING = 30.0  # seconds in which a store may still show what was there before


class Arrived:
    """The object at *key* of *bucket*, which is to be *artefact*. All methods raise Refusal."""

    def __init__(self, bucket: Bucket, artefact: Artefact, key: str, stage: Stage | None) -> None:
        """*stage* is told what takes time."""
        self._bucket, self._artefact, self._key = bucket, artefact, key
        self._note = stage.note if stage else lambda _: None

    def there(self, *, soon: bool) -> bool:
        """Whether the image is there and tells its sha256; *soon*: it may take a while until the store shows it."""
        head = self._shown() if soon else self._bucket.head(self._key)
        return self._ours(head) and "sha256" in head.metadata

    def verified(self, digests: Sequence[bytes], parts: int) -> StoredObject:
        """The object, compared with the image: its ETag if that is made of the MD5s of its parts, else all its bytes.

        *digests* are the MD5s that are known, of *parts* in all. Raises PublishError, and Refusal.
        """
        head = self._shown()
        if head is None:
            raise self._unseen()
        how = ""
        if self._ours(head):
            how = "etag" if len(digests) == parts and head.etag == whole_etag(list(digests)) else self._read_back()
        if not how:
            self._bucket.delete(self._key)
            raise PublishError(
                f"what {self._bucket.host} stored is not what was sent",
                cause=f"Size or checksum of {self._key} differ; it was removed again",
                hint="Publish again; if it happens again, the store or the way to it damages data",
                code="publish.upload-mismatch",
            )
        return self._stored(head, how)

    def noted(self) -> tuple[Head | None, StoredObject | None]:
        """What can be the image; and the same as an object when this host verified it before."""
        head = self._bucket.head(self._key)
        if not self._ours(head):
            return None, None
        known = verified.noted(self._address, head.etag, self._artefact.sha256)
        return head, self._stored(head, "noted", fresh=False) if known else None

    def proven(self, head: Head, file: int) -> StoredObject | None:
        """The object of *head* when it is the image, whose open file is *file*; None when it only seems so.

        Its metadata are as old as the upload's beginning: they say nothing of the bytes that arrived.
        """
        self._note("comparing what is there")
        size = self._artefact.size
        digests = [md5(file, part, lambda: None) for part in cut(size, part_size(size))]
        how = "etag" if head.etag == whole_etag(digests) else self._read_back()
        return self._stored(head, how, fresh=False) if how else None

    def _stored(self, head: Head, how: str, *, fresh: bool = True) -> StoredObject:
        bucket, artefact = self._bucket, self._artefact
        if how != "noted":
            verified.note(self._address, head.etag, artefact.sha256)
        return StoredObject(
            bucket.endpoint, bucket.region, bucket.name, self._key, artefact.size, artefact.sha256, fresh, how
        )

    @property
    def _address(self) -> str:
        return f"{self._bucket.endpoint}/{self._bucket.name}/{self._key}"

    def _shown(self) -> Head | None:
        """What the store has at our key, once that is ours; some stores show for a while what was there before."""
        end, pause = time.monotonic() + SETTLING, 0.5
        while True:
            head = self._bucket.head(self._key)
            if self._ours(head) or time.monotonic() + pause > end:
                return head
            self._note("waiting until the store shows the image")
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _ours(self, head: Head | None) -> TypeGuard[Head]:
        """Whether *head* can be our image; some store keeps no metadata."""
        sha256 = self._artefact.sha256
        return head is not None and head.size == self._artefact.size and head.metadata.get("sha256", sha256) == sha256

    def _unseen(self) -> PublishError:
        return PublishError(
            f"{self._bucket.host} has taken the whole image, and does not show it",
            cause=f"Nothing was at {self._key} for {SETTLING:.0f} s",
            hint="Run the same command again in a while: what has arrived is not sent again",
            code="publish.upload-unseen",
        )

    def _read_back(self) -> str:
        """``read back`` when all bytes are the image's."""
        self._note("its ETag says nothing of its bytes: reading it back")
        return "read back" if self._bucket.sha256(self._key) == self._artefact.sha256 else ""
