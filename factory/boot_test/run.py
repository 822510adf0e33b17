"""The boots of a boot test, side by side, and what is compared between them."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from factory import disk, seed
from factory.boot_test import assertions
from factory.boot_test.facts import Facts, gather
from factory.boot_test.recipe_tests import run_tests
from factory.checking import ignoring
from factory.errors import FactoryError, HostError, MachineError
from factory.files import touching
from factory.findings import Finding, failed
from factory.guest import GuestRefused
from factory.hypervisor.domain import Bus, Disk, Firmware, MachineSpec
from factory.hypervisor.fresh import free_port, new_mac, new_uuid
from factory.hypervisor.hypervisor import Hypervisor, ovmf
from factory.hypervisor.machine import Machine
from factory.login import log_in
from factory.manifest import BootEntry

if TYPE_CHECKING:
    from factory.console import Console, Stage
    from factory.recipe import Recipe

GIB = 1024**3
LEAST_MEMORY = GIB // 2
LOGIN_TRIES = 4  # to a guest that runs already


def memory_for(recipe: Recipe | None) -> int:
    """Bytes of memory for the guests of the boots of an image of *recipe*, or of one that nobody knows."""
    return max(recipe.requirements.memory, LEAST_MEMORY) if recipe else GIB


@dataclass(frozen=True)
class BootTest:
    """What is tested and how: *default_user* is the distribution's; *known_identity* are host keys and machine-id of
    the build."""

    image: Path
    default_user: str
    mode: Literal["full", "quick"] = "full"
    uefi: bool = True
    bios: bool = True
    recipe: Recipe | None = None
    memory: int = 1 * GIB
    known_identity: frozenset[str] = frozenset()

    @property
    def cpus(self) -> int:
        """Of each guest: one boot alone has the host for itself, two side by side share it."""
        return min(2, os.cpu_count() or 1) if self.mode == "quick" else 1


@dataclass(frozen=True)
class Outcome:
    """The boots that ran, and every finding."""

    boots: tuple[BootEntry, ...]
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> list[Finding]:
        """The findings for which the image is refused."""
        return failed(self.findings)


@dataclass(frozen=True)
class Boot:
    """One boot: how its machine differs from the others."""

    name: str
    firmware: Firmware
    chipset: Literal["q35", "pc"]
    bus: Bus
    datasource: Literal["NoCloud", "ConfigDrive"]
    nic_slot: int
    larger_by: int  # bytes
    reboot: bool = False


@dataclass
class Ran:
    """What one boot left behind."""

    boot: Boot
    findings: list[Finding] = field(default_factory=list)
    facts: Facts | None = None
    state: Literal["ok", "failed"] = "failed"
    seconds: float = 0.0
    login: float | None = None
    reboot: float | None = None
    error: BaseException | None = None  # what is no fault of the image


def boots_of(test: BootTest) -> list[Boot]:
    """The boots for *test*: an image that boots one way only takes that way both times."""
    first: Firmware = "bios" if test.bios else "uefi"
    second: Firmware = "uefi" if test.uefi else "bios"
    boots = [
        Boot(first, first, "pc" if first == "bios" else "q35", "virtio-blk", "NoCloud", 0x10, 10 * GIB, reboot=True),
        Boot(second if second != first else f"{second}-2", second, "q35", "virtio-scsi", "ConfigDrive", 0x11, GIB),
    ]
    if test.mode == "quick":
        return [Boot(first, first, "pc" if first == "bios" else "q35", "virtio-blk", "NoCloud", 0x10, 10 * GIB)]
    return boots


def needs_uefi(test: BootTest) -> bool:
    """Whether a boot of *test* is by UEFI."""
    return any(boot.firmware == "uefi" for boot in boots_of(test))


def run(test: BootTest, hypervisor: Hypervisor, work: Path, logs: Path, console: Console) -> Outcome:
    """Run the boots of *test*; consoles go to *logs*. Raises what is no fault of the image: a HostError, as a rule."""
    if needs_uefi(test):
        ovmf()  # that it is missing is told before the first boot, not after it
    before = disk.sha256(test.image)
    with console.stage("boot test") as stage:
        stage.note(test.mode)
        results = _side_by_side(
            [lambda boot=boot: _run_boot(test, boot, hypervisor, work, logs, stage) for boot in boots_of(test)]  # type: ignore[misc]
        )
        findings = [finding for result in results for finding in result.findings]
        findings += assertions.compare([(r.boot.name, r.facts) for r in results if r.facts], test.known_identity)
        findings.append(assertions.unchanged(before, disk.sha256(test.image)))
        for result in results:
            if result.error is not None:
                raise result.error
        bad = failed(findings)
        passed = len([finding for finding in findings if finding.status == "pass"])
        stage.note(f"{passed} passed, {len(bad)} failed" if bad else f"{passed} passed")
    # What a recipe's own test printed may repeat a secret of the recipe.
    shown = tuple(finding.model_copy(update={"evidence": console.safe(finding.evidence)}) for finding in findings)
    return Outcome(tuple(_entry(result, hypervisor) for result in results), shown)


def _side_by_side(boots: Sequence[Callable[[], Ran]]) -> list[Ran]:
    results: list[Ran | None] = [None] * len(boots)

    def start(number: int) -> None:
        results[number] = boots[number]()

    threads = [threading.Thread(target=start, args=(number,), daemon=True) for number in range(len(boots))]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():  # a join without end would keep Ctrl-C from us
            thread.join(0.5)
    return [result for result in results if result is not None]


def _run_boot(test: BootTest, boot: Boot, hypervisor: Hypervisor, work: Path, logs: Path, parent: Stage) -> Ran:
    ran = Ran(boot)
    start = time.monotonic()
    with parent.stage(boot.name) as stage:
        stage.note(f"{boot.bus}, {boot.datasource}")
        try:
            _boot(test, boot, ran, hypervisor, work, logs)
        except (FactoryError, OSError, GuestRefused) as error:
            if _of_this_host(error):
                ran.error = error
            else:
                ran.findings.append(assertions.did_not_boot(boot.name, error))
        except BaseException as error:  # noqa: BLE001 - of a thread: raised again by the one that waits
            ran.error = error
        bad = failed(ran.findings)
        ran.state = "failed" if bad or ran.error else "ok"
        ran.seconds = time.monotonic() - start - (ran.reboot or 0)
        if ran.error is not None:
            stage.note("this host lacks something for it" if _of_this_host(ran.error) else "broken off")
        elif bad:
            stage.note(f"{len(bad)} of {len(ran.findings)} failed: {', '.join(f.rule for f in bad[:4])}")
        else:
            stage.note(f"{boot.bus}, {boot.datasource}, login after {ran.login or 0:.0f} s")
    return ran


def _of_this_host(error: BaseException) -> bool:
    """Whether this host is why a boot ended: what it lacks, or a fault of its disk."""
    return isinstance(error, HostError) or (
        isinstance(error, MachineError) and error.code == "machine.disk-not-written"
    )


def _boot(test: BootTest, boot: Boot, ran: Ran, hypervisor: Hypervisor, work: Path, logs: Path) -> None:
    login = seed.new_keypair("boot-test")
    overlay, iso = work / f"test-{boot.name}.qcow2", work / f"test-{boot.name}.iso"
    with contextlib.ExitStack() as running:
        running.callback(iso.unlink, missing_ok=True)
        running.callback(overlay.unlink, missing_ok=True)
        # What the system refuses here is of this host's files; after it, of the connection to the guest.
        with touching(work, "Starting a boot test"):
            spec, given = _prepared(test, boot, login, overlay, iso, hypervisor, logs)
            machine = running.enter_context(hypervisor.machine(spec))
        guest = log_in(machine, test.default_user, login, None)
        ran.login = machine.uptime
        with guest, machine.told():
            ran.facts = gather(guest, machine, hypervisor.accelerator.scale)
            allowed = tuple(test.recipe.checks.allow_users) if test.recipe else ()
            ran.findings += assertions.check(assertions.Seen(boot, given, test.default_user, ran.facts, allowed))
            if test.recipe:
                ran.findings += run_tests(test.recipe, guest, machine, boot.name, hypervisor.accelerator.scale)
        if boot.reboot:
            start = time.monotonic()
            ran.findings += _reboot(test, boot, machine, login, ran.facts, hypervisor)
            ran.reboot = time.monotonic() - start
        machine.refused = _refuses(test, ran.findings)


def _prepared(
    test: BootTest, boot: Boot, login: seed.KeyPair, overlay: Path, iso: Path, hypervisor: Hypervisor, logs: Path
) -> tuple[MachineSpec, seed.Seed]:
    """The machine of *boot* with its disks, and what its seed gives it. Raises HostError or OSError."""
    identity, mac = new_uuid(), new_mac()
    given = seed.test_seed(
        hostname=f"boot-test-{secrets.token_hex(3)}",
        instance_id=identity,
        login=login,
        datasource=boot.datasource,
        mac=mac,
    )
    seed.write(given, iso)
    size = disk.info(test.image, "qcow2").virtual_size + boot.larger_by
    disk.create_overlay(hypervisor.enclosure.path(test.image), "qcow2", overlay, size)
    spec = MachineSpec(
        name=f"test-{boot.name}",
        uuid=identity,
        mac=mac,
        ssh_port=free_port(),
        console=logs / f"console-{boot.name}.log",
        accelerator=hypervisor.accelerator.name,
        disks=(Disk(overlay, "qcow2", boot.bus), Disk(iso, "raw", boot.bus, readonly=True)),
        cpus=test.cpus,
        memory=test.memory,
        chipset=boot.chipset,
        network="restrict",
        nic_slot=boot.nic_slot,
        uefi=hypervisor.uefi(f"test-{boot.name}") if boot.firmware == "uefi" else None,
    )
    return spec, given


def _refuses(test: BootTest, findings: Sequence[Finding]) -> bool:
    """Whether *findings* refuse the image; what its recipe ignores does not."""
    return bool(failed(ignoring(findings, test.recipe.checks.ignore if test.recipe else {})))


def _reboot(
    test: BootTest, boot: Boot, machine: Machine, login: seed.KeyPair, before: Facts, hypervisor: Hypervisor
) -> list[Finding]:
    """Reboot the guest from inside, and look whether it is the same machine and as well as before."""
    machine.console.restart()  # before the command: it may be told only when the next boot has begun
    guest = log_in(machine, test.default_user, login, None, seconds=LOGIN_TRIES * machine.answer_time)
    with guest, contextlib.suppress(MachineError):  # it may cut the connection before it has told its status
        guest.run("sudo -n systemctl reboot", check=False)
    machine.wait_until(
        lambda: machine.console.mentions("Linux version", "reboot: "), "the shutdown", quiet_allowed=True
    )
    guest = log_in(machine, test.default_user, login, None)
    with guest, machine.told():
        after = gather(guest, machine, hypervisor.accelerator.scale)
        findings = assertions.after_reboot(boot.name, before, after)
        if test.recipe:
            findings += run_tests(
                test.recipe, guest, machine, f"{boot.name} after its reboot", hypervisor.accelerator.scale
            )
    return findings


def _entry(ran: Ran, hypervisor: Hypervisor) -> BootEntry:
    return BootEntry(
        name=ran.boot.name,
        firmware=ran.boot.firmware,
        bus=ran.boot.bus,
        datasource=ran.boot.datasource,
        seconds=round(ran.seconds, 1),
        state=ran.state,
        login_seconds=round(ran.login, 1) if ran.login else None,
        reboot_seconds=round(ran.reboot, 1) if ran.reboot else None,
        accelerator=hypervisor.accelerator.name,
        console=f"console-{ran.boot.name}.log",
    )
