"""Why a step failed: by the words of programs, by the guest's own answer, and for a guest that answers no more."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.console import Console
from factory.errors import FactoryError, MachineError, StepFailed
from factory.guest import Guest
from factory.provision import causes, session
from factory.provision.session import FOLDER, Session
from tests.ssh_guest import SshGuest, ssh_guest
from tests.test_provision import recipe_of

WORDS = [
    ("cp: error writing '/x': No space left on device", "step.guest-disk-full", "disk is full"),
    ("E: You don't have enough free space in /var/cache/apt/archives/.", "step.guest-disk-full", "disk is full"),
    (
        "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 612 (unattended-upgr)\n"
        "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?",
        "step.package-lock",
        "612 (unattended-upgr)",
    ),
    (
        "dpkg: error: dpkg frontend lock was locked by another process with pid 4711\nNote: removing the lock file",
        "step.package-lock",
        "4711",
    ),
    ("dpkg: error: dpkg status database is locked by another process", "step.package-lock", "not named"),
    (
        "Err:1 http://deb.example bookworm InRelease\n  Temporary failure resolving 'deb.example'",
        "step.archive-unreachable",
        "deb.example",
    ),
    ("curl: (6) Could not resolve host: files.example", "step.archive-unreachable", "files.example"),
    ("curl: (7) Failed to connect to 192.0.2.1 port 80: Connection timed out", "step.archive-unreachable", "192.0.2.1"),
    ("E: Could not connect to 10.0.2.2:3142 (10.0.2.2).", "step.archive-unreachable", "10.0.2.2:3142"),
    ("terminate called after throwing an instance of 'std::bad_alloc'", "step.guest-out-of-memory", "memory"),
]


@pytest.mark.parametrize(("output", "code", "word"), WORDS, ids=range(len(WORDS)))
def test_the_words_of_programs_become_the_cause(output: str, code: str, word: str) -> None:
    found = causes._read(f"Get:1 something\n{output}\nand then it gave up")
    assert found is not None
    cause, hint, found_code = found
    assert found_code == code and word in cause and hint


@pytest.mark.parametrize("output", ["", "make: *** [all] Error 2", "locked doors, spaces left, memory lane"])
def test_other_words_have_no_cause(output: str) -> None:
    assert causes._read(output) is None


DF = """412.50 700.10
Filesystem     1024-blocks    Used Available Capacity Mounted on
/dev/vda1          3930292 {used} 0      {percent} /
/dev/vda15          126678   11840    114838      10% /boot/efi
Filesystem      Inodes IUsed   IFree IUse% Mounted on
/dev/vda1       262144 28000  234144   11% /
"""
KILLED = "[  411.871236] Out of memory: Killed process 733 (tail) total-vm:1904500kB, anon-rss:1772580kB\n"


def test_the_guests_own_answer_is_understood() -> None:
    assert causes.judged(DF.format(used=1, percent="40%"), 10) is None
    full = causes.judged(DF.format(used=3930292, percent="100%"), 10)
    assert full is not None and full[2] == "step.guest-disk-full" and "at / is full" in full[0]
    inodes = causes.judged(DF.format(used=1, percent="40%").replace("11% /", "100% /"), 10)
    assert inodes is not None and inodes[2] == "step.guest-disk-full"
    killed = causes.judged(DF.format(used=1, percent="40%") + KILLED, 10)
    assert killed is not None and killed[2] == "step.guest-out-of-memory" and "killed tail" in killed[0]
    long_ago = KILLED.replace("411.871236", "  20.000000")
    assert causes.judged(DF.format(used=1, percent="40%") + long_ago, 10) is None, "of an earlier step, which went well"
    before = KILLED.replace("411.871236", "409.500000")  # a step ended with it, and this one began at once
    uptime = float(DF.split()[0])
    assert causes.judged(DF.format(used=1, percent="100%") + before, uptime - 411.0) == full
    assert causes.judged("", 10) is None


def test_a_guest_that_answers_nonsense_is_no_defect_of_ours() -> None:
    for answer in ("9" * 5000 + ".1 2\n", "1..2 3\n", f"1.0 2.0\noom_kill {'9' * 5000}\noom_kill 1\n"):
        assert causes.judged(answer + KILLED.replace("411.871236", "4.1.1"), 10) is None


@pytest.mark.parametrize(
    ("before", "now", "code"), [(1, 1, "step.guest-disk-full"), (1, 2, "step.guest-out-of-memory")]
)
def test_a_kernel_that_counts_its_kills_needs_no_clock(before: int, now: int, code: str) -> None:
    counted = f"\noom_kill {before}\noom_kill {now}\n"
    answer = DF.format(used=1, percent="100%").replace("\n", counted, 1) + KILLED
    found = causes.judged(answer, 10)
    assert found is not None and found[2] == code
    no_log = causes.judged(answer.replace(KILLED, "").replace("100%", "40%"), 10)
    assert (no_log is not None and "killed a program" in no_log[0]) == (now > before)


# -- behind a real SSH server

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="the guest's own root is needed")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshGuest]:
    with ssh_guest(tmp_path_factory.mktemp("causes") / "guest") as running:
        yield running


def failing(connected: Guest, folder: Path, command: str, **more: object) -> FactoryError:
    recipe = recipe_of(folder, "  - shell: 'true'\n")
    connected.run(f"install -d -m 0700 {FOLDER}")
    opened = Session(connected, recipe, Console.quiet(), "file", lambda: True, **more)  # type: ignore[arg-type]
    with pytest.raises(FactoryError) as caught:
        opened.run(command, "step 1 (shell, case.yaml line 7)")
    return caught.value


@pytest.mark.real
@AS_ROOT
def test_a_step_that_fails_is_told_with_its_cause(guest: SshGuest, tmp_path: Path) -> None:
    with guest.connect() as connected:
        error = failing(connected, tmp_path, "echo begun; echo 'cp: x: No space left on device' >&2; exit 1")
    assert isinstance(error, StepFailed) and error.code == "step.guest-disk-full"
    assert "It last said: cp: x: No space left" in error.cause and "larger 'disk'" in error.hint
    assert error.output.startswith("begun")


@pytest.mark.real
@AS_ROOT
def test_what_the_kernel_had_killed_is_noted_before_a_command(guest: SshGuest, tmp_path: Path) -> None:
    with guest.connect() as connected:
        connected.run(f"install -d -m 0700 {FOLDER} && echo oom_kill 123456789 > {causes.BEFORE}")
        failing(connected, tmp_path, "exit 1")
        before, now = causes.COUNT.findall(connected.read(causes.QUESTION))
    assert before == now != "123456789"


@pytest.mark.real
@AS_ROOT
def test_a_step_that_fails_for_its_own_reasons_stays_as_it_is(guest: SshGuest, tmp_path: Path) -> None:
    with guest.connect() as connected:
        error = failing(connected, tmp_path, "echo no; exit 3")
    assert error.code == "step.failed" and "status 3" in error.message


@pytest.mark.real
@AS_ROOT
def test_what_killed_the_machine_is_told_when_the_connection_breaks(tmp_path: Path) -> None:
    ends = threading.Event()

    def alive() -> bool:
        if ends.is_set():
            raise MachineError("The guest's kernel panicked", code="machine.kernel-panic")
        return True

    def end() -> None:
        connected.close()
        ends.set()

    with ssh_guest(tmp_path / "guest") as running, running.connect() as connected:
        recipe = recipe_of(tmp_path, "  - shell: 'true'\n")
        opened = Session(connected, recipe, Console.quiet(), "file", alive)
        with pytest.raises(MachineError) as caught:
            threading.Timer(1, end).start()
            opened.run("sleep 60", "step 1")
    assert caught.value.code == "machine.kernel-panic"


@pytest.mark.real
@AS_ROOT
@pytest.mark.parametrize(("answers", "code"), [(False, "machine.frozen"), (True, "machine.connection-lost")])
def test_a_guest_that_is_frozen_before_a_command_begins(tmp_path: Path, answers: bool, code: str) -> None:
    with ssh_guest(tmp_path / "guest") as running, running.connect() as connected:
        recipe = recipe_of(tmp_path, "  - shell: 'true'\n")
        opened = Session(connected, recipe, Console.quiet(), "file", lambda: True, answers=lambda: answers)
        connected.close()
        with pytest.raises(MachineError) as caught:
            opened.run("true", "step 1")
    assert caught.value.code == code


@pytest.mark.real
@AS_ROOT
def test_a_guest_that_is_silent_is_asked_and_one_that_is_frozen_is_told(
    guest: SshGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SILENCE", 0.5)
    asked: list[float] = []

    def never() -> bool:
        asked.append(time.monotonic())
        return False

    with guest.connect() as connected:
        start = time.monotonic()
        error = failing(connected, tmp_path, "sleep 60", answers=never)
        assert error.code == "machine.frozen" and len(asked) == 2
        assert time.monotonic() - start < 15
    asked.clear()
    with guest.connect() as connected:
        recipe = recipe_of(tmp_path / "b", "  - shell: 'true'\n")
        opened = Session(connected, recipe, Console.quiet(), "file", lambda: True, answers=lambda: not never())
        assert opened.run("sleep 6", "step 1").status == 0
    assert asked, "it was silent, was asked, and went on"
