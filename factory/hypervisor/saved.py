"""A machine that was saved while it ran, as libvirt writes it: a header, the domain's XML, and its memory.

A saved machine is started again as another one: with a name and a UUID of its own, so that two builds may start from
the same file at once, and with this build's disks, port and console. libvirt compares names and UUIDs with those in
the file, so they are changed there, in place; the guest never sees them.
"""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

from factory.errors import MachineError
from factory.hypervisor.domain import QEMU_NAMESPACE, MachineSpec, network_option

MAGIC = b"LibvirtQemudSave"
HEADER = struct.Struct("=16s5I")  # magic, version, length of the XML, was running, compression, offset of the cookie
HEADER_SIZE = HEADER.size + 14 * 4
LONGEST_XML = 1 << 20  # bytes


def rename(memory: Path, old_uuid: str, new_uuid: str) -> None:
    """Give the machine in the file *memory* another UUID, and a name that ends with its beginning.

    Raises MachineError when this is not the saved machine *old_uuid*.
    """
    with memory.open("r+b") as file:
        head = file.read(HEADER_SIZE)
        if len(head) < HEADER_SIZE or not head.startswith(MAGIC):
            raise _not_saved(memory, "its first bytes are others")
        length = HEADER.unpack_from(head)[2]
        text = file.read(min(length, LONGEST_XML))
        old, new = old_uuid.encode(), new_uuid.encode()
        if len(text) < length or len(old) != len(new) or old not in text:
            raise _not_saved(memory, "it describes another machine")
        changed = text.replace(old, new).replace(b"-" + old[:8] + b"<", b"-" + new[:8] + b"<")
        file.seek(HEADER_SIZE)
        file.write(changed)


def _not_saved(memory: Path, why: str) -> MachineError:
    return MachineError(
        f"{memory.name} is not the saved machine that it should be", cause=why, code="machine.not-saved"
    )


def adapted(xml: str, spec: MachineSpec) -> str:
    """The saved machine's *xml* with the disks, the console and the port of *spec* (paths as QEMU sees them).

    What the file says of backing files is dropped: libvirt would believe it, and leave out the layer between.
    """
    ElementTree.register_namespace("qemu", QEMU_NAMESPACE)
    domain = ElementTree.fromstring(xml)  # noqa: S314 - from libvirt, out of a file of our own
    disks = domain.findall("devices/disk")
    if len(disks) != len(spec.disks):
        raise MachineError("the saved machine has other disks than this build", code="machine.not-saved")
    for element, disk in zip(disks, spec.disks, strict=True):
        for chain in element.findall("backingStore"):
            element.remove(chain)
        source = element.find("source")
        if source is None:
            raise MachineError("the saved machine has a disk without a file", code="machine.not-saved")
        for inner in list(source):
            source.remove(inner)
        source.attrib.clear()
        source.set("file", str(disk.path))
    for source in domain.findall("devices/serial/source") + domain.findall("devices/console/source"):
        source.set("path", str(spec.console))
    for argument in domain.iter(f"{{{QEMU_NAMESPACE}}}arg"):
        if argument.get("value", "").startswith("user,id=n0,"):
            argument.set("value", network_option(spec))
    return ElementTree.tostring(domain, encoding="unicode")


def checkpoint_xml(memory: Path, disk: Path, others: int) -> str:
    """What libvirt is asked for: the memory into *memory*, and all further writes into *disk*.

    *others* is the number of disks after the first, which are read-only.
    """
    snapshot = ElementTree.Element("domainsnapshot")
    ElementTree.SubElement(snapshot, "memory", snapshot="external", file=str(memory))
    disks = ElementTree.SubElement(snapshot, "disks")
    first = ElementTree.SubElement(disks, "disk", name="vda", snapshot="external")
    ElementTree.SubElement(first, "driver", type="qcow2")
    ElementTree.SubElement(first, "source", file=str(disk))
    for number in range(others):
        ElementTree.SubElement(disks, "disk", name=f"vd{'bcdefgh'[number]}", snapshot="no")
    return ElementTree.tostring(snapshot, encoding="unicode")
