"""What ends a machine after its login: this host's full disk refuses no image, and a dead guest is told by its cause.

The guest is a real SSH server; what libvirt would say of its machine the tests say.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory import beginning, disk
from factory.boot_test import BootTest, Outcome
from factory.console import Console
from factory.errors import HostError, MachineError
from factory.hypervisor.accelerator import Accelerator
from factory.hypervisor.domain import Disk, MachineSpec
from factory.hypervisor.hypervisor import Hypervisor
from factory.hypervisor.machine import Machine
from factory.recipe import Recipe
from tests.ssh_guest import FILES, SshGuest, ssh_guest
from tests.test_recipe_tests import GUEST, recipe_of

pytestmark = pytest.mark.real
running, facts = importlib.import_module("factory.boot_test.run"), importlib.import_module("factory.boot_test.facts")
NEVER_UP = "#!/bin/sh\necho starting\nexit 1\n"
# It ends the process that serves this connection.
CUTS = "command: {run: 'read -r _ _ _ server _ </proc/$PPID/stat; kill -9 $server; sleep 60', timeout: 5s}"
WAITS = "command: {run: sleep 60, timeout: 5s}"


class OneMachine(Hypervisor):
    """Its machine runs already, as *libvirt* says."""

    def __init__(self, work: Path, libvirt: dict[str, Any]) -> None:
        self.work = work
        self.accelerator = Accelerator("kvm", "a test")
        self.enclosure: Any = SimpleNamespace(path=lambda path: path)
        self.connection: Any = SimpleNamespace(**{"alive": lambda _: True, "stopped": lambda _: "", **libvirt})

    @contextlib.contextmanager
    def machine(self, spec: MachineSpec) -> Iterator[Machine]:
        machine = Machine(self, spec)
        machine._domain, machine._started = object(), time.monotonic()
        yield machine


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshGuest]:
    folder = tmp_path_factory.mktemp("ends") / "guest"
    files = GUEST | {
        "opt/bin/systemctl": NEVER_UP,
        "etc/passwd": FILES["etc/passwd"].replace("/bin/sh", "/opt/shell", 1),
    }
    with ssh_guest(folder, files, executable=("opt/shell", "opt/bin/sudo", "opt/bin/systemctl")) as server:
        yield server


@pytest.fixture
def boot(tmp_path: Path, guest: SshGuest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """A boot test whose guest has let us in."""
    image = tmp_path / "image.qcow2"
    disk.create(image, "qcow2", 1 << 20)
    monkeypatch.setattr(running, "log_in", lambda *_: guest.connect())
    monkeypatch.setattr(facts, "WAIT", 5)

    def boots(recipe: Recipe | None, **libvirt: Any) -> Outcome:
        if recipe:
            monkeypatch.setattr(running, "gather", lambda *_: None)
            monkeypatch.setattr(running.assertions, "check", lambda *_: [])
        test = BootTest(image, "root", "quick", recipe=recipe)
        outcome: Outcome = running.run(test, OneMachine(tmp_path, libvirt), tmp_path, tmp_path, Console.quiet())
        return outcome

    return boots


@pytest.mark.parametrize("test", ["", WAITS])
def test_a_full_disk_of_this_host_after_the_login_refuses_no_image(
    tmp_path: Path, boot: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, test: str
) -> None:
    """QEMU stops such a guest: it is silent, and its connection stays. That the disk is full is said here."""
    monkeypatch.setattr(disk, "full", lambda _: True)
    with pytest.raises(HostError) as caught:
        boot(recipe_of(tmp_path, test) if test else None, stopped=lambda _: "an input or output error")
    assert (caught.value.code, caught.value.status) == ("host.disk-full", 3)


def test_a_machine_that_ended_is_told_and_not_its_connection(tmp_path: Path, boot: Callable[..., Outcome]) -> None:
    (finding,) = boot(recipe_of(tmp_path, CUTS), alive=lambda _: False).failed
    assert finding.rule == "BOOT-LOGIN" and "QEMU ended before the end of a command" in finding.evidence


def test_so_is_a_panic(tmp_path: Path, boot: Callable[..., Outcome]) -> None:
    def alive(_: object) -> bool:
        (tmp_path / "console-bios.log").write_text("[ 99.0] Kernel panic - not syncing: x\n")
        return True

    (finding,) = boot(recipe_of(tmp_path, CUTS), alive=alive).failed
    assert finding.rule == "BOOT-LOGIN" and "The guest's kernel panicked" in finding.evidence


def test_a_connection_that_breaks_while_the_machine_runs_is_told_as_that(
    tmp_path: Path, boot: Callable[..., Outcome]
) -> None:
    (finding,) = boot(recipe_of(tmp_path, CUTS)).failed
    assert finding.rule == "BOOT-LOGIN" and "the connection to the guest broke" in finding.evidence


@pytest.mark.parametrize(("full", "code"), [(True, "host.disk-full"), (False, "machine.disk-not-written")])
def test_a_build_whose_guest_is_stopped_while_cloud_init_works(
    tmp_path: Path, guest: SshGuest, monkeypatch: pytest.MonkeyPatch, full: bool, code: str
) -> None:
    monkeypatch.setattr(disk, "full", lambda _: full)
    hypervisor = OneMachine(tmp_path, {"stopped": lambda _: "an input or output error"})
    disks = (Disk(tmp_path / "disk.qcow2", "qcow2"),)
    spec = MachineSpec("build", "u", "m", 1, tmp_path / "console-build.log", "kvm", disks)
    with (
        hypervisor.machine(spec) as machine,
        guest.connect() as session,
        pytest.raises((HostError, MachineError)) as caught,
    ):
        beginning._wait_for_cloud_init(session, machine, 0.02)  # of 300 s
    assert caught.value.code == code
