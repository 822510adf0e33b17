"""A presigned URL, fetched as the cloud will fetch it: anonymously, by GET (the signature covers the method)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from factory import http
from factory.errors import PublishError
from factory.publish import QCOW2_MAGIC, PresignedUrl

WORDS = 4096  # bytes of an error's text that are looked at
SILENCE = 6.0  # seconds without an answer that are waited for, in each of a few tries


class _Refused(PublishError):
    """The store answered, and not with the image; *status* is 0 for an answer that broke off."""

    status_of_reply = 0

    @property
    def patience(self) -> float:
        """The share of the store's patience that is spent on it."""
        busy = self.status_of_reply in (0, 429) or self.status_of_reply >= 500
        return 1.0 if busy else 0.1 if self.status_of_reply == 404 else 0.0


def probe(
    url: PresignedUrl,
    size: int,
    trusted: str | bool,
    magic: bytes = QCOW2_MAGIC,
    *,
    patience: float = 0.0,
    told: Callable[[str], object] = str,
) -> None:
    """Fetch the first bytes of *url*: they are *magic*, and the whole is *size* bytes long. Raises PublishError.

    A URL for HEAD is asked for its length only. *trusted* is the store's ``ca_bundle()``. A store that is busy is asked
    again for *patience* seconds, and for a tenth of it one that does not show the image yet; *told* is told so.
    """
    begun, pause = time.monotonic(), 0.5
    while True:
        try:
            return _fetch(url, size, trusted, magic)
        except _Refused as error:
            if time.monotonic() + pause > begun + error.patience * patience:
                raise
            told(f"Trying the presigned URL again: {error.cause}")
        time.sleep(pause)
        pause = min(2 * pause, 10.0)


def _fetch(url: PresignedUrl, size: int, trusted: str | bool, magic: bytes) -> None:
    headers = {"Range": f"bytes=0-{len(magic) - 1}"} if url.method == "GET" else {}
    try:
        with http.get(
            url.secret,
            headers=headers,
            allowed=range(200, 600),
            failure=PublishError,
            method="HEAD" if url.method == "HEAD" else "GET",
            trusted=trusted,
            seconds=SILENCE,
            anonymous=True,
        ) as reply:
            if reply.status not in (200, 206):
                raise _refused(url, reply)
            begin = _read(reply, len(magic)) if url.method == "GET" else magic
            total = _total(reply)
    except PublishError as error:
        if not error.code.startswith("http."):
            raise
        raise _not_fetched(url, error.message, error.cause) from None  # its own chain may hold the whole URL
    except http.Interrupted as error:
        raise _not_fetched(url, "the answer broke off", str(error), _Refused) from None
    if total == len(magic) and reply.status == 200 and headers:  # rclone answers a range with 200: ask for the whole
        total = _length(url, trusted)
    if total != size or begin != magic:
        raise _wrong(url, size, total, begin == magic)


def _length(url: PresignedUrl, trusted: str | bool) -> int | None:
    try:
        with http.get(url.secret, failure=PublishError, trusted=trusted, seconds=SILENCE, anonymous=True) as reply:
            return reply.length
    except PublishError as error:
        raise _not_fetched(url, error.message, error.cause) from None


def _total(reply: http.Reply) -> int | None:
    whole = re.search(r"/(\d+)$", reply.headers.get("Content-Range", ""))
    return int(whole[1]) if whole else reply.length


def _read(reply: http.Reply, size: int) -> bytes:
    data = b""
    for block in reply.blocks():
        data += block
        if len(data) >= size:
            break
    return data[:size]


def _refused(url: PresignedUrl, reply: http.Reply) -> _Refused:
    text = _read(reply, WORDS).decode("utf-8", "replace") if url.method == "GET" else ""
    found = [match[1] for tag in ("Code", "Message") if (match := re.search(f"<{tag}>([^<]{{1,300}})<", text))]
    words = f"It answered {reply.status}" + (f": {', '.join(found)}" if found else "")
    expired = any("expired" in word.lower() for word in found)
    hint = "Run the same command again: what has arrived is not sent again"
    if expired:
        hint = "Make a new one with 'factory presign'"
    elif reply.status in (401, 403):
        hint = "Check the key's right to read objects"
    error = _Refused(
        f"the presigned URL of {url.masked.partition('?')[0]} does not work",
        cause=words,
        hint=hint,
        code="publish.url-refused",
    )
    error.status_of_reply = reply.status
    return error


def _not_fetched(url: PresignedUrl, what: str, why: str, kind: type[PublishError] = PublishError) -> PublishError:
    return kind(
        f"the presigned URL of {url.masked.partition('?')[0]} cannot be fetched: {what}",
        cause=why,
        hint="The cloud would have no more luck: check the address and the certificate of the store",
        code="publish.url-unreachable",
    )


def _wrong(url: PresignedUrl, size: int, total: int | None, begins_well: bool) -> PublishError:
    cause = "It does not say how long it is" if total is None else f"It has {total} bytes, not {size}"
    if not begins_well:
        cause = "The first bytes are not those of the image"
    return PublishError(
        f"the presigned URL of {url.masked.partition('?')[0]} leads to something else than the image",
        cause=cause,
        hint="Something on the way answers in place of the store; check FACTORY_S3_ENDPOINT and the proxy",
        code="publish.url-content",
    )
