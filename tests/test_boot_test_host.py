"""What ends a boot test: a lack of this host is no fault of the image, and what the guest does is none of the host."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from factory import disk, preflight
from factory.boot_test import BootTest, run
from factory.console import Console
from factory.errors import HostError, MachineError
from factory.findings import Finding
from factory.guest import GuestRefused
from factory.hypervisor import hypervisor as hypervisors
from factory.hypervisor.connection import _start_error
from factory.hypervisor.domain import MachineSpec
from factory.plan import make_plan
from tests.recipe_files import HEAD
from tests.recipe_files import write as write_recipe

running = importlib.import_module("factory.boot_test.run")
real = pytest.mark.real
FULL_DISK = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class NoMachines(hypervisors.Hypervisor):
    """Boots nothing: a machine that is to be started, or is logged in to, ends as the test says."""

    def __init__(self, work: Path, start: Callable[[], None] = lambda: None) -> None:
        self.work = work
        self.accelerator: Any = SimpleNamespace(name="tcg", scale=1.0, why="a test")
        self.enclosure: Any = SimpleNamespace(path=lambda path: path)
        self._begin = start
        self.started: list[str] = []

    @contextlib.contextmanager
    def machine(self, spec: MachineSpec) -> Iterator[Any]:
        self.started.append(spec.name)
        self._begin()
        yield SimpleNamespace(spec=spec, uptime=1.0)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.qcow2"
    disk.create(path, "qcow2", 1 << 20)
    return path


def ending(error: Exception) -> Callable[..., Any]:
    def end(*_: object) -> None:
        raise error

    return end


def boot(image: Path, hypervisor: NoMachines, **changes: Any) -> Any:
    return run(BootTest(image, "debian", **changes), hypervisor, hypervisor.work, hypervisor.work, Console.quiet())


@real
def test_a_host_without_uefi_firmware_refuses_no_image(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hypervisors, "OVMF", ())
    machines = NoMachines(tmp_path)
    with pytest.raises(HostError) as caught:
        boot(image, machines)
    assert (caught.value.code, caught.value.status) == ("host.no-ovmf", 3)
    assert machines.started == []  # it is told before the boot by BIOS, which takes its minutes


@real
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FULL_DISK, "host.disk-full"),
        (HostError("The disk is full", code="host.disk-full"), "host.disk-full"),
        (MachineError("QEMU stopped it", code="machine.disk-not-written"), "machine.disk-not-written"),
        (_start_error("start it", "cannot set up guest memory 'pc.ram': Cannot allocate memory", ""), "host.memory"),
        (_start_error("start it", "Could not open '/dev/kvm': Permission denied", ""), "host.machine-start"),
    ],
)
def test_what_this_host_lacks_for_a_boot_refuses_no_image(
    tmp_path: Path, image: Path, error: Exception, code: str
) -> None:
    with pytest.raises((HostError, MachineError)) as caught:
        boot(image, NoMachines(tmp_path, ending(error)), uefi=False)
    assert caught.value.code == code
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.qcow2"]  # overlays and seeds are gone


@real
@pytest.mark.parametrize(
    "error",
    [
        MachineError("The kernel panicked", code="machine.panic"),
        OSError("Error reading SSH protocol banner"),
        ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)),
        GuestRefused("Authentication failed."),
    ],
)
def test_what_the_guest_does_refuses_the_image(
    tmp_path: Path, image: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "log_in", ending(error))
    outcome = boot(image, NoMachines(tmp_path), uefi=False)
    assert [finding.rule for finding in outcome.failed] == ["BOOT-LOGIN", "BOOT-LOGIN"]
    assert str(error) in outcome.failed[0].evidence
    assert [entry.state for entry in outcome.boots] == ["failed", "failed"]


@real
def test_so_does_a_machine_that_its_recipe_wants_and_that_cannot_be(tmp_path: Path, image: Path) -> None:
    error = _start_error("start it", "Address space limit 0xffffffffff < 0x400ffffffff phys-bits too low (40)", "")
    outcome = boot(image, NoMachines(tmp_path, ending(error)), mode="quick")
    assert [finding.rule for finding in outcome.failed] == ["BOOT-LOGIN"]
    assert "phys-bits too low" in outcome.failed[0].evidence


@real
def test_a_defect_of_the_factory_is_no_finding(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "log_in", ending(KeyError("x")))
    with pytest.raises(KeyError):
        boot(image, NoMachines(tmp_path), uefi=False)


@real
@pytest.mark.parametrize(("boot_tests", "wanted"), [("full", True), ("quick", False), ("none", False)])
def test_a_build_says_at_once_that_its_boots_lack_uefi_firmware(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot_tests: Literal["full", "quick", "none"], wanted: bool
) -> None:
    monkeypatch.setattr(hypervisors, "OVMF", ())
    monkeypatch.setattr(preflight, "_require_space", lambda *_: None)
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    plan = make_plan(str(write_recipe(tmp_path, HEAD)))
    with pytest.raises(HostError) if wanted else contextlib.nullcontext() as caught:
        preflight.check(plan, tmp_path / "out", boot_tests)
    assert not wanted or caught.value.code == "host.no-ovmf"  # type: ignore[union-attr]


def test_what_a_recipes_test_printed_is_shown_without_its_secrets(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console.quiet()
    console.redact("hunter2-secret")
    said = Finding(
        rule="TEST-1",
        status="fail",
        severity="error",
        subject="boot bios",
        evidence="t=hunter2-secret",
        why="",
        fix="",
        source="",
    )

    def ran(test: BootTest, boot: Any, *_: object) -> Any:
        return SimpleNamespace(boot=boot, findings=[said], facts=None, error=None)

    monkeypatch.setattr(running, "_run_boot", ran)
    monkeypatch.setattr(running, "_entry", lambda *_: None)
    machines = NoMachines(tmp_path)
    outcome = run(BootTest(image, "debian", mode="quick"), machines, tmp_path, tmp_path, console)
    assert outcome.failed[0].evidence == "t=***"
