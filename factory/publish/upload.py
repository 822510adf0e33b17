"""An upload in parts: in the background, several at once, taken up where an earlier process left it.

What ends an upload decides what stays. A failure of the store or of the way there leaves the parts, so that the next
try sends only the rest; an interrupt, or an image that is refused after all, leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from factory.errors import FactoryError, PublishError
from factory.files import touching
from factory.publish import Artefact, StoredObject, pending
from factory.publish.arrived import Arrived
from factory.publish.parts import Part, Section, Stopped, cut, md5, part_size
from factory.publish.refusals import Refusal
from factory.publish.s3 import WORKERS, Bucket

if TYPE_CHECKING:
    from factory.console import Console, Stage

STOP_SECONDS = 10.0  # that a part on its way gets to notice that nobody wants it any more
REPORT_SECONDS = 0.2  # between two reports of progress
ABORTS = 3
ABORT_PATIENCE = 20.0  # seconds that an abort is tried
TRIES = 2  # of an upload whose parts the store dropped


class PartsUpload:
    """An upload of *artefact* to *key*. Made by :class:`factory.publish.store.Store`; to be used with ``with``."""

    def __init__(
        self,
        bucket: Bucket,
        artefact: Artefact,
        key: str,
        metadata: Mapping[str, str],
        stage: Stage,
        console: Console,
        file: int | None = None,
        note: Path | None = None,
    ) -> None:
        """*file* is a descriptor of the image, when its path may change meanwhile; it stays the caller's.

        *note* is removed when nothing of the upload is pending any more, see :mod:`factory.publish.pending`.
        """
        self._note = note
        self._bucket, self._artefact, self._key, self._metadata = bucket, artefact, key, dict(metadata)
        self._stage, self._console = stage, console
        self._arrived = Arrived(bucket, artefact, key, stage)
        with touching(artefact.image, "Opening the image"):
            self._file = os.open(artefact.image, os.O_RDONLY | os.O_CLOEXEC) if file is None else os.dup(file)
        self._seen = os.fstat(self._file)
        if self._seen.st_size != artefact.size or artefact.modified not in (0, self._seen.st_mtime_ns):
            raise self._changed()
        self._parts = cut(artefact.size, part_size(artefact.size))
        self._lock = threading.Lock()
        self._done, self._reported = 0, 0.0
        self._open, self._id, self._asked = True, "", False
        self._threads: list[threading.Thread] = []
        try:
            self._begin()
        except (Refusal, FactoryError):
            self.leave()
            raise
        except BaseException:  # an interrupt
            self.abort()
            raise

    # Beginning

    def _begin(self) -> None:
        self._bucket.patience.stop.clear()
        self._error: BaseException | None = None
        self._unsure = False  # whether it may have been completed by a request that was never answered
        self._queue = deque(self._parts)
        self._etags: dict[int, str] = {}
        self._digests: dict[int, bytes] = {}
        self._threads = []
        self._id, self._there = self._adopt() or (self._create(), {})
        if self._there:
            self._stage.note(f"going on with {len(self._there)} of {len(self._parts)} parts that are up")
        for number in range(min(WORKERS, len(self._parts))):
            thread = threading.Thread(target=self._work, name=f"upload-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def _adopt(self) -> tuple[str, dict[int, tuple[str, int]]] | None:
        """An upload of these very bytes that was interrupted, with the parts that are up; the fullest if several."""
        sizes = {part.number: part.size for part in self._parts}
        best: tuple[str, dict[int, tuple[str, int]]] | None = None
        for each in self._bucket.pending(self._key):
            if each.key != self._key:
                continue
            try:
                there = self._bucket.parts(self._key, each.upload_id)
            except Refusal as refusal:
                if refusal.gone:
                    continue
                raise
            if any(sizes.get(number) != size for number, (_, size) in there.items()):
                self._bucket.abort(self._key, each.upload_id)  # cut in another way: nothing of it can be kept
            elif best is None or len(there) > len(best[1]):
                best = (each.upload_id, there)
        return best

    def _create(self) -> str:
        """Begin a new upload; when the answer is lost, look for it before asking again."""
        begun = time.monotonic()
        while True:
            try:
                self._asked = True  # and not answered
                upload_id = self._bucket.create(self._key, self._metadata)
                self._asked = False
                return upload_id
            except Refusal as refusal:
                left = self._bucket.patience.seconds - (time.monotonic() - begun)
                if not refusal.transient or left < 0 or self._bucket.patience.stop.is_set():
                    raise
                self._bucket.patience.tell(refusal, left)
                self._bucket.patience.stop.wait(max(1.0, min(refusal.pause, 30.0)))
                if found := self._adopt():
                    return found[0]

    # Parts, in threads of their own

    def _work(self) -> None:
        try:
            while not self._bucket.patience.stop.is_set():
                with self._lock:
                    part = self._queue.popleft() if self._queue else None
                if part is None:
                    return
                self._send(part)
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised again by commit
            with self._lock:
                if self._error is None and not self._bucket.patience.stop.is_set():
                    self._error = error
                self._queue.clear()  # parts that are on their way arrive, and need not be sent again

    def _send(self, part: Part) -> None:
        digest = md5(self._file, part, self._check)
        if self._there.get(part.number, ("", 0))[0] == digest.hex():
            etag = digest.hex()
            self._count(part.size)
        else:
            etag = self._bucket.send(
                self._key, self._id, part.number, lambda: Section(self._file, part, self._count), digest
            )
            self._check()
        with self._lock:
            self._etags[part.number], self._digests[part.number] = etag, digest

    def _check(self) -> None:
        if self._bucket.patience.stop.is_set():
            raise Stopped

    def _count(self, size: int) -> None:
        self._check()
        with self._lock:
            self._done += size
            now = time.monotonic()
            if now - self._reported < REPORT_SECONDS:
                return
            self._reported, done = now, min(self._done, self._artefact.size)
        self._stage.progress(done, self._artefact.size)

    # The end

    def commit(self) -> StoredObject:
        """Wait for the parts, let the object appear, and verify its size and bytes. Raises PublishError."""
        for number in range(TRIES):
            if number:
                self._begin_again()
            self.wait()
            if self._completed() or self._there_already():
                self._stage.progress(self._artefact.size, self._artefact.size)
                with self._asking("verifying the image"):
                    digests = [self._digests[number] for number in sorted(self._digests)]
                    stored = self._arrived.verified(digests, len(self._parts))
                self._forget()
                self._close()
                return stored
        raise PublishError(
            f"{self._bucket.host} dropped the upload while it was running",
            cause="Something else ended it, or the store does not keep its parts",
            hint="See that nothing else clears uploads of this bucket, and publish again",
            code="publish.upload-dropped",
        )

    def _completed(self) -> bool:
        """Let the object appear; False when the upload is gone: its answer was lost, or someone else ended it."""
        if self._error is not None:
            return False
        self._require_unchanged()
        try:
            self._bucket.complete(self._key, self._id, self._etags)
        except Refusal as refusal:
            if not refusal.gone:
                raise self._bucket.error(refusal, "completing the upload") from refusal
            self._unsure = refusal.tries > 0
            return False
        return True

    def wait(self) -> None:
        """Wait until all parts are up. Raises PublishError when one cannot be brought there."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.2)  # short, so that an interrupt is seen
        if self._error is None:
            return
        self._require_unchanged()  # a part of a file that changes is refused for its digest
        if not isinstance(self._error, Refusal):
            raise self._error
        if not self._error.gone:
            raise self._bucket.error(self._error, "uploading the image") from self._error

    def _begin_again(self) -> None:
        with self._lock:
            self._done = 0
        with self._asking("beginning the upload again"):
            self._begin()

    def _there_already(self) -> bool:
        with self._asking("looking for the image"):
            return self._arrived.there(soon=self._unsure)

    def _require_unchanged(self) -> None:
        now = os.fstat(self._file)
        if (now.st_size, now.st_mtime_ns) != (self._seen.st_size, self._seen.st_mtime_ns):
            self.abort()
            raise self._changed()

    def _changed(self) -> PublishError:
        return PublishError(
            f"{self._artefact.image} changed while it was published",
            cause="Another process writes to it",
            hint="Publish it when nothing uses it",
            code="publish.image-changed",
        )

    @contextlib.contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Refusal as refusal:
            raise self._bucket.error(refusal, doing) from refusal

    def abort(self) -> None:
        """Stop, and leave nothing in the bucket. Never raises; what could not be removed is told as a warning."""
        if not self._open:
            return
        self._stop()
        self._bucket.patience.stop.clear()
        try:
            with self._bucket.patience.of(ABORT_PATIENCE):
                left = {self._id} - {""} or self._pending()
                for _ in range(ABORTS):  # a part that was on its way may arrive after the first abort
                    for upload_id in left:
                        self._bucket.abort(self._key, upload_id)
                    if self._asked and not left:  # and so may the request that begins the upload
                        time.sleep(1)
                    self._asked = self._asked and not left
                    left = self._pending()
                    if not left and not self._asked:
                        self._forget()
                        break
        except (Refusal, FactoryError) as error:
            words = error.text if isinstance(error, Refusal) else error.message
            self._console.warn(f"Parts of {self._key} may be left in the bucket {self._bucket.name}: {words}")
        finally:
            self._close()

    def _pending(self) -> set[str]:
        """The pending uploads of these very bytes: ours, and one whose beginning was never answered."""
        return {each.upload_id for each in self._bucket.pending(self._key) if each.key == self._key}

    def _forget(self) -> None:
        if self._note is not None:
            pending.forget(self._note)

    def leave(self) -> None:
        """Stop, and leave the parts that are up for the next try."""
        if self._open:
            self._stop()
            self._close()

    def _stop(self) -> None:
        self._bucket.patience.stop.set()
        end = time.monotonic() + STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _close(self) -> None:
        self._open = False
        if not any(thread.is_alive() for thread in self._threads):  # else one would read from another file
            os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, PublishError):
            self.leave()
        else:
            self.abort()
