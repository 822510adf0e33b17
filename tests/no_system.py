"""Machines without an operating system, each scenario in a process of its own: ``python -m tests.no_system NAME ...``.

A process has one embedded libvirt, at the place that FACTORY_STATE names, so a test that cares about places needs its
own process. Each scenario prints lines of JSON. The guests are boot sectors of 512 bytes: SeaBIOS runs them in well
under a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory import disk
from factory.errors import FactoryError, MachineError
from factory.hypervisor import embedded, watcher
from factory.hypervisor.accelerator import Accelerator
from factory.hypervisor.domain import DirectKernel, Disk, MachineSpec, domain_xml
from factory.hypervisor.fresh import free_port, new_mac, new_uuid
from factory.hypervisor.hypervisor import Hypervisor
from factory.hypervisor.kept_machine import Login
from factory.hypervisor.machine import Machine, Timeouts
from factory.seed import new_keypair
from factory.workspace import Workspace

TCG = Accelerator("tcg", "asked for")
MIB = 1 << 20
# What the sector does after it has spoken (16 bit, real mode):
SPIN = bytes.fromhex("ebfe")  # jmp $
POWER_OFF = bytes.fromhex("ba0406 b80020 ef ebfe")  # out 0x604, 0x2000: QEMU's ACPI on q35
RESET = bytes.fromhex("b0fe e664 ebfe")  # the keyboard controller's reset line
TWO_SECONDS = bytes.fromhex("fb b92400 f4 e2fd")  # sti; mov cx, 36 ticks; hlt; loop back to it


def kernel_header() -> bytes:
    """As much of a Linux kernel as QEMU asks for before it loads one: its header, protocol 2.12."""
    header = bytearray(8192)
    fields = {0x1F1: b"\x04", 0x1FE: b"\x55\xaa", 0x202: b"HdrS\x0c\x02", 0x211: b"\x01", 0x22C: b"\xff\xff\xff\x37"}
    for offset, value in fields.items():  # setup_sects, signatures and version, loaded high, highest place of an initrd
        header[offset : offset + len(value)] = value
    return bytes(header)


def sector(words: str, then: bytes) -> bytes:
    """A boot sector that writes *words* to the first serial port, byte by byte, and does *then*."""
    #  xor ax,ax; mov ds,ax; mov si,0x7d00; lodsb; or al,al; jz +6; mov dx,0x3f8; out dx,al; jmp back to lodsb
    code = bytes.fromhex("31c0 8ed8 be007d ac 08c0 7406 baf803 ee ebf5") + then
    return (code.ljust(0x100, b"\0") + words.encode() + b"\0").ljust(510, b"\0") + b"\x55\xaa"


def work_folder(name: str = "work") -> Path:
    """A new work folder below FACTORY_STATE, open to be passed, as a workspace makes it."""
    work = Path(os.environ["FACTORY_STATE"]) / name
    work.mkdir(parents=True, mode=0o711)
    work.chmod(0o711)
    return work


def spec_of(work: Path, content: bytes = b"", name: str = "machine", **changes: Any) -> MachineSpec:
    """A small machine whose disk begins with *content*."""
    drive = work / f"{name}.raw"
    drive.write_bytes(content.ljust(MIB, b"\0"))
    console = work / f"{name}.log"
    settings: dict[str, Any] = {"disks": (Disk(drive, "raw"),), "cpus": 1, "memory": 64 * MIB, "ssh_port": free_port()}
    return MachineSpec(
        name=name, uuid=new_uuid(), mac=new_mac(), console=console, accelerator="tcg", **(settings | changes)
    )


def tell(**facts: Any) -> None:
    """One line of JSON for the test that waits for it."""
    sys.stdout.write(json.dumps(facts, default=str) + "\n")
    sys.stdout.flush()


def qemus() -> list[dict[str, Any]]:
    """The QEMU processes of this process's libvirt: pid and the ids they run with."""
    assert embedded._open is not None
    found = []
    for pid in watcher.processes_of(str(embedded._open.enclosure.work)):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        ids = {line.split()[0].rstrip(":").lower(): line.split()[1:] for line in lines if line[:3] in ("Uid", "Gid")}
        found.append({"pid": pid, **ids})
    return found


def end_of(machine: Machine, wait: Callable[[], object]) -> dict[str, Any]:
    """How *wait* ended: the error, the seconds, and what the console said."""
    start = time.monotonic()
    facts: dict[str, Any] = {"code": ""}
    try:
        wait()
    except FactoryError as error:
        facts = {"code": error.code, "message": error.message, "cause": error.cause, "output": error.output}
    return facts | {"seconds": time.monotonic() - start, "console": machine.spec.console.read_text("utf-8", "replace")}


