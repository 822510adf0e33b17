"""Interrupts that do not stop, narrow terminals, odd places, and many runs at once."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

import pytest

from factory import cache, interrupts, ledger
from factory.ledger import started
from factory.workspace import Workspace
from tests import command_line
from tests.command_line import TOP, program, run
from tests.recipe_files import HEAD, write
from tests.test_machine import SCENARIO, child, told

ODD = "Bäse mit Leer zeichen 'und' \"mehr\" $HOME ; x"


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command_line.own_places(tmp_path, monkeypatch)


# -- interrupts

SLOW = (
    "import time\nfrom factory import build, preflight\nfrom factory.workspace import Workspace\n"
    "preflight.check = lambda *_, **__: None\n"
    "def wait(plan, options, chosen, workspace, publication, console):\n"
    "    (workspace.work / 'disk').touch()\n"
    "    console.say('Waiting for the test')\n"
    "    for _ in range(600):\n"  # a signal just before one long sleep would be seen after it
    "        time.sleep(0.1)\n"
    "build._run = wait\n"
    "build.accelerator.choose = lambda wanted: build.accelerator.Accelerator('tcg', 'asked for')\n"
    "fail = Workspace.fail\n"
    "def slow(self, **more):\n"
    "    print('cleaning', flush=True)\n"
    "    time.sleep(4)\n"
    "    return fail(self, **more)\n"
    "Workspace.fail = slow\n"
)


def slow_build(tmp_path: Path) -> subprocess.Popen[str]:
    words = program("build", "minimal", "--output", str(tmp_path / "out"), before=SLOW)
    process = subprocess.Popen(words, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr and process.stdout
    assert any("Waiting for the test" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    return process


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_interrupt_does_not_cut_the_cleaning_short(tmp_path: Path, second: signal.Signals) -> None:
    process = slow_build(tmp_path)
    time.sleep(interrupts.TOGETHER)
    process.send_signal(second)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "still cleaning up" in said and said.endswith("interrupted; everything is cleaned up\n")
    assert "Traceback" not in said
    assert ledger.entries(tmp_path / "state") == [] and not list((tmp_path / "state/builds").iterdir())


def test_what_several_programs_pass_on_is_one_interrupt(tmp_path: Path) -> None:
    process = slow_build(tmp_path)
    for _ in range(3):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130 and "still cleaning up" not in said
    assert ledger.entries(tmp_path / "state") == [] and not list((tmp_path / "state/builds").iterdir())


def test_a_third_one_ends_it_at_once_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    process = slow_build(tmp_path)
    start = time.monotonic()
    for _ in range(2):
        time.sleep(interrupts.TOGETHER + 0.1)
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - start < 3
    assert len(ledger.entries(tmp_path / "state")) == 1
    assert run("gc").returncode == 0
    assert ledger.entries(tmp_path / "state") == [] and not list((tmp_path / "state/builds").iterdir())
    assert not list((tmp_path / "out/minimal").glob(".*"))


# -- terminals and places


@pytest.mark.parametrize(
    "words", [("plan", "nginx"), ("bases", "list"), ("validate", "nope"), ("gc",), ("--help",), ("build", "nope")]
)
def test_a_terminal_of_twenty_columns(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
    process = subprocess.Popen(program(*words), cwd=TOP, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    text = b""
    try:
        while piece := os.read(leader, 65536):
            text += piece
    except OSError:
        pass  # its end
    os.close(leader)
    assert process.wait(30) in (0, 2)
    assert text and b"Traceback" not in text


@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_YY.nonsense"])
def test_a_locale_without_utf_8_and_places_with_umlauts(tmp_path: Path, locale: str) -> None:
    recipe = write(tmp_path / ODD, HEAD + "description: Grüße 🐧\nprovision: [{shell: echo Grüße}]\n")
    for words in (("plan", recipe), ("validate", recipe), ("bases", "list"), ("gc",)):
        done = run(*words, LC_ALL=locale, LANG=locale, PYTHONUTF8="0", FACTORY_STATE=str(tmp_path / ODD / "state"))
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.real
def test_a_machine_runs_in_a_place_with_blanks_umlauts_and_worse(tmp_path: Path) -> None:
    (facts,) = told([*SCENARIO, "nothing_to_boot"], tmp_path / ODD / "state", tmp_path / ODD / "cache")
    assert facts["code"] == "machine.no-boot-device"
    assert "SeaBIOS" in facts["console"]


def test_a_clock_that_jumps_breaks_no_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    workspace = Workspace.create("web", "0" * 8, output=tmp_path / "out", state=tmp_path / "state")
    for jump in (-10 * 365 * 86400, 10 * 365 * 86400):
        monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
        assert ledger.reap(tmp_path / "state") == [], "a living build is not taken for an old one"
        assert workspace.work.exists()
    workspace.keep_machine(ledger.KeptMachine("m", "root", "k", "", "c", ledger.since_boot() + 60))
    assert not ledger.expired(workspace.entry)
    workspace.commit()


# -- many at once


def test_twenty_plans_at_once_while_the_cache_changes(tmp_path: Path) -> None:
    store = cache.Cache(tmp_path / "cache")
    over = threading.Event()

    def change() -> None:
        number = 0
        while not over.is_set():
            number += 1
            (tmp_path / "image").write_bytes(b"QFI\xfb" + bytes([number % 256]) * 4096)
            entry = store.put("base", "debian-12-0123456789abcdef", tmp_path / "image", {})
            if number % 2:
                store.remove(entry)

    changing = threading.Thread(target=change)
    changing.start()
    try:
        plans = [
            subprocess.Popen(program("plan", "minimal"), cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(20)
        ]
        said = [plan.communicate(timeout=120) for plan in plans]
    finally:
        over.set()
        changing.join()
    assert [plan.returncode for plan in plans] == [0] * 20, said
    assert all(error == b"" for _, error in said)


@pytest.mark.real
def test_gc_and_other_builds_leave_a_living_machine_alone(tmp_path: Path) -> None:
    process = child([*SCENARIO, "runs_until_killed"], tmp_path / "state", tmp_path / "cache")
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    try:
        collectors = [subprocess.Popen(program("gc"), cwd=TOP, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        for collector in collectors:
            assert collector.communicate(timeout=60)[0] == "There was nothing to remove.\n"
        told([*SCENARIO, "both_at_once"], tmp_path / "state", tmp_path / "cache")
        assert started(facts["qemus"][0]["pid"]) is not None and Path(facts["folder"]).is_dir()
    finally:
        process.kill()
        process.communicate()


def test_a_lock_of_a_dead_process_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, time\nfrom factory import locking\nfrom factory.console import Console\nfrom pathlib import Path\n"
        "with locking.lock(Path(sys.argv[1]), what='it', console=Console.quiet()):\n"
        "    print('held', flush=True)\n    time.sleep(60)"
    )
    words = [program()[0], "-c", code, str(path)]
    holder = subprocess.Popen(words, cwd=TOP, stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline() == "held\n"
    waiter = subprocess.Popen(words, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(1)
    assert waiter.poll() is None
    holder.kill()
    start = time.monotonic()
    assert waiter.stdout and waiter.stdout.readline() == "held\n"
    assert time.monotonic() - start < 3
    for each in (holder, waiter):
        each.kill()
        each.wait()
