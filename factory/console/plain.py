"""The faces without a terminal: plain lines with a time stamp (CI, ``build.log``) and JSON events."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from factory.console.stage import Stage
from factory.console.text import error_text, output_tail, progress_parts, seconds_text, size_text


class SafeStream:
    """A text stream that never fails the work: when its reader has gone, what is written is dropped.

    Characters that its encoding does not know are replaced. It has what rich asks of a file.
    """

    def __init__(self, stream: TextIO | None, on_failure: Callable[[OSError | ValueError], None] | None = None) -> None:
        """*stream* is None when the process has no standard error; *on_failure* is called once, at the first loss."""
        self._stream = stream
        self._on_failure = on_failure
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.dead = stream is None

    def write(self, text: str) -> int:
        """Write all of *text*, or drop it."""
        if self.dead or self._stream is None:
            return len(text)
        safe = text.encode(self.encoding, "replace").decode(self.encoding)
        try:
            try:
                self._stream.write(safe)
                self._stream.flush()
            except BlockingIOError:  # something else (ssh, node) left the terminal in non-blocking mode
                os.set_blocking(self._stream.fileno(), True)
                self._stream.flush()
        except (OSError, ValueError) as error:
            self._die(error)
        return len(text)

    def _die(self, error: OSError | ValueError) -> None:
        self.dead = True
        # What is still buffered would fail once more when Python ends, and turn the exit status into 120.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            assert self._stream is not None
            if self._stream.fileno() == 2:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 2)
                os.close(null)
        if self._on_failure:
            self._on_failure(error)

    def flush(self) -> None:
        """Nothing to do: each write is flushed."""

    def isatty(self) -> bool:
        """Whether a terminal is behind it."""
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:  # closed
            return False

    def fileno(self) -> int:
        """The file descriptor; raises OSError when there is none."""
        if self._stream is None:
            raise OSError("no stream")
        return self._stream.fileno()


class PlainFace:
    """Lines with a time stamp: ``12:03:04 convert ...``, ``12:03:20 convert ok 15.9 s``."""

    def __init__(self, stream: SafeStream, *, utc: bool = False, progress_every: float = 10.0) -> None:
        """*utc* writes full UTC time stamps (logs); progress shows at most every *progress_every* seconds a stage."""
        self._stream = stream
        self._utc = utc
        self._every = progress_every
        self._shown: dict[Stage, float] = {}

    def _line(self, text: str) -> None:
        now = datetime.now(UTC)
        stamp = utc_text(now) if self._utc else now.astimezone().strftime("%H:%M:%S")
        self._stream.write(f"{stamp} {text}\n")

    def started(self, stage: Stage) -> None:
        self._shown[stage] = time.monotonic()
        self._line(f"{stage.path} ...")

    def noted(self, stage: Stage) -> None:
        if stage.state == "running" and stage.text:
            self._line(f"{stage.path}: {stage.text}")

    def progressed(self, stage: Stage) -> None:
        count, now = stage.progressed, time.monotonic()
        if count and now - self._shown.get(stage, now) >= self._every:
            self._shown[stage] = now
            parts = progress_parts(count.done, count.total, count.unit, count.rate)
            self._line(f"{stage.path}: {', '.join(parts)}")

    def ended(self, stage: Stage) -> None:
        self._shown.pop(stage, None)
        self._line(f"{stage.path} {stage.state} {seconds_text(stage.seconds)}{facts(stage)}")

    def message(self, kind: Literal["message", "warning"], text: str, stage: Stage | None) -> None:
        self._line(f"warning: {text}" if kind == "warning" else text)

    def output(self, line: str, source: str, stage: Stage | None) -> None:
        self._line(f"  {source or (stage.name if stage else '')} | {line}".rstrip())

    def lines(self, lines: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        for line in lines:
            self._stream.write(f"{line}\n")

    def error(self, error: Mapping[str, Any], output: Sequence[str]) -> None:
        # No time stamp: editors and CI look for "file:line:" at the start of the line.
        faults, paragraph = error_text(error)
        for line in [*faults, f"error: {paragraph}", *output_tail(output)]:
            self._stream.write(f"{line}\n")

    def close(self) -> None:
        self._shown.clear()


class JsonFace:
    """One JSON object a line: ``time`` (UTC) and ``event``, then what the event has.

    Events: ``stage`` (``state`` running, then ok, failed, cached or skipped with ``seconds``), ``progress``, ``note``,
    ``message``, ``warning``, ``output``, ``summary`` and ``error``. ``stage`` is the path of the stage, if any.
    """

    def __init__(self, stream: SafeStream, *, progress_every: float = 1.0) -> None:
        """Progress is told at most every *progress_every* seconds a stage."""
        self._stream = stream
        self._every = progress_every
        self._shown: dict[Stage, float] = {}

    def _event(self, event: str, stage: Stage | None, **facts: object) -> None:
        data: dict[str, object] = {"time": utc_text(datetime.now(UTC)), "event": event}
        if stage is not None:
            data["stage"] = stage.path
        self._stream.write(json.dumps(data | facts) + "\n")

    def started(self, stage: Stage) -> None:
        self._shown[stage] = time.monotonic() - self._every  # the first progress is told at once
        self._event("stage", stage, state="running")

    def noted(self, stage: Stage) -> None:
        if stage.state == "running":
            self._event("note", stage, note=stage.text)

    def progressed(self, stage: Stage) -> None:
        count, now = stage.progressed, time.monotonic()
        if count is None or now - self._shown.get(stage, now) < self._every:
            return
        self._shown[stage] = now
        rate = count.rate
        if count.unit == "bytes":
            amounts: dict[str, object] = {"bytes": count.done, "total": count.total}
        else:
            amounts = {"done": count.done, "total": count.total, "unit": count.unit}
        seconds = round(stage.seconds, 3)
        self._event("progress", stage, state="running", seconds=seconds, **amounts, rate=rate and round(rate, 1))

    def ended(self, stage: Stage) -> None:
        self._shown.pop(stage, None)
        record = stage.record
        assert record is not None
        extra: dict[str, object] = {"note": record.note} if record.note else {}
        if record.bytes is not None:
            extra["bytes"] = record.bytes
        self._event("stage", stage, state=record.state, seconds=record.seconds, **extra)

    def message(self, kind: Literal["message", "warning"], text: str, stage: Stage | None) -> None:
        self._event(kind, stage, text=text)

    def output(self, line: str, source: str, stage: Stage | None) -> None:
        self._event("output", stage, source=source, line=line)

    def lines(self, lines: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        if rows:
            self._event("summary", None, rows=[list(row) for row in rows])

    def error(self, error: Mapping[str, Any], output: Sequence[str]) -> None:
        self._event("error", None, **error, output=list(output))

    def close(self) -> None:
        self._shown.clear()


def facts(stage: Stage) -> str:
    """What stands behind the seconds of a stage that has ended: its size and its note."""
    count = stage.progressed
    size = size_text(count.done) if count and count.unit == "bytes" and count.done else ""
    note = f"({stage.text})" if stage.text else ""
    return "".join(f" {part}" for part in (size, note) if part)


def utc_text(moment: datetime) -> str:
    """``2026-05-01T12:03:04.123Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