def never() -> bool:
    """For a wait that only an error ends."""
    return False


# -- scenarios


def nothing_to_boot() -> None:
    """An empty disk."""
    work = work_folder()
    with Hypervisor(work, TCG) as hypervisor, hypervisor.machine(spec_of(work)) as machine:
        processes = qemus()
        facts = end_of(machine, lambda: machine.wait_until(never, "a login"))
        tell(**facts, qemus=processes, account=hypervisor.enclosure.account, me=os.getuid())


def port_taken() -> None:
    """Another program listens on the port that was free a moment ago."""
    work = work_folder()
    with socket.create_server(("127.0.0.1", 0)) as other, Hypervisor(work, TCG) as hypervisor:
        taken = other.getsockname()[1]
        with hypervisor.machine(spec_of(work, sector("HERE\n", SPIN), ssh_port=taken)) as machine:
            facts = end_of(machine, lambda: machine.wait_until(lambda: machine.console.mentions("HERE"), "its word"))
            tell(**facts, moved=machine.spec.ssh_port != taken)


def one_after_the_other() -> None:
    """Two builds in one process."""
    for number in (1, 2):
        work = work_folder(f"work{number}")
        with Hypervisor(work, TCG) as hypervisor, hypervisor.machine(spec_of(work, name=f"m{number}")) as machine:
            tell(**end_of(machine, lambda machine=machine: machine.wait_until(never, "a login")))  # type: ignore[misc]


