"""The live tree, on a real pseudo-terminal whose screen is worked out from what was written to it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from factory.console.text import cells

ROOT = Path(__file__).parents[1]
PYTHONPATH = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

BUILD = """
import threading, time
from factory.console import Console
from factory.errors import StepFailed
console = Console.create("text")
console.redact("hunter2")
console.say("first line")
with console.stage("base debian-12") as stage:
    stage.cached("2 days old")
with console.stage("build nginx"):
    with console.stage("customise"):
        for step in range(12):
            with console.stage(f"step {step}"):
                for line in range(5):
                    console.output(f"\\x1b[2J[red]line {line} hunter2 中文字符 a long line that goes on and on and on")
                    time.sleep(0.002)
                time.sleep(0.3 if step == 11 else 0)  # long enough for a frame
        console.warn("the clock is behind")
    with console.stage("convert") as stage:
        for done in range(0, 101, 5):
            stage.progress(done << 20, 100 << 20)
            time.sleep(0.03)
    with console.stage("boot test") as boots:
        def boot(name):
            with boots.stage(name) as stage:
                for line in range(10):
                    stage.output(f"{name} says {line}")
                    time.sleep(0.03)
        threads = [threading.Thread(target=boot, args=(name,)) for name in ("bios", "uefi, virtio-scsi, ConfigDrive")]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
try:
    with console.stage("unlucky"):
        raise StepFailed("Step 2 failed", hint="Look", output="the last line")
except StepFailed as error:
    console.error(error)
console.chart()
console.close()
"""


@dataclass
class Shown:
    """What a terminal got: the exit status, the raw text, and the lines that stay on it."""

    status: int
    raw: str
    lines: list[str]
    cursor: bool


def screen(raw: str, width: int) -> tuple[list[str], bool]:
    """The lines (scrolled ones too) after *raw*, for the few sequences that the console may use; any other fails."""
    lines: list[list[str]] = [[]]
    row = column = 0
    cursor = True
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|.|\n", raw, re.DOTALL):
        if token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0  # the terminal's line discipline writes \r\n
        elif match := re.fullmatch(r"\x1b\[(\??[0-9;]*)([A-Za-z])", token):
            argument, action = match[1], match[2]
            if action == "A":
                row = max(row - int(argument or 1), 0)
            elif action == "K" and argument == "2":
                lines[row] = []
            elif action in "hl" and argument == "?25":
                cursor = action == "h"
            else:
                assert action == "m", f"unexpected sequence {token!r}"
        else:
            assert token >= " ", f"unexpected character {token!r}"
            if column + cells(token) > width:
                row, column = row + 1, 0
                lines += [[] for _ in range(row + 1 - len(lines))]
            line = lines[row]
            line += [" "] * (column - len(line))
            line[column : column + cells(token)] = [token] + [""] * (cells(token) - 1)
            column += cells(token)
        lines += [[] for _ in range(row + 1 - len(lines))]
    return ["".join(line).rstrip() for line in lines], cursor


def run(
    code: str,
    *,
    width: int = 80,
    height: int = 24,
    environment: Mapping[str, str] | None = None,
    interrupt_on: str | None = None,
) -> Shown:
    """Run *code* with its standard error on a pseudo-terminal; *interrupt_on* sends SIGINT when that text shows."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "VIRTUAL_ENV")}
    variables = kept | {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": PYTHONPATH} | dict(environment or {})
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=follower,
        stdout=subprocess.DEVNULL,
        stderr=follower,
        env=variables,
        start_new_session=True,
    )
    os.close(follower)
    chunks: list[bytes] = []

    def read() -> None:
        sent = False
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while block := os.read(leader, 65536):
                chunks.append(block)
                if interrupt_on and not sent and interrupt_on.encode() in b"".join(chunks):
                    sent = True
                    process.send_signal(signal.SIGINT)

    reader = threading.Thread(target=read)
    reader.start()
    status = process.wait(60)
    reader.join(10)
    os.close(leader)
    raw = b"".join(chunks).decode("utf-8")
    lines, cursor = screen(raw, width)
    return Shown(status, raw, [line for line in lines if line], cursor)


def test_what_stays_on_the_screen_is_a_tree_with_seconds() -> None:
    shown = run(BUILD)
    assert shown.status == 0 and shown.cursor
    seconds = r" +\d+\.\d s"
    patterns = [
        "first line",
        rf"≡ base debian-12  \(2 days old\){seconds}",
        "warning: the clock is behind",
        rf"✔ build nginx{seconds}",
        rf"  ✔ customise{seconds}",
        *(rf"    ✔ step {step}{seconds}" for step in range(12)),
        rf"  ✔ convert  100\.0 MiB{seconds}",
        rf"  ✔ boot test{seconds}",
        rf"    ✔ bios{seconds}",
        rf"    ✔ uefi, virtio-scsi, ConfigDrive{seconds}",
        rf"✘ unlucky{seconds}",
        r"error: Step 2 failed\. Look\. \[step\.failed\]",
        r"    \| the last line",
    ]
    for pattern, line in zip(patterns, shown.lines, strict=False):
        assert re.fullmatch(pattern, line), (pattern, line)
    assert "█" in shown.lines[len(patterns)]
    assert "hunter2" not in shown.raw and "[red]line" in shown.raw


