"""The domain XML: facts by table, and hostile names. That libvirt takes it is for test_machine.py to prove."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from factory.hypervisor.domain import (
    QEMU_NAMESPACE,
    DirectKernel,
    Disk,
    MachineSpec,
    UefiFirmware,
    domain_xml,
)

SYSTEM = Disk(Path("/w/disk.qcow2"), "qcow2")
SEED = Disk(Path("/w/seed.iso"), "raw", readonly=True)
PLAIN = MachineSpec(
    name="build",
    uuid="5184f836-47eb-4f3b-b606-e4004dc24684",
    mac="52:54:00:f5:a3:fc",
    ssh_port=43643,
    console=Path("/w/console.log"),
    accelerator="tcg",
    disks=(SYSTEM, SEED),
)
SCSI = replace(PLAIN, disks=(replace(SYSTEM, bus="virtio-scsi"), replace(SEED, bus="virtio-scsi")))
UEFI = replace(SCSI, uefi=UefiFirmware(Path("/usr/share/OVMF/CODE.fd"), Path("/w/own.nvram")))
KERNEL = replace(PLAIN, kernel=DirectKernel(Path("/w/vmlinuz"), Path("/w/initrd"), "root=LABEL=root rw"))
OLD_CHIPSET = replace(PLAIN, chipset="pc", nic_slot=0x11)
SPECS = {"plain": PLAIN, "scsi": SCSI, "uefi": UEFI, "kernel": KERNEL, "i440fx": OLD_CHIPSET}
HOSTILE = [
    "<x/>&\"'",
    "a,file=/etc/shadow",
    "json:{}",
    "nbd:host:10",
    "ünï 🐧",
    "two\nlines\ttab",
    "%s ${x}",
    "]]>",
    "--",
]


def parsed(spec: MachineSpec) -> ElementTree.Element:
    return ElementTree.fromstring(domain_xml(spec))


def arguments(spec: MachineSpec) -> list[str]:
    """The words that QEMU gets beside libvirt's own."""
    return [each.attrib["value"] for each in parsed(spec).iter(f"{{{QEMU_NAMESPACE}}}arg")]


def attributes(spec: MachineSpec, path: str) -> list[dict[str, str]]:
    return [dict(element.attrib) for element in parsed(spec).findall(path)]


def texts(spec: MachineSpec, path: str) -> list[str | None]:
    return [element.text for element in parsed(spec).findall(path)]


@pytest.mark.parametrize(
    ("spec", "path", "expected"),
    [
        (PLAIN, ".", [{"type": "qemu"}]),
        (replace(PLAIN, accelerator="kvm"), ".", [{"type": "kvm"}]),
        (PLAIN, "cpu", [{"mode": "maximum"}]),
        (replace(PLAIN, accelerator="kvm"), "cpu", [{"mode": "host-passthrough"}]),
        (PLAIN, "os/type", [{"arch": "x86_64", "machine": "q35"}]),
        (OLD_CHIPSET, "os/type", [{"arch": "x86_64", "machine": "pc"}]),
        (PLAIN, "os/loader", []),
        (UEFI, "os/loader", [{"readonly": "yes", "type": "pflash"}]),
        (PLAIN, "devices/disk/target", [{"dev": "vda", "bus": "virtio"}, {"dev": "vdb", "bus": "virtio"}]),
        (SCSI, "devices/disk/target", [{"dev": "sda", "bus": "scsi"}, {"dev": "sdb", "bus": "scsi"}]),
        (PLAIN, "devices/controller[@type='scsi']", []),
        (SCSI, "devices/controller[@type='scsi']", [{"type": "scsi", "index": "0", "model": "virtio-scsi"}]),
        (PLAIN, "devices/disk/source", [{"file": "/w/disk.qcow2"}, {"file": "/w/seed.iso"}]),
        (PLAIN, "devices/disk/boot", [{"order": "1"}, {"order": "2"}]),
        (KERNEL, "devices/disk/boot", []),
        (PLAIN, "devices/serial/source", [{"path": "/w/console.log", "append": "on"}]),
        (PLAIN, "devices/rng", [{"model": "virtio"}]),
        (PLAIN, "devices/interface", []),  # libvirt's own would need passt, or root
    ],
)
def test_attributes(spec: MachineSpec, path: str, expected: list[dict[str, str]]) -> None:
    assert attributes(spec, path) == expected


