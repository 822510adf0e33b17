"""Messages between the factory and the process that reads an image: a header in JSON, then bytes.

Each is eight bytes of lengths (big endian: header, bytes), the header, the bytes. Names that are no UTF-8 travel as
lone surrogates, which JSON escapes. Neither side believes a length above the limits.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

MAX_HEADER = 64 << 20  # bytes; a directory of about 400,000 names
MAX_BYTES = 8 << 20  # bytes of content in one message


class WireError(Exception):
    """The other side ended, took too long, or sent something that is no message."""


def send(descriptor: int, header: dict[str, Any], content: bytes = b"", deadline: float | None = None) -> None:
    """Write one message. *deadline* is in time.monotonic() seconds. Raises WireError."""
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER or len(content) > MAX_BYTES:
        raise WireError("the answer is too large")
    left = memoryview(struct.pack(">II", len(text), len(content)) + text + content)
    while left:
        _wait(descriptor, select.POLLOUT, deadline)
        try:
            left = left[os.write(descriptor, left[:65536]) :]
        except OSError as error:
            raise WireError(f"it ended ({error.strerror})") from None


def receive(descriptor: int, deadline: float | None = None) -> tuple[dict[str, Any], bytes]:
    """Read one message. Raises WireError, EOFError when the other side closed in between two messages."""
    first = _read(descriptor, 8, deadline)
    if not first:
        raise EOFError
    if len(first) < 8:
        raise WireError("it ended")
    header_size, size = struct.unpack(">II", first)
    if header_size > MAX_HEADER or size > MAX_BYTES:
        raise WireError("it sent something that is no answer")
    text, content = _read(descriptor, header_size, deadline), _read(descriptor, size, deadline)
    if len(text) < header_size or len(content) < size:
        raise WireError("it ended in the middle of an answer")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise WireError("it sent something that is no answer") from None
    if not isinstance(header, dict):
        raise WireError("it sent something that is no answer")
    return header, content


def _read(descriptor: int, size: int, deadline: float | None) -> bytes:
    pieces = bytearray()
    while len(pieces) < size:
        _wait(descriptor, select.POLLIN, deadline)
        piece = os.read(descriptor, min(size - len(pieces), 1 << 20))
        if not piece:
            break
        pieces += piece
    return bytes(pieces)


def _wait(descriptor: int, event: int, deadline: float | None) -> None:
    if deadline is None:
        return
    poll = select.poll()
    poll.register(descriptor, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise WireError("it took too long")
