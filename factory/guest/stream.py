"""The standard streams of a command in the guest: read and written at the same time, in bounded memory."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Callable
from typing import BinaryIO, Protocol, cast

MOST_OUTPUT = 4_000_000  # bytes of a command's output that are kept
SENT = 1 << 18  # bytes of standard input handed over at once
LAST_WORDS = 3.0  # seconds of silence after the exit status: a process left behind may hold the output open for ever


class Channel(Protocol):
    """What is used here of an SSH channel."""

    closed: bool
    eof_received: int  # a boolean; its stubs say so
    status_event: threading.Event

    def fileno(self) -> int: ...
    def exit_status_ready(self) -> bool: ...
    def recv_ready(self) -> bool: ...
    def recv(self, nbytes: int) -> bytes: ...
    def recv_stderr_ready(self) -> bool: ...
    def recv_stderr(self, nbytes: int) -> bytes: ...
    def sendall(self, s: bytes) -> None: ...
    def shutdown_write(self) -> None: ...


def drain(
    channel: Channel, deadline: float, on_line: Callable[[str], None] | None, alive: Callable[[], bool]
) -> tuple[str, str]:
    """What the command on *channel* prints on standard output and standard error, until it has ended.

    *deadline* is a time of :func:`time.monotonic`. Raises TimeoutError after it, OSError when *alive* says no.
    """
    streams = {"out": bytearray(), "err": bytearray()}
    lines = {"out": _Lines(on_line), "err": _Lines(on_line)}
    last_look = last_word = time.monotonic()
    while True:
        # Asked before reading: what came until now is then read, and what it printed last can come behind its status.
        ended = channel.exit_status_ready()
        silent = channel.eof_received or channel.closed or time.monotonic() - last_word > LAST_WORDS
        busy = False
        for name, ready, receive in (
            ("out", channel.recv_ready, channel.recv),
            ("err", channel.recv_stderr_ready, channel.recv_stderr),
        ):
            data = receive(65536) if ready() else b""
            if data:
                busy = True
                if len(streams[name]) < MOST_OUTPUT:
                    streams[name] += data
                lines[name].feed(data)
        now = time.monotonic()
        if not busy and ended and silent:
            break
        if now > deadline:
            raise TimeoutError("the command took too long")
        if now - last_look > 2:
            last_look = now
            if not alive():
                raise OSError("the machine ended")
        if busy or not ended:
            last_word = now
        if not busy:
            if channel.eof_received:  # select would come back at once
                channel.status_event.wait(0.2)
            else:
                select.select([channel], [], [], 0.2)
    for part in lines.values():
        part.end()
    return streams["out"].decode("utf-8", "replace"), streams["err"].decode("utf-8", "replace")


class _Lines:
    """Cuts a stream of bytes into lines."""

    def __init__(self, sink: Callable[[str], None] | None) -> None:
        self._sink = sink
        self._rest = b""

    def feed(self, data: bytes) -> None:
        if self._sink is None:
            return
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._sink(line.decode("utf-8", "replace").rstrip("\r"))
        self._rest = self._rest[-10_000:]

    def end(self) -> None:
        if self._sink and self._rest:
            self._sink(self._rest.decode("utf-8", "replace"))


class Feed(threading.Thread):
    """Writes standard input from a thread of its own: the command's output has to be read meanwhile."""

    def __init__(self, channel: Channel, stdin: bytes | Callable[[BinaryIO], None]) -> None:
        super().__init__(daemon=True)
        self._pipe = _Pipe(channel)
        self._stdin = stdin
        #: What the function raised: the command had only a part of its input.
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            if isinstance(self._stdin, bytes):
                self._pipe.write(self._stdin)
            else:
                self._stdin(cast(BinaryIO, self._pipe))
        except _Ended:
            pass  # the command ended without reading all of it; its status tells
        except Exception as error:  # noqa: BLE001 - raised again by the one who waits
            self.error = error
        finally:
            self._pipe.close()


class _Ended(Exception):
    """Nobody reads the standard input any more."""


class _Pipe:
    """The standard input of a command; what the network says is kept apart from the errors of the one who writes."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def write(self, data: bytes) -> int:
        try:
            for start in range(0, len(data), SENT):  # sendall copies what is left for each packet
                self._channel.sendall(data[start : start + SENT])
        except (OSError, EOFError) as error:
            raise _Ended from error
        return len(data)

    def close(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()