def test_while_it_runs_bars_and_the_last_lines_of_output_show() -> None:
    shown = run(BUILD, width=100)
    frames = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.raw)
    assert re.search(r"━+╌+ \d+ %  \d+\.0 of 100\.0 MiB", frames)
    assert "│ bios says 5" in frames and "│ uefi, virtio-scsi, ConfigDrive says 5" in frames
    assert "bios says" not in "\n".join(shown.lines)


@pytest.mark.parametrize("width", [1, 12, 20, 40])
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_any_width_and_locale_leaves_no_remains(width: int, locale: str) -> None:
    shown = run(BUILD, width=width, height=10, environment={"LANG": locale, "LC_ALL": locale})
    assert shown.status == 0 and shown.cursor
    if locale == "C":
        assert shown.raw.isascii()
    if width >= 12:
        marks = "+" if locale == "C" else "✔"
        tree = [line for line in shown.lines if line.lstrip().startswith(marks)]
        assert len(tree) == 18 and all(cells(line) < width for line in tree)
        spinners = "|/-\\⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
        assert not [line for line in shown.lines if re.match(rf" *[{re.escape(spinners)}] (?!the)\w", line)]


def test_no_color_means_no_color() -> None:
    colours = r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;[\d;]+)m"
    code = "from factory.console import Console\nwith Console.create().stage('one'):\n    pass"
    assert re.search(colours, run(code).raw)
    assert not re.search(colours, run(code, environment={"NO_COLOR": "1"}).raw)


@pytest.mark.parametrize("environment", [{"CI": "true"}, {"TERM": "dumb"}, {"TERM": ""}])
def test_ci_and_dumb_terminals_get_plain_lines(environment: dict[str, str]) -> None:
    shown = run(BUILD, environment=environment)
    assert "\x1b" not in shown.raw
    assert re.match(
        r"\d\d:\d\d:\d\d build nginx/convert \.\.\.$", next(line for line in shown.lines if "convert" in line)
    )


def test_interrupts_at_any_moment_leave_a_whole_screen() -> None:
    code = """
import random, signal, time
from factory.console import Console
console = Console.create("text")
random.seed(int(__import__("os").environ["SEED"]))
try:
    with console.stage("outer"):
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.02 + random.random() / 20)
        for number in range(10_000):
            with console.stage("inner") as stage:
                stage.output("text")
                stage.progress(number, 10_000)
except KeyboardInterrupt:
    console.say("interrupted")
    with console.stage("cleaning up"):
        pass
    assert [record.state for record in console.timeline() if record.depth == 0] == ["failed", "ok"]
    console.close()
    raise SystemExit(130)
"""
    for seed in range(12):
        shown = run(code, environment={"SEED": str(seed)})
        assert shown.status == 130 and shown.cursor, shown.raw[-2000:]
        assert re.match(r"✘ outer  \(interrupted\) ", shown.lines[0]), shown.lines
        line = re.compile(r"  (✔ inner|✘ inner  (\d+ B )?\(interrupted\)) ")
        assert all(line.match(shown_line) for shown_line in shown.lines[1:-2]), shown.lines
        assert shown.lines[-2] == "interrupted" and shown.lines[-1].startswith("✔ cleaning up ")


def test_an_interrupt_leaves_the_stages_marked_and_the_cursor_back() -> None:
    code = """
import time
from factory.console import Console
console = Console.create("text")
try:
    with console.stage("machine"), console.stage("waiting for SSH"):
        for _ in range(300):  # a signal just before one long sleep would be seen after it
            time.sleep(0.1)
except KeyboardInterrupt:
    raise SystemExit(130)
"""
    started = time.monotonic()
    shown = run(code, interrupt_on="waiting for SSH")
    assert time.monotonic() - started < 15
    assert shown.status == 130 and shown.cursor
    assert re.fullmatch(r"✘ machine  \(interrupted\) +\d\.\d s", shown.lines[0])
    assert re.fullmatch(r"  ✘ waiting for SSH  \(interrupted\) +\d\.\d s", shown.lines[1])


def test_an_exit_without_close_gives_the_cursor_back() -> None:
    code = """
from factory.console import Console
console = Console.create("text")
stage = console.stage("never ended").__enter__()
"""
    shown = run(code)
    assert shown.status == 0 and shown.cursor and "?25l" in shown.raw
    assert shown.lines == []


def test_a_thread_that_outlives_its_stage_still_gets_its_line() -> None:
    code = """
from factory.console import Console
console = Console.create("text")
with console.stage("boot test") as boots:
    late = boots.stage("bios").__enter__()
late.__exit__(None, None, None)
console.say("after")
"""
    shown = run(code)
    assert shown.status == 0
    assert re.match("✔ boot test ", shown.lines[0])
    assert any(re.match("✔ boot test/bios ", line) for line in shown.lines)
    assert shown.lines[-1] == "after"


def test_the_terminal_going_away_does_not_stop_the_work() -> None:
    code = """
import time
from factory.console import Console
console = Console.create("text")
for number in range(20):
    with console.stage(f"stage {number}"):
        time.sleep(0.05)
open(__import__("os").environ["PROOF"], "w").write(str(len(console.timeline())))
"""
    leader, follower = pty.openpty()
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stderr=follower,
        stdout=writing,
        pass_fds=(writing,),
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "PYTHONPATH": PYTHONPATH, "PROOF": f"/dev/fd/{writing}"},
    )
    os.close(follower)
    os.close(writing)
    os.read(leader, 1)
    os.close(leader)
    assert process.wait(30) == 0
    assert os.read(reading, 10) == b"20"
    os.close(reading)