def both_at_once() -> None:
    """Two builds in one process, each in its own thread, of machines that have the same name in different builds."""
    together = threading.Barrier(2, timeout=30)
    told: list[dict[str, Any]] = []

    def build(number: int) -> None:
        work = work_folder(f"work{number}")
        with Hypervisor(work, TCG) as hypervisor:
            spec = spec_of(work, sector(f"HERE-{number}\n", SPIN))
            with hypervisor.machine(spec) as machine:
                together.wait()
                facts = end_of(
                    machine, lambda: machine.wait_until(lambda: machine.console.mentions("HERE"), "its word")
                )
                told.append(facts | {"number": number, "qemus": len(qemus())})
                together.wait()

    threads = [threading.Thread(target=build, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tell(ends=sorted(told, key=lambda facts: int(facts["number"])))


def runs_until_killed() -> None:
    """Tells its QEMU, and waits."""
    work = work_folder()
    with Hypervisor(work, TCG) as hypervisor, hypervisor.machine(spec_of(work, sector("HERE\n", SPIN))) as machine:
        machine.wait_until(lambda: machine.console.mentions("HERE"), "its word")
        assert embedded._open is not None
        tell(qemus=qemus(), watcher=embedded._open.watcher.pid, folder=embedded._open.folder)
        tell(**end_of(machine, lambda: machine.wait_until(never, "a login", quiet_allowed=True, seconds=60)))


def kept_after_a_failure(seconds: str = "60") -> None:
    """A build fails while people could log in: its machine outlives this process."""
    state = Path(os.environ["FACTORY_STATE"])
    workspace = Workspace.create("web", "0" * 8, output=state / "out", state=state)
    with (
        contextlib.suppress(FactoryError),
        Hypervisor(workspace.work, TCG, owner=workspace, keep=float(seconds)) as hypervisor,
    ):
        spec = spec_of(workspace.work, sector("HERE\n", SPIN))
        spec = replace(spec, console=workspace.partial / "console-build.log")
        with hypervisor.machine(spec) as machine:
            machine.login = Login("root", new_keypair("build"), new_keypair("host"))
            machine.wait_until(lambda: machine.console.mentions("HERE"), "its word")
            assert embedded._open is not None
            tell(qemus=qemus(), watcher=embedded._open.watcher.pid, folder=embedded._open.folder)
            raise MachineError("a step failed")
    workspace.keep("step.failed", ["build", "web"])
    folder = workspace.fail()
    tell(build_id=workspace.build_id, failed=folder, work=workspace.work, port=spec.ssh_port)


def disks_of_a_failed_build(keep: str) -> None:
    """A build fails without a machine that could be entered: its disks are two overlays, one on the other."""
    state = Path(os.environ["FACTORY_STATE"])
    base = state / "cached" / "base.qcow2"
    base.parent.mkdir(parents=True)
    disk.create(base, "qcow2", MIB)
    workspace = Workspace.create("web", "0" * 8, output=state / "out", state=state)
    frozen, overlay = workspace.work / "frozen.qcow2", workspace.work / "disk.qcow2"
    with (
        contextlib.suppress(FactoryError),
        Hypervisor(workspace.work, TCG, owner=workspace, keep=float(keep)) as hypervisor,
    ):
        disk.create_overlay(hypervisor.enclosure.path(base), "qcow2", frozen)
        disk.create_overlay(hypervisor.enclosure.path(frozen), "qcow2", overlay)
        raise MachineError("a step failed")
    tell(base=base, frozen=frozen, below_both=[disk.info(each, "qcow2").backing for each in (frozen, overlay)])
    workspace.discard()


def kept_when_refused(keep: str) -> None:
    """Two boots side by side do not show what they should, and nothing breaks: how many of them run on."""
    state = Path(os.environ["FACTORY_STATE"])
    workspace = Workspace.create("web", "0" * 8, output=state / "out", state=state)
    with Hypervisor(workspace.work, TCG, owner=workspace, keep=float(keep)) as hypervisor:
        with contextlib.ExitStack() as both:
            for name in ("one", "two"):
                console = workspace.partial / f"console-{name}.log"
                spec = replace(spec_of(workspace.work, sector("HERE\n", SPIN), name), console=console)
                machine = both.enter_context(hypervisor.machine(spec))
                machine.login = Login("debian", new_keypair("boot-test"), None)
                machine.refused = True
        tell(running=len(qemus()))
    workspace.keep("check.failed", ["build", "web"])
    workspace.fail()
    tell(machine=workspace.entry.kept_machine.name if workspace.entry.kept_machine else None)


def interrupted_after_one_was_kept() -> None:
    """One boot was refused and kept, and then somebody presses Ctrl-C: nothing of it may stay."""
    state = Path(os.environ["FACTORY_STATE"])
    workspace = Workspace.create("web", "0" * 8, output=state / "out", state=state)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Hypervisor(workspace.work, TCG, owner=workspace, keep=60) as hypervisor,
    ):
        with hypervisor.machine(spec_of(workspace.work, sector("HERE\n", SPIN))) as machine:
            machine.login = Login("debian", new_keypair("boot-test"), None)
            machine.refused = True
        tell(before=len(qemus()), kept=bool(workspace.entry.kept_machine))
        raise KeyboardInterrupt
    tell(after=len(qemus()), still=bool(workspace.entry.kept or workspace.entry.kept_machine))
    workspace.fail()


def fills_its_disk() -> None:
    """A guest writes one sector into each cylinder of its disk, until the host has no space left."""
    #  xor ax,ax; mov es,ax; mov bx,0x7c00; mov dl,0x80; xor dh,dh; mov cx,2; mov ax,0x301; int 0x13; inc ch; jmp back
    writing = bytes.fromhex("31c0 8ec0 bb007c b280 30f6 b90200 b80103 cd13 fec5 ebf7")
    work = work_folder()
    spec = spec_of(work, sector("", writing))
    overlay = work / "overlay.qcow2"
    raw = spec.disks[0].path
    os.truncate(raw, 200 * MIB)
    with Hypervisor(work, TCG) as hypervisor:
        disk.create_overlay(hypervisor.enclosure.path(raw), "raw", overlay)
        spec = replace(spec, disks=(Disk(overlay, "qcow2"),))
        with hypervisor.machine(spec) as machine:
            tell(**end_of(machine, lambda: machine.wait_until(never, "a login", seconds=60)), alive=machine.alive)


def says_and_goes(machine: Machine, hypervisor: Hypervisor) -> None:
    """Waits for the word of a guest that powers itself off at once; libvirt has no answer until it is off."""
    looks: list[float] = []

    def answers_late(domain: object) -> str:
        while machine.alive:
            time.sleep(0.05)
        return ""

    def ready() -> bool:
        looks.append(time.monotonic())
        if len(looks) == 1:
            time.sleep(4)
            return False
        return machine.console.mentions("bye")

    hypervisor.connection.stopped = answers_late  # type: ignore[method-assign]
    try:
        machine.wait_until(ready, "its word")
    finally:
        del hypervisor.connection.stopped


def never_starts() -> None:
    """Machines that QEMU does not begin: one larger than this host, and one with more CPUs than its chipset has."""
    from factory.preflight import most_memory

    work = work_folder()
    with Hypervisor(work, TCG) as hypervisor:
        for name, changes in (("memory", {"memory": (most_memory() or 0) * 2}), ("cpus", {"cpus": 2000})):
            try:
                with hypervisor.machine(spec_of(work, sector("", SPIN), name, **changes)):
                    tell(name=name, code="", status=0, cause="it runs")
            except FactoryError as error:
                tell(name=name, code=error.code, status=error.status, cause=error.cause)


def other_ends() -> None:
    """Each way in which a machine can end or not end, told by name."""
    work = work_folder()
    with Hypervisor(work, TCG) as hypervisor:

        def case(name: str, content: bytes, wait: Callable[[Machine], object], **changes: Any) -> None:
            with hypervisor.machine(spec_of(work, content, name, **changes)) as machine:
                tell(name=name, **end_of(machine, lambda: wait(machine)), alive=machine.alive)

        panic = sector("\r\nKernel panic - not syncing: VFS\r\n", SPIN)
        case("panic", panic, lambda machine: machine.wait_until(never, "a login"))
        case("panic-at-power-off", panic, lambda machine: machine.wait_for_end(30))
        case("power-off", sector("bye\n", POWER_OFF), lambda machine: machine.wait_for_end(30))
        case("ended-early", sector("bye\n", POWER_OFF), lambda machine: machine.wait_until(never, "a login"))
        case("last-word", sector("bye\n", TWO_SECONDS + POWER_OFF), lambda machine: says_and_goes(machine, hypervisor))
        case("no-power-off", sector("", SPIN), lambda machine: machine.wait_for_end(1))
        case("too-long", sector("x\n", SPIN), lambda machine: machine.wait_until(never, "a login", seconds=1))
        case("reset", sector("ROUND\r\n", RESET), lambda machine: machine.wait_until(
            lambda: machine.spec.console.read_text().count("ROUND") > 2, "three rounds"))  # fmt: skip
        hypervisor.timeouts = Timeouts(boot=60, silence=1.5)
        case("hung", sector("last words\n", SPIN), lambda machine: machine.wait_until(never, "a login"))
        secret = work.parent / "secret.raw"
        secret.touch(mode=0o600)
        secret.write_bytes(bytes(MIB))
        try:
            case("not-given", b"", lambda machine: None, disks=(Disk(secret, "raw", readonly=True),))
        except FactoryError as error:
            tell(name="not-given", code=error.code, cause=error.cause)
        tell(name="after", qemus=qemus())


def every_kind() -> None:
    """Each kind of machine that builds and boot tests use: libvirt checks its XML by its schema, and QEMU starts it."""
    from tests.test_domain import SPECS

    work = work_folder()
    kernel = DirectKernel(work / "vmlinuz", work / "initrd", "console=ttyS0")
    kernel.kernel.write_bytes(kernel_header())
    kernel.initrd.write_bytes(bytes(4096))
    with Hypervisor(work, TCG) as hypervisor:
        import libvirt  # as late as the connection does it

        for kind, wanted in SPECS.items():
            overlay, seed = work / f"{kind}.disk", work / f"{kind}.iso"
            for path in (overlay, seed):
                path.write_bytes(bytes(MIB))
            bus = wanted.disks[0].bus
            spec = spec_of(
                work,
                name=kind,
                chipset=wanted.chipset,
                nic_slot=wanted.nic_slot,
                network="restrict",
                disks=(Disk(overlay, "raw", bus), Disk(seed, "raw", bus, readonly=True)),
                uefi=hypervisor.uefi(kind) if wanted.uefi else None,
                kernel=kernel if wanted.kernel else None,
            )
            machine = Machine(hypervisor, spec)
            spec.console.touch()
            xml = domain_xml(machine._as_seen(hypervisor.enclosure))
            flags = libvirt.VIR_DOMAIN_START_VALIDATE | libvirt.VIR_DOMAIN_START_PAUSED
            error = ""
            try:
                hypervisor.connection._handle.createXML(xml, flags)  # paused; all end with this process
            except libvirt.libvirtError as failed:
                error = str(failed)
            tell(kind=kind, error=error)


def closed_without_rights() -> None:
    """Root without CAP_SYS_ADMIN cannot show files to QEMU one by one."""
    work = work_folder()
    try:
        with Hypervisor(work, TCG):
            tell(code="")
    except FactoryError as error:
        tell(code=error.code, status=error.status, message=error.message, cause=error.cause)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        globals()[sys.argv[1]](*sys.argv[2:])
