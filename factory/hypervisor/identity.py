"""What a saved machine depends on beside its own disks: the programs, the processor and the machine's form.

Memory that one QEMU saved may not suit another, and a guest that began on one processor may fail on another. So all of
it is part of a warm machine's key: nothing is tried that could go wrong quietly.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from factory.hypervisor.accelerator import QEMU
from factory.hypervisor.domain import Disk, MachineSpec, domain_xml

FIRMWARE = ("/usr/share/seabios", "/usr/share/qemu", "/usr/share/vgabios")
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
PLACEHOLDER = "00000000-0000-0000-0000-000000000000"


def programs() -> dict[str, str]:
    """QEMU, libvirt and the firmware, each as a digest that changes with its file; nothing is started for it."""
    qemu = Path(shutil.which(QEMU) or "/nowhere")
    libvirt = [path for folder in LIBRARIES for path in sorted(Path(folder).glob("libvirt.so.0*"))][:2]
    roms = [path for folder in FIRMWARE for path in sorted(Path(folder).glob("*bios*.bin"))]
    return {"QEMU": _files([qemu]), "libvirt": _files(libvirt), "the firmware": _files(roms)}


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The host's processor: its model and what it can do."""
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags")
    found: dict[str, str] = {}
    for line in cpuinfo.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in wanted:
            found.setdefault(name.strip(), value.strip())
    return _digest(repr(sorted(found.items())))


def form(spec: MachineSpec) -> str:
    """The machine without what differs from build to build: its chipset, CPU, memory and devices."""
    disks = tuple(
        Disk(Path(f"/disk{number}"), disk.format, disk.bus, disk.readonly) for number, disk in enumerate(spec.disks)
    )
    plain = MachineSpec(
        name="machine",
        uuid=PLACEHOLDER,
        mac="52:54:00:00:00:00",
        ssh_port=1,
        console=Path("/console"),
        accelerator=spec.accelerator,
        disks=disks,
        cpus=spec.cpus,
        memory=spec.memory,
        chipset=spec.chipset,
        network=spec.network,
        nic_slot=spec.nic_slot,
    )
    return _digest(domain_xml(plain))


def _files(paths: list[Path]) -> str:
    facts = []
    for path in paths:
        if path.exists():
            real = path.resolve()
            status = real.stat()
            facts.append((real.name, status.st_size, status.st_mtime_ns))
    return _digest(repr(facts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
