"""What a machine is made of, and its libvirt XML: data in, text out, nothing started."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

Firmware = Literal["bios", "uefi"]
Bus = Literal["virtio-blk", "virtio-scsi"]
Network = Literal["user", "restrict", "none"]

QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"


@dataclass(frozen=True)
class Disk:
    """A disk of the machine; *serial* is what the guest reads below /dev/disk/by-id."""

    path: Path
    format: Literal["qcow2", "raw"]
    bus: Bus = "virtio-blk"
    readonly: bool = False


@dataclass(frozen=True)
class DirectKernel:
    """A kernel that QEMU loads itself, without firmware and boot loader."""

    kernel: Path
    initrd: Path
    cmdline: str


@dataclass(frozen=True)
class UefiFirmware:
    """The firmware's code (read-only, shared) and this machine's own fresh variables."""

    code: Path
    variables: Path


@dataclass(frozen=True)
class MachineSpec:
    """A machine before it runs. *memory* in bytes; *ssh_port* on 127.0.0.1 of this host leads to the guest's 22."""

    name: str
    uuid: str
    mac: str
    ssh_port: int
    console: Path
    accelerator: Literal["kvm", "tcg"]
    disks: tuple[Disk, ...]
    cpus: int = 2
    memory: int = 2 * 1024**3
    chipset: Literal["q35", "pc"] = "q35"
    network: Network = "user"
    nic_slot: int = 0x10
    uefi: UefiFirmware | None = None
    kernel: DirectKernel | None = None
    forwards: tuple[tuple[int, int], ...] = field(default=())  # further (host port, guest port) pairs on 127.0.0.1


def domain_xml(spec: MachineSpec) -> str:
    """The libvirt XML of *spec*; every name is escaped by ElementTree."""
    ElementTree.register_namespace("qemu", QEMU_NAMESPACE)
    domain = ElementTree.Element("domain", type="kvm" if spec.accelerator == "kvm" else "qemu")
    _text(domain, "name", spec.name)
    _text(domain, "uuid", spec.uuid)
    _text(domain, "memory", str(spec.memory // 1024), unit="KiB")
    _text(domain, "vcpu", str(spec.cpus))
    _add_os(domain, spec)
    features = ElementTree.SubElement(domain, "features")
    ElementTree.SubElement(features, "acpi")
    ElementTree.SubElement(domain, "cpu", mode="host-passthrough" if spec.accelerator == "kvm" else "maximum")
    clock = ElementTree.SubElement(domain, "clock", offset="utc")
    ElementTree.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "destroy")
    _add_devices(domain, spec)
    _add_network(domain, spec)
    return ElementTree.tostring(domain, encoding="unicode")


def _add_os(domain: ElementTree.Element, spec: MachineSpec) -> None:
    system = ElementTree.SubElement(domain, "os")
    _text(system, "type", "hvm", arch="x86_64", machine=spec.chipset)
    if spec.uefi:
        _text(system, "loader", str(spec.uefi.code), readonly="yes", type="pflash")
        _text(system, "nvram", str(spec.uefi.variables))
    if spec.kernel:
        _text(system, "kernel", str(spec.kernel.kernel))
        _text(system, "initrd", str(spec.kernel.initrd))
        _text(system, "cmdline", spec.kernel.cmdline)


def _add_devices(domain: ElementTree.Element, spec: MachineSpec) -> None:
    devices = ElementTree.SubElement(domain, "devices")
    if any(disk.bus == "virtio-scsi" for disk in spec.disks):
        ElementTree.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    ElementTree.SubElement(devices, "controller", type="usb", model="none")
    names = {"virtio-blk": iter("abcdefgh"), "virtio-scsi": iter("abcdefgh")}
    for number, disk in enumerate(spec.disks):
        element = ElementTree.SubElement(devices, "disk", type="file", device="disk")
        # The disk is thrown away when anything fails, so the guest need not wait for this host's platter.
        driver = {"name": "qemu", "type": disk.format, "cache": "unsafe"}
        if not disk.readonly:
            driver |= {"discard": "unmap", "detect_zeroes": "unmap"}
        ElementTree.SubElement(element, "driver", driver)
        ElementTree.SubElement(element, "source", file=str(disk.path))
        prefix, bus = ("vd", "virtio") if disk.bus == "virtio-blk" else ("sd", "scsi")
        ElementTree.SubElement(element, "target", dev=prefix + next(names[disk.bus]), bus=bus)
        if disk.readonly:
            ElementTree.SubElement(element, "readonly")
        if not spec.kernel:
            ElementTree.SubElement(element, "boot", order=str(number + 1))
    serial = ElementTree.SubElement(devices, "serial", type="file")
    ElementTree.SubElement(serial, "source", path=str(spec.console), append="on")
    ElementTree.SubElement(serial, "target", type="isa-serial", port="0")
    ElementTree.SubElement(devices, "memballoon", model="none")
    rng = ElementTree.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    video = ElementTree.SubElement(devices, "video")
    # Without any display GRUB 2.12 (Debian 13) hangs when BIOS has started it; a cloud's machine has one too.
    ElementTree.SubElement(video, "model", type="none" if spec.kernel else "vga")


def _add_network(domain: ElementTree.Element, spec: MachineSpec) -> None:
    """User networking through QEMU's own options: Debian 12's libvirt has no port forwarding of its own."""
    arguments: list[str] = []
    if not spec.uefi and not spec.kernel:
        arguments += ["-machine", "graphics=off"]  # SeaBIOS then speaks on the serial console too
    bus = "pcie.0" if spec.chipset == "q35" else "pci.0"
    arguments += [
        "-netdev",
        network_option(spec),
        "-device",
        f"virtio-net-pci,netdev=n0,bus={bus},addr={spec.nic_slot:#x},mac={spec.mac},romfile=",
    ]
    commandline = ElementTree.SubElement(domain, f"{{{QEMU_NAMESPACE}}}commandline")
    for argument in arguments:
        ElementTree.SubElement(commandline, f"{{{QEMU_NAMESPACE}}}arg", value=argument)


def network_option(spec: MachineSpec) -> str:
    """What ``-netdev`` gets: the guest's way out, if it has one, and the ports of this host that lead into it."""
    # Where the guest may not go out, the factory still comes in.
    options = "" if spec.network == "user" else "restrict=on,"
    forwards = ((spec.ssh_port, 22), *spec.forwards)
    return f"user,id=n0,{options}" + ",".join(f"hostfwd=tcp:127.0.0.1:{host}-:{guest}" for host, guest in forwards)


def _text(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, tag, attributes).text = text
