"""Saved machines: what is changed in libvirt's file and in its XML, and what is refused."""

from __future__ import annotations

import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from factory import renewal
from factory.errors import HostError, MachineError
from factory.hypervisor import identity
from factory.hypervisor.accelerator import Accelerator
from factory.hypervisor.domain import Disk, MachineSpec, domain_xml
from factory.hypervisor.machine import PORT_TAKEN, Machine
from factory.hypervisor.saved import HEADER_SIZE, adapted, checkpoint_xml, rename

OLD, NEW = "11111111-2222-3333-4444-555555555555", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"


def spec(**changes: object) -> MachineSpec:
    made = MachineSpec(
        name="build-11111111",
        uuid=OLD,
        mac="52:54:00:01:02:03",
        ssh_port=2288,
        console=Path("/old/console.log"),
        accelerator="tcg",
        disks=(Disk(Path("/old/disk.qcow2"), "qcow2"), Disk(Path("/old/seed.iso"), "raw", readonly=True)),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def saved_file(folder: Path, xml: str, memory: bytes = b"memory " + OLD.encode()) -> Path:
    text = xml.encode() + b"\0"
    head = struct.pack("=16s5I", b"LibvirtQemudSave", 2, len(text), 1, 0, 0).ljust(HEADER_SIZE, b"\0")
    path = folder / "memory"
    path.write_bytes(head + text + memory)
    return path


def test_a_saved_machine_gets_a_name_and_a_uuid_of_its_own(tmp_path: Path) -> None:
    xml = domain_xml(spec())
    path = saved_file(tmp_path, xml)
    size = path.stat().st_size
    rename(path, OLD, NEW)
    data = path.read_bytes()
    assert len(data) == size
    text = data[HEADER_SIZE : HEADER_SIZE + len(xml)].decode()
    assert "<name>build-aaaaaaaa</name>" in text and f"<uuid>{NEW}</uuid>" in text and OLD not in text
    assert data.endswith(b"memory " + OLD.encode())  # the guest's own memory is not touched


@pytest.mark.parametrize(
    "content",
    [b"", b"LibvirtQemudSave", b"LibvirtQemudPart".ljust(5000, b"\0"), b"LibvirtQemudSave".ljust(5000, b"\0")],
    ids=["empty", "cut off", "unfinished", "another machine"],
)
def test_what_is_no_saved_machine_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "memory"
    path.write_bytes(content)
    with pytest.raises(MachineError) as caught:
        rename(path, OLD, NEW)
    assert caught.value.code == "machine.not-saved"
    assert path.read_bytes() == content


def test_the_xml_gets_the_disks_the_console_and_the_port_of_this_build() -> None:
    chain = (
        '<source file="/old/disk.qcow2" index="3"/>'
        '<backingStore type="file" index="4"><format type="qcow2"/><source file="/old/base"/></backingStore>'
    )
    xml = domain_xml(spec()).replace('<source file="/old/disk.qcow2" />', chain)
    assert "backingStore" in xml
    mine = spec(
        ssh_port=4444,
        console=Path("/new/console.log"),
        disks=(Disk(Path("/new/disk.qcow2"), "qcow2"), Disk(Path("/new/blank.iso"), "raw", readonly=True)),
    )
    made = adapted(xml, mine)
    assert "backingStore" not in made and "/old/" not in made and "2288" not in made
    tree = ElementTree.fromstring(made)
    files = [source.attrib for source in tree.iterfind("devices/disk/source")]
    assert files == [{"file": "/new/disk.qcow2"}, {"file": "/new/blank.iso"}]
    serial = tree.find("devices/serial/source")
    assert serial is not None and serial.get("path") == "/new/console.log"
    assert "hostfwd=tcp:127.0.0.1:4444-:22" in made
    assert adapted(domain_xml(mine), mine) == domain_xml(mine)


def test_a_machine_with_other_disks_is_refused() -> None:
    with pytest.raises(MachineError, match="other disks"):
        adapted(domain_xml(spec()), spec(disks=spec().disks[:1]))


def test_only_the_disk_that_is_written_to_gets_an_overlay() -> None:
    tree = ElementTree.fromstring(checkpoint_xml(Path("/w/m"), Path("/w/d&d"), 1))
    disks = {each.get("name"): each.get("snapshot") for each in tree.iterfind("disks/disk")}
    assert disks == {"vda": "external", "vdb": "no"}
    source = tree.find("disks/disk/source")
    assert source is not None and source.get("file") == "/w/d&d"


# -- what a saved machine depends on


def test_the_form_of_a_machine_is_without_what_is_its_own() -> None:
    mine = spec(ssh_port=1234, uuid=NEW, mac="52:54:00:09:09:09", console=Path("/x"), name="y")
    assert identity.form(mine) == identity.form(spec())
    for changes in ({"cpus": 1}, {"memory": 1 << 30}, {"accelerator": "kvm"}, {"network": "none"}, {"nic_slot": 3}):
        assert identity.form(spec(**changes)) != identity.form(spec()), changes


def test_another_processor_is_another_identity(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    seen = set()
    for text in (
        "model name : A\nflags : sse avx\n",
        "model name : B\nflags : sse avx\n",
        "model name : A\nflags : sse\n",
    ):
        file.write_text(text)
        seen.add(identity.processor(file))
    assert len(seen) == 3
    file.write_text("model name : A\nflags : sse avx\ncpu MHz : 1\nbogomips : 2\n")
    assert identity.processor(file) in seen


@pytest.mark.real
def test_another_qemu_is_another_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity.programs()
    assert set(before) == {"QEMU", "libvirt", "the firmware"} and len(set(before.values())) == 3
    qemu = tmp_path / "qemu-system-x86_64"
    qemu.write_text("another")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    after = identity.programs()
    assert after["QEMU"] != before["QEMU"] and after["libvirt"] == before["libvirt"]


# -- the part that runs in the guest


def test_the_guest_needs_nothing_but_an_old_python() -> None:
    import ast

    tree = ast.parse((Path(renewal.__file__).parent / "in_guest.py").read_text(), feature_version=(3, 6))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(tree))


def test_the_script_in_the_guest_is_one_text(tmp_path: Path) -> None:
    """As it is sent: from standard input, with the values in it; it fails where the guest's files are not."""
    program = renewal.program({"entropy": "zz", "text": 'it\'s "quoted"\n'})
    done = subprocess.run([sys.executable, "-I", "-S", "-"], input=program, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "non-hexadecimal number found" in done.stderr


@pytest.mark.parametrize("kind", [HostError, MachineError])
@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_a_saved_machine_whose_port_was_taken_meanwhile_gets_another(
    tmp_path: Path, taken: int, kind: type[HostError] | type[MachineError]
) -> None:
    """QEMU's part is played here: a real one cannot be had to lose its port between two moments."""
    memory = saved_file(tmp_path, domain_xml(spec()))
    seen: list[str] = []
    noted: list[int] = []

    def restore(_memory: Path, xml: str, _uuid: str) -> object:
        seen.append(xml)
        if len(seen) <= taken:
            raise kind("libvirt could not start it", cause=f"qemu: {PORT_TAKEN} 'tcp:127.0.0.1'")
        return object()

    nothing = SimpleNamespace(give=lambda _: None, path=lambda path: path)
    machine = Machine(
        SimpleNamespace(  # type: ignore[arg-type]
            enclosure=nothing,
            work=tmp_path,
            accelerator=Accelerator("tcg", "a test"),
            connection=SimpleNamespace(saved_xml=lambda _: domain_xml(spec()), restore=restore),
            owner=SimpleNamespace(note_port=noted.append, note_child=lambda _: None),
        ),
        spec(uuid=NEW, console=tmp_path / "console.log"),
    )
    if taken == 3:
        with pytest.raises(kind):
            machine.resume(memory, OLD)
        return
    machine.resume(memory, OLD)
    assert len(set(noted)) == len(seen) == taken + 1
    assert machine.spec.ssh_port == noted[-1]
    for port, xml in zip(noted, seen, strict=True):
        assert f":{port}-" in xml
