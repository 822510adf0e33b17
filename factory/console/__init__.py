"""What people and programs see of the work while it runs.

One :class:`Console` is made by the command line and passed to everything that reports. It has three faces: a live tree
of stages on a terminal, plain lines with a time stamp where there is none (or in CI), and one JSON event a line for
programs. ``build.log`` is a fourth reader of the same events. All of them get text that is clean and redacted.

    with console.stage("boot test") as boot:
        with boot.stage("bios") as stage:      # boot.stage: from another thread, the parent has to be named
            stage.progress(done, total)
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

from factory.console.plain import JsonFace, PlainFace, SafeStream
from factory.console.stage import Face, Progress, Stage, StageRecord
from factory.console.terminal import ascii_only, columns, draws
from factory.console.text import summary, timeline_chart
from factory.errors import FactoryError, HostError
from factory.redact import Redactor, clean

__all__ = ["Console", "Stage", "StageRecord", "summary", "timeline_chart"]


class Console:
    """The one place that shows progress, messages, output and errors. Safe to use from several threads."""

    def __init__(self, face: Face | None = None, *, width: int = 80, ascii_only: bool = False) -> None:
        """Use :meth:`create` or :meth:`quiet`. *width* is the number of columns that tables and charts may take."""
        self._lock = threading.RLock()
        self._faces: list[tuple[Face, Stage | None]] = [(face, None)] if face else []
        self._roots: list[Stage] = []  # the outermost stages; all others lie below them
        self._open = threading.local()  # .stages: the stages this thread is in, the innermost last
        self._redactor = Redactor()
        self._width = width
        self._ascii = ascii_only

    @classmethod
    def create(cls, log_format: Literal["text", "json"] = "text", stream: TextIO | None = None) -> Console:
        """The console for *stream* (standard error): JSON if asked for, a live tree on a terminal, else plain lines.

        ``CI`` and ``TERM=dumb`` ask for plain lines too. ``NO_COLOR`` is honoured, and a locale without UTF-8.
        """
        safe = SafeStream(sys.stderr if stream is None else stream)
        if log_format == "json":
            return cls(JsonFace(safe))
        if os.environ.get("CI", "").lower() not in ("", "0", "false") or not draws(safe):
            return cls(PlainFace(safe), ascii_only=ascii_only(safe))
        from factory.console.live import LiveFace

        console = cls(width=columns(safe), ascii_only=ascii_only(safe))
        console._faces.append((LiveFace(safe, console._lock, ascii_only=console._ascii), None))
        return console

    @classmethod
    def quiet(cls) -> Console:
        """A console that shows nothing and still keeps the timeline."""
        return cls()

    @property
    def tells_events(self) -> bool:
        """Whether every line that is shown is a JSON object."""
        return any(isinstance(face, JsonFace) for face, _ in self._faces)

    # Stages

    def stage(self, name: str, *, parent: Stage | None = None) -> Stage:
        """A stage, to be used with ``with``. Without *parent* it lies below the innermost open stage of this thread."""
        return Stage(self, self._safe(name), parent)

    def current(self) -> Stage | None:
        """The innermost open stage of this thread, to be the parent of one in another thread."""
        with self._lock:
            return self._innermost()

    # An interrupt comes between any two steps of the main thread. So a stage begins by one step, when it is put into
    # the tree, and ends by one, when it gets its record; all that is shown is read from there.

    def _begin(self, stage: Stage) -> None:
        with self._lock:
            stage.parent = stage.parent or self._innermost()
            self._beside(stage).append(stage)
            self._mine().append(stage)
            for face in self._for(stage):
                face.started(stage)

    def _end(self, stage: Stage, kind: type[BaseException] | None) -> None:
        """End *stage*, out of which an exception of this *kind* came; with it what an interrupt left open inside."""
        with self._lock:
            if stage not in self._beside(stage):
                return  # interrupted before it had begun
            mine = self._mine()
            inside = mine[mine.index(stage) + 1 :] if stage in mine and kind else []
            for each in (*reversed(inside), stage):
                if each is stage or each.running:
                    each.settle(kind)
                    for face in self._for(each):
                        face.ended(each)
            with contextlib.suppress(ValueError):
                mine.remove(stage)

    def _beside(self, stage: Stage) -> list[Stage]:
        """The stages among which *stage* has its place."""
        return stage.parent.children if stage.parent else self._roots

    def _all(self) -> list[Stage]:
        """Every stage, in the order they began."""
        found = list(self._roots)
        for stage in found:
            found += stage.children
        return sorted(found, key=lambda stage: stage.began)

    def _note(self, stage: Stage, text: str) -> None:
        with self._lock:
            stage.text = self._safe(text)
            for face in self._for(stage):
                face.noted(stage)

    def _progress(self, stage: Stage, done: int, total: int | None, unit: str) -> None:
        with self._lock:
            if stage.progressed is None:
                stage.progressed = Progress()
            stage.progressed.update(done, total, unit)
            for face in self._for(stage):
                face.progressed(stage)

    def timeline(self, under: Stage | None = None) -> list[StageRecord]:
        """The stages that have ended, in the order they began; of *under* and below it only, when it is given."""
        with self._lock:
            return [stage.record for stage in self._all() if stage.record is not None and stage.within(under)]

    def outermost(self) -> Stage | None:
        """The outermost of the stages that this thread is in."""
        return self._mine()[0] if self._innermost() else None

    # Text

    def say(self, text: str) -> None:
        """One plain line for people."""
        self._message("message", text)

    def warn(self, text: str) -> None:
        """Something that does not stop the work and that people should know."""
        self._message("warning", text)

    def _message(self, kind: Literal["message", "warning"], text: str) -> None:
        with self._lock:
            stage = self._innermost()
            for line in text.split("\n"):
                for face in self._for(stage):
                    face.message(kind, self._safe(line), stage)

    def output(self, line: str, *, source: str = "") -> None:
        """A line that a guest or a program printed. *source* names the stage or the program it came from.

        It belongs to the innermost stage of this thread; from a thread without one, to the running stage called
        *source*, else to the one that began last.
        """
        with self._lock:
            stage = self._innermost()
            if stage is None and (running := [other for other in self._all() if other.running]):
                stage = next((other for other in reversed(running) if other.name == source), running[-1])
            self._output(line, source, stage)

    def _output(self, text: str, source: str, stage: Stage | None) -> None:
        with self._lock:
            for part in text.rstrip("\r\n").split("\n"):
                line = self._safe(part)
                if stage is not None and line:
                    stage.tail.append(line)
                for face in self._for(stage):
                    face.output(line, self._safe(source), stage)

    def redact(self, secret: str) -> None:
        """Never show or log *secret* from now on, but ``***``. One that is too short is refused, with a warning."""
        with self._lock:
            reason = self._redactor.add(secret)
        if reason:
            self.warn(f"A secret cannot be hidden from the output: {reason}")

    def safe(self, text: str) -> str:
        """*text* line by line as it may be shown or stored: without control characters and without secrets."""
        with self._lock:
            return "\n".join(self._safe(line) for line in text.split("\n"))

    def _safe(self, text: str) -> str:
        # Before and after: cleaning may cut a secret off at the end of a long line, or put one together.
        return self._redactor(clean(self._redactor(text)))

    # The end

    def summary(self, rows: Sequence[Sequence[str]]) -> None:
        """Show *rows* as a table."""
        safe = [[self._safe(cell) for cell in row] for row in rows]
        self._lines(summary(safe), safe)

    def chart(self, under: Stage | None = None) -> None:
        """Show where the time went, as a chart of the stages that have ended."""
        self._lines(timeline_chart(self.timeline(under), width=self._width, ascii_only=self._ascii), [])

    def _lines(self, text: str, rows: Sequence[Sequence[str]]) -> None:
        with self._lock:
            for face in self._for(None):
                face.lines(text.split("\n") if text else [], rows)

    def error(self, error: FactoryError) -> None:
        """Show what failed, its cause, its fix and its code, and below it the end of the output."""
        with self._lock:
            data = self._safe_error(error)
            for face in self._for(None):
                face.error(data, self._safe_lines(error.output))

    def _log_end(self, face: Face, error: BaseException) -> None:
        """Tell a log what ended the work that it tells of."""
        if isinstance(error, FactoryError):
            face.error(self._safe_error(error), self._safe_lines(error.output))
        else:
            face.message("warning", self._safe(f"ended by {type(error).__name__}: {error}"), None)

    def _safe_lines(self, text: str) -> list[str]:
        return [self._safe(line) for line in text.split("\n")] if text else []

    def _safe_error(self, error: FactoryError) -> dict[str, Any]:
        data: dict[str, Any] = self._safe_data(error.as_dict())
        return data | {"command": "\n".join(self._safe_lines(error.command))}

    def _safe_data(self, data: Any) -> Any:
        if isinstance(data, str):
            return " ".join(line for part in data.split("\n") if (line := self._safe(part)))
        if isinstance(data, Mapping):
            return {key: self._safe_data(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [self._safe_data(value) for value in data]
        return data

    @contextlib.contextmanager
    def log_to(self, path: Path, *, under: Stage | None = None) -> Iterator[None]:
        """Write everything to the file *path* too, with UTC time stamps; with *under*, what happens in that stage only.

        The file is private while it is written and readable by all (0644) when it is complete.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostError(
                f"The log {path} cannot be written",
                cause=os.strerror(error.errno or 0),
                hint="See that the folder exists, can be written and has space",
                code="host.log",
            ) from error
        with open(descriptor, "w", encoding="utf-8") as file:
            stream = SafeStream(file, lambda error: self.warn(f"{path} is not complete: {error}"))
            entry: tuple[Face, Stage | None] = (PlainFace(stream, utc=True, progress_every=30), under)
            with self._lock:
                self._faces.append(entry)
            try:
                yield
            except BaseException as error:
                with self._lock:  # whoever shows the error does so when the log is closed already
                    self._log_end(entry[0], error)
                raise
            finally:
                with self._lock:
                    self._faces.remove(entry)
                with contextlib.suppress(OSError):
                    os.fchmod(descriptor, 0o644)
                    os.fsync(descriptor)
                if stream.dead:
                    _drop(file)

    def close(self) -> None:
        """End the live tree and give the cursor back. An error may still be shown afterwards."""
        with self._lock:
            for face, _ in self._faces:
                face.close()

    # Inside

    def _mine(self) -> list[Stage]:
        if not hasattr(self._open, "stages"):
            self._open.stages = []
        stages: list[Stage] = self._open.stages
        return stages

    def _innermost(self) -> Stage | None:
        mine = self._mine()
        while mine and not mine[-1].running:  # an interrupt may have left one
            mine.pop()
        return mine[-1] if mine else None

    def _for(self, stage: Stage | None) -> list[Face]:
        """The faces that want to know of *stage*; what belongs to no stage goes to all."""
        return [face for face, under in self._faces if stage is None or stage.within(under)]


def _drop(file: TextIO) -> None:
    """Throw away what could not be written, so that closing the file does not fail on it again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, file.fileno())
    os.close(null)
