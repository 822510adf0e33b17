"""A stage of the work: its name, its time, how far it is and how it ended; and what a face of the console offers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

if TYPE_CHECKING:
    from factory.console import Console

State = Literal["running", "ok", "failed", "cached", "skipped"]

TAIL_LINES = 3  # last lines of output that are kept of a running stage
RATE_WINDOW = 10.0  # seconds over which the rate of progress is taken


@dataclass(frozen=True)
class StageRecord:
    """A stage that has ended.

    *path* is the names from the outermost stage on, joined with ``/``; *depth* is 0 for an outermost stage; *start* and
    *end* are in UTC, *seconds* comes from a clock that is never set back; *bytes* is what it reported as progress.
    """

    name: str
    path: str
    start: datetime
    end: datetime
    seconds: float
    state: State
    note: str = ""
    bytes: int | None = None
    depth: int = 0


@dataclass
class Progress:
    """How far a stage is. *total* is None when nobody knows; *unit* is ``bytes`` or the plural of what is counted."""

    done: int = 0
    total: int | None = None
    unit: str = "bytes"
    samples: deque[tuple[float, int]] = field(default_factory=deque)

    def update(self, done: int, total: int | None, unit: str) -> None:
        """Take a new count, and a sample for the rate at most ten times a second."""
        if done < self.done or unit != self.unit:  # began again, or counts something else now
            self.samples.clear()
        self.done, self.total, self.unit = done, total, unit
        now = time.monotonic()
        if not self.samples or now - self.samples[-1][0] >= 0.1:
            self.samples.append((now, done))
            while now - self.samples[0][0] > RATE_WINDOW and len(self.samples) > 2:
                self.samples.popleft()

    @property
    def rate(self) -> float | None:
        """Units a second over the last ten seconds; None while it is not known."""
        if not self.samples:
            return None
        since, had = self.samples[0]
        elapsed = time.monotonic() - since
        return (self.done - had) / elapsed if elapsed > 0.3 and self.done > had else None


class Stage:
    """One stage, used as ``with console.stage("convert") as stage:``.

    It ends as ``ok``, as ``failed`` when an exception leaves it, or as what :meth:`cached` and :meth:`skipped` said.
    All methods may be called from any thread.
    """

    def __init__(self, console: Console, name: str, parent: Stage | None) -> None:
        """Made by :meth:`Console.stage` and :meth:`Stage.stage` only."""
        self.name = name
        self.parent = parent
        self.children: list[Stage] = []
        self.state: State = "running"
        self.text = ""  # the note
        self.progressed: Progress | None = None
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.start = datetime.now(UTC)
        self.record: StageRecord | None = None  # set when it has ended
        self.began = time.monotonic()
        self._console = console

    def __enter__(self) -> Self:
        self.start = datetime.now(UTC)
        self.began = time.monotonic()
        try:
            self._console._begin(self)
        except BaseException as error:  # an interrupt at this very moment: "with" would not end what it has not entered
            self._console._end(self, type(error))
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._console._end(self, kind)

    def settle(self, kind: type[BaseException] | None) -> None:
        """Give it its record: from then on it has ended. Called by the console, under its lock."""
        if kind is not None:
            self.state = "failed"
            if issubclass(kind, KeyboardInterrupt):
                self.text = "interrupted"
        elif self.state == "running":
            self.state = "ok"
        self.tail.clear()
        count = self.progressed
        self.record = StageRecord(
            name=self.name,
            path=self.path,
            start=self.start,
            end=datetime.now(UTC),
            seconds=round(self.seconds, 3),
            state=self.state,
            note=self.text,
            bytes=count.done if count and count.unit == "bytes" else None,
            depth=self.depth,
        )

    def stage(self, name: str) -> Stage:
        """A child of this stage."""
        return self._console.stage(name, parent=self)

    def note(self, text: str) -> None:
        """Text that is shown after the name and kept in the record."""
        self._console._note(self, text)

    def progress(self, done: int, total: int | None = None, unit: str = "bytes") -> None:
        """How far the stage is; cheap enough to be called for every block of a file."""
        self._console._progress(self, done, total, unit)

    def output(self, line: str) -> None:
        """A line that a guest or a program printed during this stage."""
        self._console._output(line, self.name, self)

    def cached(self, why: str) -> None:
        """The stage had nothing to do because its result is there already."""
        self.state = "cached"
        self._console._note(self, why)

    def skipped(self, why: str) -> None:
        """The stage was not wanted, or could not be done here."""
        self.state = "skipped"
        self._console._note(self, why)

    @property
    def seconds(self) -> float:
        """How long it took, or takes so far."""
        return self.record.seconds if self.record else time.monotonic() - self.began

    @property
    def path(self) -> str:
        """The names from the outermost stage to this one, joined with ``/``."""
        return f"{self.parent.path}/{self.name}" if self.parent else self.name

    @property
    def depth(self) -> int:
        """0 for an outermost stage, 1 for its children."""
        return self.parent.depth + 1 if self.parent else 0

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.record is None

    def within(self, other: Stage | None) -> bool:
        """Whether this is *other* or lies below it; always, when *other* is None."""
        return other is None or self is other or (self.parent is not None and self.parent.within(other))


class Face(Protocol):
    """One way to show the work. The console calls it under its lock, with text that is already clean and redacted."""

    def started(self, stage: Stage) -> None:
        """A stage has begun."""

    def noted(self, stage: Stage) -> None:
        """The note of a stage has changed."""

    def progressed(self, stage: Stage) -> None:
        """A stage reports progress; called as often as the work likes."""

    def ended(self, stage: Stage) -> None:
        """A stage has ended; its record is there."""

    def message(self, kind: Literal["message", "warning"], text: str, stage: Stage | None) -> None:
        """One line for people."""

    def output(self, line: str, source: str, stage: Stage | None) -> None:
        """A line that a guest or a program printed."""

    def lines(self, lines: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table or a chart: *lines* for people, *rows* for programs (empty: nothing for them)."""

    def error(self, error: Mapping[str, Any], output: Sequence[str]) -> None:
        """The error that ends the work, as data, and the last lines of *output* that belong to it."""

    def close(self) -> None:
        """Nothing will be shown any more. May be called twice."""