@pytest.mark.parametrize(
    ("spec", "path", "expected"),
    [
        (PLAIN, "name", ["build"]),
        (PLAIN, "uuid", ["5184f836-47eb-4f3b-b606-e4004dc24684"]),
        (PLAIN, "memory", ["2097152"]),
        (replace(PLAIN, memory=64 << 20), "memory", ["65536"]),
        (replace(PLAIN, cpus=7), "vcpu", ["7"]),
        (UEFI, "os/loader", ["/usr/share/OVMF/CODE.fd"]),
        (UEFI, "os/nvram", ["/w/own.nvram"]),
        (KERNEL, "os/kernel", ["/w/vmlinuz"]),
        (KERNEL, "os/initrd", ["/w/initrd"]),
        (KERNEL, "os/cmdline", ["root=LABEL=root rw"]),
        (PLAIN, "on_poweroff", ["destroy"]),
        (PLAIN, "on_reboot", ["restart"]),
    ],
)
def test_texts(spec: MachineSpec, path: str, expected: list[str]) -> None:
    assert texts(spec, path) == expected


def test_what_is_read_only_and_what_gives_space_back() -> None:
    system, seed = parsed(PLAIN).findall("devices/disk")
    assert system.find("readonly") is None
    assert seed.find("readonly") is not None
    first, second = (each.attrib for disk in (system, seed) for each in disk.findall("driver"))
    assert first == {
        "name": "qemu", "type": "qcow2", "cache": "unsafe", "discard": "unmap", "detect_zeroes": "unmap"
    }  # fmt: skip
    assert second == {"name": "qemu", "type": "raw", "cache": "unsafe"}  # the format is named, never guessed


@pytest.mark.parametrize(
    ("change", "netdev"),
    [
        ({}, "user,id=n0,hostfwd=tcp:127.0.0.1:43643-:22"),
        ({"network": "restrict"}, "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:43643-:22"),
        ({"network": "none"}, "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:43643-:22"),
        (
            {"forwards": ((8080, 80), (8443, 443))},
            "user,id=n0,hostfwd=tcp:127.0.0.1:43643-:22,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:127.0.0.1:8443-:443",
        ),
    ],
)
def test_the_network(change: dict[str, Any], netdev: str) -> None:
    words = arguments(replace(PLAIN, **change))
    assert words[words.index("-netdev") + 1] == netdev


@pytest.mark.parametrize(
    ("spec", "device"),
    [
        (PLAIN, "virtio-net-pci,netdev=n0,bus=pcie.0,addr=0x10,mac=52:54:00:f5:a3:fc,romfile="),
        (OLD_CHIPSET, "virtio-net-pci,netdev=n0,bus=pci.0,addr=0x11,mac=52:54:00:f5:a3:fc,romfile="),
    ],
)
def test_the_network_card(spec: MachineSpec, device: str) -> None:
    words = arguments(spec)
    assert words[words.index("-device") + 1] == device


def test_seabios_speaks_on_the_serial_console() -> None:
    assert "graphics=off" in arguments(PLAIN)
    assert "graphics=off" not in arguments(UEFI)
    assert "graphics=off" not in arguments(KERNEL)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(name: str) -> None:
    path = Path("/w") / name
    spec = replace(
        PLAIN,
        name=name,
        console=path,
        disks=(Disk(path, "raw"),),
        uefi=UefiFirmware(path, path),
        kernel=DirectKernel(path, path, name),
    )
    plain = replace(
        spec,
        name="x",
        console=Path("/x"),
        disks=(Disk(Path("/x"), "raw"),),
        uefi=UefiFirmware(Path("/x"), Path("/x")),
        kernel=DirectKernel(Path("/x"), Path("/x"), "x"),
    )
    assert [each.tag for each in parsed(spec).iter()] == [each.tag for each in parsed(plain).iter()]
    assert texts(spec, "name") == [name]
    assert texts(spec, "os/cmdline") == [name]
    assert texts(spec, "os/kernel") == [str(path)]
    assert attributes(spec, "devices/disk/source") == [{"file": str(path)}]
    assert attributes(spec, "devices/serial/source")[0]["path"] == str(path)
    assert not any(name in word for word in arguments(spec))  # these reach QEMU as they are
