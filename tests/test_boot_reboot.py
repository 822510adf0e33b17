"""The reboot of a boot test: a slow host and a connection that is cut late are no faults of the image."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory.boot_test import BootTest
from factory.errors import MachineError
from factory.guest import Guest
from factory.hypervisor.console_watch import ConsoleWatch
from factory.seed import new_keypair

running = importlib.import_module("factory.boot_test.run")


class SlowMachine:
    """A guest under emulation: its SSH refuses the first attempt, and needs longer than 10 s for any other."""

    answer_time = 30.0

    def __init__(self, folder: Path) -> None:
        self.console = ConsoleWatch(folder / "console.log")
        self.spec = SimpleNamespace(ssh_port=1, console=self.console.path)
        self.say("Linux version 6.1\nFailed to start ssh.service\n")
        self.waited: list[str] = []
        self.attempts = 0

    def say(self, text: str) -> None:
        with self.console.path.open("a") as file:
            file.write(text)

    def wait_until(self, ready: Callable[[], bool], what: str, **_: object) -> float:
        self.waited.append(what)
        assert any(ready() for _ in range(3)), f"no end of the wait for {what}"
        return 1.0

    def told(self) -> Any:
        return contextlib.nullcontext()

    def connect(self, *_: object, timeout: float = 10.0) -> Any:
        self.attempts += 1
        if self.attempts == 1 or timeout < 30:
            raise OSError("Error reading SSH protocol banner")
        return SlowGuest(self)


class SlowGuest:
    host_key = "ssh-ed25519 AAAA"

    def __init__(self, machine: SlowMachine) -> None:
        self.machine = machine

    def __enter__(self) -> SlowGuest:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def run(self, command: str, **_: object) -> None:
        assert "reboot" in command
        assert not self.machine.console.mentions("Linux version"), "what the boot before said would end the wait"
        self.machine.say("[   99.0] reboot: Restarting system\nLinux version 6.1\n")
        raise MachineError("the connection to the guest broke", code="machine.connection-lost")


def test_a_reboot_of_a_slow_guest_that_cuts_its_connection_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = SlowMachine(tmp_path)
    monkeypatch.setattr(Guest, "connect", machine.connect)
    monkeypatch.setattr(running, "gather", lambda *_: "facts")
    monkeypatch.setattr(running.assertions, "after_reboot", lambda _, before, after: [(before, after)])
    test = BootTest(tmp_path / "image.qcow2", "debian")
    boot = running.boots_of(test)[0]
    hypervisor = SimpleNamespace(accelerator=SimpleNamespace(scale=5.0))
    found = running._reboot(test, boot, machine, new_keypair("login"), "before", hypervisor)
    assert found == [("before", "facts")]
    assert machine.waited == ["a login over SSH", "the shutdown", "a login over SSH"]
