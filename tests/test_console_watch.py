"""The serial console: dead boots are recognised by their words, and boots that are well are left alone."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory import scrub
from factory.hypervisor.accelerator import Accelerator
from factory.hypervisor.console_watch import ConsoleWatch, clean
from factory.hypervisor.domain import MachineSpec
from factory.hypervisor.machine import Machine
from tests.consoles import ALIVE, CLOUD_INIT, DEATHS, LINUX, SEABIOS, WAITING

CASES = [(code, text) for code, texts in DEATHS.items() for text in texts]


@pytest.fixture
def console(tmp_path: Path) -> ConsoleWatch:
    return ConsoleWatch(tmp_path / "console.log")


def write(console: ConsoleWatch, text: str | bytes) -> None:
    with console.path.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def spec_on(console: Path) -> MachineSpec:
    return MachineSpec(name="build", uuid="u", mac="m", ssh_port=1, console=console, accelerator="tcg", disks=())


@pytest.mark.parametrize(("code", "text"), CASES, ids=[f"{code}-{number}" for number, (code, _) in enumerate(CASES)])
def test_a_dead_boot_has_its_name(console: ConsoleWatch, code: str, text: str) -> None:
    write(console, SEABIOS + text)
    console.read()
    death = console.death()
    assert death is not None
    sign, line = death
    assert sign.code == code
    assert line and line.isprintable()
    assert sign.cause and sign.hint


@pytest.mark.parametrize(("code", "text"), CASES, ids=[f"{code}-{number}" for number, (code, _) in enumerate(CASES)])
def test_so_it_has_when_it_comes_byte_by_byte(console: ConsoleWatch, code: str, text: str) -> None:
    for byte in (SEABIOS + text)[-700:].encode():
        write(console, bytes([byte]))
        console.read()
    death = console.death()
    assert death is not None and death[0].code == code


LATER = [(code, text) for code, texts in WAITING.items() for text in texts]


@pytest.mark.parametrize(("code", "text"), LATER, ids=[f"{code}-{number}" for number, (code, _) in enumerate(LATER)])
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_login_that_will_not_come_has_its_cause(console: ConsoleWatch, code: str, text: str, size: int) -> None:
    data = (SEABIOS + text)[-1400:].encode()
    for start in range(0, len(data), size):
        write(console, data[start : start + size])
        console.read()
    assert console.death() is None, "it runs: a command in it may well end"
    assert console.death(waiting=True) is None, "it may still come up"
    console._since -= 10
    death = console.death(waiting=True)
    assert death is not None and death[0].code == code
    assert 0 < death[0].patience < 10, "told within ten seconds of the guest showing it"
    write(console, "Kernel panic - not syncing: x\r\n")
    console.read()
    death = console.death()
    assert death is not None and death[0].code == "machine.kernel-panic", "what is certain comes first"


LATE = ["network at last", "ssh at last", "ssh at last, no cloud-init"]


@pytest.mark.parametrize("text", ALIVE, ids=["debian", "network", "dracut", "uefi", "nothing", *LATE, "words"])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_boot_that_is_well_is_left_alone(
    console: ConsoleWatch, text: str, size: int, request: pytest.FixtureRequest
) -> None:
    data = text.encode()
    late = any(each in request.node.name for each in LATE)  # well in the end: nobody dies meanwhile, if he is patient
    for start in range(0, len(data), size):
        write(console, data[start : start + size])
        console.read()
        console._since = time.monotonic() if late else 0
        assert console.death(waiting=True) is None, console.last_line()
    console._since = 0
    assert console.death(waiting=True) is None, console.last_line()


SSH_STARTS = "[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.\r\n"
SSH_FAILS = (
    "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mssh.service\x1b[0m - OpenBSD Secure Shell server.\r\n"
)
NOISE = "[ 21.0] and more, and more\r\n" * 4000


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        (SSH_STARTS + SSH_FAILS, True),
        (SSH_STARTS + NOISE + SSH_FAILS + NOISE, True),
        (SSH_FAILS + SSH_STARTS + SSH_FAILS, True),
        (SSH_STARTS + SSH_FAILS + SSH_STARTS, False),
        (SSH_FAILS + NOISE + SSH_STARTS + NOISE, False),
    ],
)
@pytest.mark.parametrize("words", [CLOUD_INIT, ""])
@pytest.mark.parametrize("size", [101, 1_000_000])
def test_an_ssh_server_that_ran_and_then_fails_for_good(
    console: ConsoleWatch, text: str, dead: bool, words: str, size: int
) -> None:
    """As when a command of cloud-init breaks its configuration and starts it anew."""
    data = (LINUX + words + text).encode()
    for start in range(0, len(data), size):
        write(console, data[start : start + size])
        console.read()
    console._since = 0
    death = console.death(waiting=True)
    assert (death[0].code if death else "") == (("machine.ssh-closed" if words else "machine.no-seed") if dead else "")


def test_an_ssh_server_that_does_not_start_is_told_within_ten_seconds_of_an_emulated_guest_too(tmp_path: Path) -> None:
    machine = Machine(SimpleNamespace(accelerator=Accelerator("tcg", "a test")), spec_on(tmp_path / "console"))  # type: ignore[arg-type]
    write(machine.console, LINUX + CLOUD_INIT + SSH_FAILS)
    machine.console.read()
    machine.console._since = time.monotonic() - 2
    assert machine.console.death(waiting=True) is None
    machine.console._since = time.monotonic() - 8
    death = machine.console.death(waiting=True)
    assert death and death[0].code == "machine.ssh-closed"


def test_an_emulated_guest_gets_more_time_to_come_up_all_the_same(tmp_path: Path) -> None:
    machines = [
        Machine(SimpleNamespace(accelerator=Accelerator(name, "a test")), spec_on(tmp_path / name))  # type: ignore[arg-type]
        for name in ("kvm", "tcg")
    ]
    for machine in machines:
        write(machine.console, LINUX + "[FAILED] Failed to start systemd-networkd-wait-online.service\r\n")
        machine.console.read()
    told = {}
    for seconds in (2, 10, 40):
        for machine in machines:
            machine.console._since = time.monotonic() - seconds
        told[seconds] = [machine.console.death(waiting=True) is not None for machine in machines]
    assert told == {2: [False, False], 10: [True, False], 40: [True, True]}


COMMAND = "[   10.0] cloud-init[300]: "


@pytest.mark.parametrize(("begin", "end"), [(COMMAND, "\r\n"), ("", " ... ")], ids=["lines", "one line"])
def test_a_line_is_not_taken_for_another_when_its_begin_is_forgotten(
    console: ConsoleWatch, begin: str, end: str
) -> None:
    """The begin of the line is why it is no shell of the system."""
    write(console, LINUX + CLOUD_INIT + COMMAND + "motd: Welcome to rescue mode handbook" + end)
    for number in range(700):
        write(console, f"{begin}Unpacking p{number} from the archive{end}")
        console.read()
        assert console.death() is None, f"after {number} lines: {console.death()}"
        assert console._recent.startswith("[")
    assert 10_000 < len(console._recent) <= 20_000
    write(console, "\r\nGive root password for maintenance\r\n")
    console.read()
    assert console.death() is not None


def test_what_ends_a_very_long_line_is_looked_at(console: ConsoleWatch) -> None:
    write(console, "x" * 19_000)
    console.read()
    write(console, "x" * 9000 + "Kernel panic - not syncing: y\r\n")
    console.read()
    assert console.death() is not None and console.tail().endswith("not syncing: y") and len(console.tail()) > 2900


def test_the_line_of_a_death_is_whole_once_it_has_come(console: ConsoleWatch) -> None:
    write(console, "[ 2.4] Kernel panic - not syncing: VF")
    console.read()
    write(console, "S: Unable to mount root fs\r\n[ 2.5] CPU: 0\r\n")
    console.read()
    death = console.death()
    assert death is not None
    assert death[1] == "[ 2.4] Kernel panic - not syncing: VFS: Unable to mount root fs"


def test_a_death_is_not_forgotten_while_the_guest_goes_on_talking(console: ConsoleWatch) -> None:
    write(console, LINUX + "Kernel panic - not syncing: x\r\n" + "[ 3.0] and more, and more\r\n" * 100_000)
    console.read()
    death = console.death()
    assert death is not None and death[0].code == "machine.kernel-panic"


def test_a_restart_forgets(console: ConsoleWatch) -> None:
    write(console, LINUX + "Kernel panic - not syncing: x\r\n")
    console.restart()
    assert console.death() is None
    assert not console.mentions("Linux version")
    write(console, LINUX)
    assert console.mentions("nothing of the kind", "Linux version")


def test_a_machine_hears_nothing_of_the_one_before_it_on_the_same_console(tmp_path: Path) -> None:
    """A restored guest that panics is followed by a cold boot, whose console goes on in the same file."""
    spec = spec_on(tmp_path / "console.log")
    hypervisor: Any = SimpleNamespace(accelerator=Accelerator("tcg", "a test"))
    machine = Machine(hypervisor, spec)
    write(machine.console, "Kernel panic - not syncing: x\r\nFACTORY-SCRUB failed logs\r\nFACTORY-SCRUB-DONE 1\r\n")
    machine.console.read()
    assert machine.console.death() is not None
    after = Machine(hypervisor, spec)
    after.console.read()
    assert after.console.death() is None and after.console.tail() == ""
    write(after.console, LINUX + "FACTORY-SCRUB-DONE 0\r\n")
    assert after.console.mentions("Linux version")
    assert scrub.outcome(after.console.whole()) == scrub.Outcome(True, ())
    assert "panic" in ConsoleWatch(spec.console).tail(), "people are shown all of it"


# -- the text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("\x1b[0;1;31mFAILED\x1b[0m\r\n", "FAILED\n"),
        ("\x1bc\x1b[?7l\x1b[2Jx", "x"),
        ("a\x1b(Bb\x1b)0c\x1b=d\x1b>e", "abcde"),
        ("\x1b]0;title\x07x\x1b]3008;start=1;user=root\x1b\\y", "xy"),
        ("\x1bP+q6e616d65\x1b\\x", "x"),
        ("\x1b[38;2;1;2;3mx\x1b[>0cy\x1b[ q", "xy"),
        ("one\rtwo\r\nthree\n", "one\ntwo\nthree\n"),
        ("a\x00b\x07c\x7fd\x9be\x85f", "abcdef"),
        ("tab\tstays, ünïcödé 🐧 too", "tab\tstays, ünïcödé 🐧 too"),
    ],
)
def test_control_sequences_are_taken_out(console: ConsoleWatch, raw: str, text: str) -> None:
    assert clean(raw) == text
    pieces = []
    for byte in raw.encode():
        write(console, bytes([byte]))
        pieces.append(console.read())
    assert "".join(pieces) == text


def test_the_last_line_and_the_tail(console: ConsoleWatch) -> None:
    assert (console.last_line(), console.tail()) == ("", "")
    write(console, "first\r\n" + "x" * 500 + "\r\n\r\n \r\n")
    assert console.tail().startswith("first\n")
    assert console.last_line() == "x" * 200
    write(console, "y\n" * 5000)
    assert len(console.tail()) <= 3000


def test_silence_is_counted_from_the_last_word(console: ConsoleWatch) -> None:
    write(console, "x")
    console.read()
    time.sleep(0.3)
    console.read()
    assert console.silent_for >= 0.3
    write(console, "x")
    console.read()
    assert console.silent_for < 0.2


# -- what is hostile


def test_a_console_that_is_not_there_yet(tmp_path: Path) -> None:
    console = ConsoleWatch(tmp_path / "none")
    assert console.read() == ""
    assert console.death() is None


@pytest.mark.parametrize(
    "content",
    [os.urandom(3_000_000), b"\x1b" * 3_000_000, b"\x1b]" * 1_500_000, b"\x1b[1;" * 700_000, b"x" * 3_000_000],
    ids=["random", "escapes", "open titles", "open sequences", "one line"],
)
def test_binary_rubbish_is_read_quickly_and_kept_small(console: ConsoleWatch, content: bytes) -> None:
    write(console, content)
    start = time.monotonic()
    console.read()
    assert time.monotonic() - start < 5
    assert console.death() is None
    assert len(console.tail()) <= 3000
    assert len(console._recent) <= 20_000 and len(console._unfinished) < 1000
    assert console.tail().isprintable() or "\n" in console.tail() or "\t" in console.tail()


def test_a_flood_is_read_piece_by_piece_and_nothing_of_it_is_lost(console: ConsoleWatch) -> None:
    with console.path.open("wb") as file:
        file.truncate(30_000_000)
    write(console, "\r\nKernel panic - not syncing: at the end\r\n")
    start = time.monotonic()
    rounds = 0
    while console.death() is None:
        console.read()
        rounds += 1
        assert rounds < 20
    assert rounds > 3
    assert time.monotonic() - start < 10


def test_two_threads_read_each_word_once(console: ConsoleWatch) -> None:
    words = [f"word-{number}\n" for number in range(2000)]
    heard: list[str] = []
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            heard.append(console.read())

    threads = [threading.Thread(target=listen) for _ in range(2)]
    for thread in threads:
        thread.start()
    for word in words:
        write(console, word)
    time.sleep(0.2)
    over.set()
    for thread in threads:
        thread.join()
    assert sorted("".join(heard).split()) == sorted(word.strip() for word in words)
