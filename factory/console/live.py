"""The face on a terminal: a live tree of the stages that run, above it a permanent line for each that has ended.

The only module that imports rich. Rich's own refresh thread is not used, because it would take rich's lock and the
console's in the opposite order.
"""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Literal, cast

from rich.console import Console as Terminal
from rich.live import Live
from rich.text import Text

from factory.console.plain import SafeStream, facts
from factory.console.stage import Progress, Stage
from factory.console.text import bar, cells, error_text, fit, output_tail, progress_parts, seconds_text

REFRESH = 0.2  # seconds; a guest under TCG needs the processors more than the spinner does
MARKS = {"ok": "✔", "failed": "✘", "cached": "≡", "skipped": "○"}
ASCII_MARKS = {"ok": "+", "failed": "x", "cached": "=", "skipped": "-"}
STYLES = {"ok": "green", "failed": "bold red", "cached": "cyan", "skipped": "dim", "running": "bold blue"}
SPINNER, ASCII_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"


class LiveFace:
    """The tree of stages on a terminal. An outermost stage is printed with all below it when it has ended.

    A thread of its own does all the drawing. The others wait for it, so that nothing is shown late; but an interrupt,
    which Python raises anywhere in the main thread, cannot leave half a frame on the screen.
    """

    def __init__(self, stream: SafeStream, lock: threading.RLock, *, ascii_only: bool) -> None:
        """*lock* is the console's; whoever calls a method holds it."""
        self._terminal = Terminal(
            file=cast(IO[str], stream), force_terminal=True, highlight=False, markup=False, emoji=False
        )
        self._stream = stream
        self._lock = lock
        self._ascii = ascii_only
        self._marks = ASCII_MARKS if ascii_only else MARKS
        self._roots: list[Stage] = []  # outermost stages that are not printed yet
        self._live: Live | None = None
        self._frame = 0
        self._drawn = Text("")  # the frame that is on the screen, and the width it was drawn for
        self._drawn_width = 0
        self._work: queue.SimpleQueue[tuple[Callable[[], None], threading.Event] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._fault: Exception | None = None
        self._closed = False

    # What the console tells

    def started(self, stage: Stage) -> None:
        if stage.parent is None:
            self._roots.append(stage)
        self._do(self._draw)

    def noted(self, stage: Stage) -> None:
        """Shown with the next frame."""

    def progressed(self, stage: Stage) -> None:
        """Shown with the next frame."""

    def ended(self, stage: Stage) -> None:
        root = stage
        while root.parent is not None:
            root = root.parent
        if root in self._roots:
            self._do(self._draw)
        else:  # a thread that outlived the outermost stage
            self._print(self._stage_line(stage, stage.path, 0))

    def message(self, kind: Literal["message", "warning"], text: str, stage: Stage | None) -> None:
        mark = ("warning: ", "bold yellow") if kind == "warning" else ""
        self._print(Text.assemble(mark, self._plain(text)))

    def output(self, line: str, source: str, stage: Stage | None) -> None:
        """Shown with the next frame, from the stage's tail."""

    def lines(self, lines: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._print(Text(self._plain("\n".join(lines))))

    def error(self, error: Mapping[str, Any], output: Sequence[str]) -> None:
        faults, paragraph = error_text(error)
        below = "".join(f"\n{line}" for line in output_tail(output))
        text = Text(self._plain("".join(f"{fault}\n" for fault in faults)))
        text.append("error: ", "bold red").append(self._plain(paragraph)).append(self._plain(below), "dim")
        self._print(text)

    def close(self) -> None:
        if not self._closed:
            self._do(self._draw)
            self._do(self._erase)
            self._closed = True
            self._work.put(None)

    # The tree

    def _tree(self, stage: Stage, *, finished: int, tail: int) -> list[Text]:
        """Lines of *stage* and all below it, with at most *finished* ended children each and *tail* lines of output."""
        lines = [self._stage_line(stage, stage.name, stage.depth)]
        ended = [child for child in stage.children if child.state in ("ok", "cached", "skipped") and not child.running]
        hidden = set(ended[: max(len(ended) - finished, 0)])
        indent = "  " * (stage.depth + 1)
        if hidden:
            more = f"{indent}{self._marks['ok']} {len(hidden)} more"
            lines.append(Text(fit(more, self._width, ascii_only=self._ascii), "dim"))
        for child in stage.children:
            if child not in hidden:
                lines += self._tree(child, finished=finished, tail=tail)
        if stage.running and tail and not any(child.running for child in stage.children):
            edge = "| " if self._ascii else "│ "
            lines += [
                Text(fit(indent + edge + self._plain(line), self._width, ascii_only=self._ascii), "dim")
                for line in list(stage.tail)[-tail:]
            ]
        return lines

    def _stage_line(self, stage: Stage, name: str, depth: int) -> Text:
        """One line: mark, name, note or progress, and the seconds at the right end, cut to the terminal's width."""
        spinner = ASCII_SPINNER if self._ascii else SPINNER
        mark = self._marks.get(stage.state, "")
        if stage.running:
            mark = spinner[self._frame % len(spinner)]
        seconds = seconds_text(stage.seconds)
        width = self._width
        # A deep tree on a narrow terminal: the indent gives way first, then the seconds.
        left = " " * min(2 * depth, max(width - 16, 0)) + mark + " "
        if width < cells(left) + 4 + cells(seconds):
            seconds = ""
        room = width - cells(left) - cells(seconds) - 1
        name = fit(self._plain(name), room, ascii_only=self._ascii)
        room -= cells(name) + 2
        line = Text.assemble((left, STYLES["running" if stage.running else stage.state]), name)
        detail = self._detail(stage, room)
        line.append(f"  {detail}" if detail else "", "dim")
        line.append(" " * (width - line.cell_len - cells(seconds)))
        return line.append(seconds, "dim")

    def _detail(self, stage: Stage, room: int) -> str:
        """What stands between name and seconds, in at most *room* cells: progress, or the note and the size."""
        if not stage.running:
            text = facts(stage).strip()
        elif stage.progressed is None:
            text = stage.text
        else:
            text = self._progress(stage.progressed, room)
            text = f"{text}  {stage.text}" if stage.text and room - cells(text) >= 12 else text
        return fit(self._plain(text), room, ascii_only=self._ascii) if room >= 4 else ""

    def _progress(self, count: Progress, room: int) -> str:
        """A bar and as many of percent, amounts, rate and time left as fit; the amounts give way first."""
        parts = progress_parts(count.done, count.total, count.unit, count.rate)
        if not count.total:
            while len(parts) > 1 and cells("  ".join(parts)) > room:
                parts.pop()
            return "  ".join(parts)
        shown = [parts, [parts[0], *parts[2:]], [parts[0], *parts[3:]], parts[:1]]
        text = next((fitting for some in shown if cells(fitting := "  ".join(some)) + 9 <= room), parts[0])
        length = min(room - cells(text) - 1, 24)
        return f"{bar(count.done / count.total, length, ascii_only=self._ascii)} {text}" if length >= 4 else text

    @property
    def _width(self) -> int:
        """Cells in a line; the last column stays free, because some terminals wrap when it is written."""
        return max(self._terminal.width - 1, 1)

    def _plain(self, text: str) -> str:
        return text.encode("ascii", "replace").decode("ascii") if self._ascii else text

    # Drawing

    def _frame_text(self) -> Text:
        """The tree of all that runs, made to fit the height of the terminal: what has ended gives way first."""
        height = max(self._terminal.height - 2, 1)
        lines: list[Text] = []
        for finished, tail in ((1_000_000, 3), (3, 3), (1, 1), (0, 0)):
            lines = [line for root in self._roots for line in self._tree(root, finished=finished, tail=tail)]
            if len(lines) <= height:
                break
        return Text("\n").join(lines[-height:])

    def _do(self, draw: Callable[[], None]) -> None:
        """Have the drawing thread do *draw*, and wait for it."""
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._loop, name="console", daemon=True)
            self._thread.start()
        if self._closed or self._thread is None or not self._thread.is_alive():  # closed, or in a forked child
            draw()
            return
        done = threading.Event()
        self._work.put((draw, done))
        done.wait()
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    def _loop(self) -> None:
        """The drawing thread: what it is given, and a new frame from time to time while there is a tree."""
        while True:
            try:
                work = self._work.get(timeout=REFRESH if self._live is not None else None)
            except queue.Empty:
                # Whoever holds the lock may be waiting for this thread: a frame is left out rather than waited for.
                if self._lock.acquire(blocking=False):
                    self._frame += 1
                    self._attempt(self._draw)
                    self._lock.release()
                continue
            if work is None:
                return
            self._attempt(work[0])
            work[1].set()

    def _attempt(self, draw: Callable[[], None]) -> None:
        try:
            draw()
        except Exception as fault:  # noqa: BLE001 - a defect; the thread that asked raises it, else it would wait for ever
            self._fault = fault

    def _draw(self) -> None:
        """Print the outermost stages that have ended, and show those that run."""
        for root in [root for root in self._roots if not root.running]:
            self._roots.remove(root)
            self._write(Text("\n").join(self._tree(root, finished=1_000_000, tail=0)))
        if not self._roots or self._closed:
            self._erase()
            return
        if self._live is None:
            self._live = Live(
                console=self._terminal,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self._live.start()
            atexit.register(self.close)  # the cursor must come back however the process ends
        self._show(self._live)

    def _erase(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            self._reflow()
            live.update(Text(""))
            live.stop()
            self._drawn = Text("")
            atexit.unregister(self.close)

    def _show(self, live: Live, *, refresh: bool = True) -> None:
        """Put the present frame in the place of the one before, at once or with what is printed next."""
        self._reflow()
        self._drawn = self._frame_text()
        self._drawn_width = self._terminal.width
        live.update(self._drawn, refresh=refresh)

    def _reflow(self) -> None:
        """Go up over the lines that a narrowed terminal has broken in two, which rich does not know of."""
        width = max(self._terminal.width, 1)
        if width < self._drawn_width:
            extra = sum(max(line.cell_len - 1, 0) // width for line in self._drawn.split("\n"))
            self._stream.write("\r\x1b[2K\x1b[1A" * extra)
            self._drawn_width = width

    def _print(self, text: Text) -> None:
        self._do(lambda: self._write(text))

    def _write(self, text: Text) -> None:
        """Print *text* above the tree, to stay; long lines are left for the terminal to wrap, so they can be copied."""
        if not self._roots:
            self._erase()
        elif self._live is not None:
            self._show(self._live, refresh=False)
        self._terminal.print(text, soft_wrap=True)
