"""qemu-img: the command lines as tables, and what the real program makes of them."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from factory import disk, qemu_img
from factory.errors import BuildError, CommandFailed, HostError

MIB = 1 << 20
PLACE = Path("/images")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            qemu_img.create(PLACE / "a.qcow2", "qcow2", 5, {"compat": "1.1"}),
            "qemu-img create -q -f qcow2 -o compat=1.1 /images/a.qcow2 5",
        ),
        (qemu_img.create(PLACE / "a", "raw", 5), "qemu-img create -q -f raw /images/a 5"),
        (
            qemu_img.overlay(PLACE / "base", "qcow2", PLACE / "over"),
            "qemu-img create -q -f qcow2 -F qcow2 -b /images/base -o compat=1.1 /images/over",
        ),
        (
            qemu_img.overlay(PLACE / "base", "raw", PLACE / "over", 7 * MIB, 4096),
            "qemu-img create -q -f qcow2 -F raw -b /images/base -o compat=1.1,cluster_size=4096 /images/over 7340032",
        ),
        (
            qemu_img.convert(
                PLACE / "a", "qcow2", PLACE / "b", "qcow2", compress=True, options=disk.PUBLISHED, threads=4
            ),
            "qemu-img convert -p -m 4 -W -f qcow2 -O qcow2 -c -o compat=1.1,compression_type=zlib /images/a /images/b",
        ),
        (
            qemu_img.convert(PLACE / "a", "qcow2", PLACE / "b", "raw", threads=99),
            "qemu-img convert -p -m 16 -W -f qcow2 -O raw /images/a /images/b",
        ),
        (qemu_img.resize(PLACE / "a", "raw", 9), "qemu-img resize -q -f raw /images/a 9"),
        (qemu_img.resize(PLACE / "a", "raw", 9, shrink=True), "qemu-img resize -q -f raw --shrink /images/a 9"),
        (
            qemu_img.check(PLACE / "a", "qcow2"),
            "prlimit --cpu=300 --as=4294967296 qemu-img check --output=json -f qcow2 /images/a",
        ),
        (
            qemu_img.compare(PLACE / "a", "raw", PLACE / "b", "qcow2"),
            "qemu-img compare -f raw -F qcow2 /images/a /images/b",
        ),
        (
            qemu_img.info(PLACE / "a", "qcow2"),
            "prlimit --cpu=30 --as=2147483648 qemu-img info -U --output=json -f qcow2 /images/a",
        ),
    ],
)
def test_command_lines(made: list[str], expected: str) -> None:
    assert " ".join(made) == expected


def test_a_comma_in_an_option_does_not_begin_another() -> None:
    assert "x=a,,b,y=c" in qemu_img.create(Path("/a"), "qcow2", 1, {"x": "a,b", "y": "c"})


def test_names_are_always_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert qemu_img.info(Path("json:{}"), "raw")[-1] == f"{tmp_path}/json:{{}}"


class Stage:
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, int | None]] = []

    def progress(self, done: int, total: int | None = None, unit: str = "bytes") -> None:
        self.reports.append((done, total))


def raw_with_data(path: Path, size: int = 32 * MIB) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(5 * MIB)
        file.write(os.urandom(3 * MIB))
    return path


@pytest.mark.real
def test_an_image_through_its_life(tmp_path: Path) -> None:
    raw = raw_with_data(tmp_path / "first.raw")
    disk.convert(raw, "raw", tmp_path / "base.qcow2", "qcow2")
    disk.create_overlay(tmp_path / "base.qcow2", "qcow2", tmp_path / "over.qcow2", 40 * MIB, 4096)
    over = disk.info(tmp_path / "over.qcow2", "qcow2")
    assert (over.virtual_size, over.backing, over.backing_format) == (40 * MIB, str(tmp_path / "base.qcow2"), "qcow2")
    assert over.cluster_size == 4096

    stage = Stage()
    disk.convert(tmp_path / "over.qcow2", "qcow2", tmp_path / "out.qcow2", "qcow2", compress=True, stage=stage)
    out = disk.info(tmp_path / "out.qcow2", "qcow2")
    assert (out.format, out.backing, out.compat, out.compression) == ("qcow2", "", "1.1", "zlib")
    assert not (out.snapshots or out.bitmaps or out.encrypted or out.dirty or out.corrupt or out.extended_l2)
    assert stage.reports[-1] == (40 * MIB, 40 * MIB)
    assert disk.check(tmp_path / "out.qcow2", "qcow2") == disk.Checked("sound")
    assert disk.compare(tmp_path / "over.qcow2", "qcow2", tmp_path / "out.qcow2", "qcow2")

    disk.resize(raw, "raw", 40 * MIB)
    assert disk.compare(raw, "raw", tmp_path / "out.qcow2", "qcow2")
    with raw.open("r+b") as file:
        file.write(b"changed")
    assert not disk.compare(raw, "raw", tmp_path / "out.qcow2", "qcow2")
    with pytest.raises(CommandFailed, match="Shrinking"):
        disk.resize(raw, "raw", MIB)
    disk.resize(raw, "raw", MIB, shrink=True)
    assert raw.stat().st_size == MIB


@pytest.mark.real
@pytest.mark.parametrize("name", ["json:{}", "nbd:localhost:1", "a,b=c", "fat:rw:x", "-f", "ünï cödé", "driver=nbd"])
def test_a_name_is_never_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path, over, out = Path(name), Path(f"{name}.over"), Path(f"{name}.out")
    disk.create(path, "qcow2", MIB)
    disk.create_overlay(path, "qcow2", over)
    disk.convert(over, "qcow2", out, "raw")
    assert out.stat().st_size == MIB
    assert disk.info(over, "qcow2").backing == str(tmp_path / name)
    assert disk.check(path, "qcow2").state == "sound"


@pytest.mark.real
def test_what_a_guest_writes_does_not_choose_the_format(tmp_path: Path) -> None:
    disk.create(tmp_path / "a.qcow2", "qcow2", MIB)
    seen = disk.info(tmp_path / "a.qcow2", "raw")
    assert seen.format == "raw"
    assert seen.virtual_size < MIB
    with pytest.raises(CommandFailed, match=r"qcow2"):
        disk.info(raw_with_data(tmp_path / "b.raw"), "qcow2")


@pytest.mark.real
def test_the_header_cannot_make_qemu_open_another_file(tmp_path: Path) -> None:
    disk.create(tmp_path / "a.qcow2", "qcow2", MIB, {"data_file": str(tmp_path / "data")})
    (tmp_path / "data").unlink()
    info = disk.info(tmp_path / "a.qcow2", "qcow2")
    assert info.data_file
    assert info.virtual_size == MIB
    with pytest.raises(BuildError, match="unsafe"):
        disk.detect_format(tmp_path / "a.qcow2")


@pytest.mark.real
def test_damage_is_told_apart(tmp_path: Path) -> None:
    raw = raw_with_data(tmp_path / "a.raw")
    disk.convert(raw, "raw", tmp_path / "a.qcow2", "qcow2")
    content = bytearray((tmp_path / "a.qcow2").read_bytes())
    table = struct.unpack_from(">Q", content, struct.unpack_from(">Q", content, 40)[0])[0] & 0x00FFFFFFFFFFFE00

    lost = bytearray(content)
    entry = next(place for place in range(table, table + 65536, 8) if any(lost[place : place + 8]))
    lost[entry : entry + 8] = bytes(8)
    (tmp_path / "leaks.qcow2").write_bytes(lost)
    assert disk.check(tmp_path / "leaks.qcow2", "qcow2").state == "leaks"

    twice = bytearray(content)
    twice[entry : entry + 8] = twice[entry + 8 : entry + 16]
    (tmp_path / "corrupt.qcow2").write_bytes(twice)
    found = disk.check(tmp_path / "corrupt.qcow2", "qcow2")
    assert found.state == "corrupt"
    assert found.corruptions

    assert disk.check(raw, "raw").state == "unchecked"
    with pytest.raises(CommandFailed):
        disk.check(raw, "qcow2")


@pytest.mark.real
def test_nothing_is_overwritten(tmp_path: Path) -> None:
    disk.create(tmp_path / "a", "qcow2", MIB)
    (tmp_path / "there").symlink_to("nowhere")
    for name in ("a", "there"):
        with pytest.raises(HostError, match="already there"):
            disk.create(tmp_path / name, "qcow2", MIB)
        with pytest.raises(HostError, match="already there"):
            disk.convert(tmp_path / "a", "qcow2", tmp_path / name, "raw")


@pytest.mark.real
def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed):
        disk.convert(raw_with_data(tmp_path / "a.raw"), "qcow2", tmp_path / "b", "raw")
    assert not (tmp_path / "b").exists()


@pytest.mark.real
def test_an_interrupt_ends_the_conversion(tmp_path: Path) -> None:
    class Impatient(Stage):
        def progress(self, done: int, total: int | None = None, unit: str = "bytes") -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        disk.convert(raw_with_data(tmp_path / "a"), "raw", tmp_path / "b", "qcow2", compress=True, stage=Impatient())
    assert not (tmp_path / "b").exists()


FULL = """
import sys
from pathlib import Path
from factory import disk, errors
try:
    disk.convert(Path(sys.argv[1]), "raw", Path(sys.argv[2], "out.qcow2"), "qcow2")
except errors.HostError as error:
    print(error.code, error.message, [path.name for path in Path(sys.argv[2]).iterdir()])
"""


@pytest.mark.real
def test_a_full_disk_is_said_in_so_many_words(tmp_path: Path) -> None:
    raw_with_data(tmp_path / "a.raw")
    (tmp_path / "small").mkdir()
    # A file system of 2 MiB, which needs no root in a namespace of its own.
    words = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=2m none "$0" && exec "$@"', str(tmp_path / "small")]
    words += [sys.executable, "-c", FULL, str(tmp_path / "a.raw"), str(tmp_path / "small")]
    environment = os.environ | {"PYTHONPATH": str(Path(disk.__file__).parent.parent)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"this host lets nobody mount in a namespace: {done.stderr.strip()}")
    assert done.stdout.strip() == f"host.disk-space No space left on the disk of {tmp_path / 'small'} []", done.stderr


def test_space_is_asked_for_before_it_is_used(tmp_path: Path) -> None:
    disk.require_space(tmp_path / "not" / "there" / "yet", 1, "a build")
    with pytest.raises(HostError, match=r"a build needs .* GiB under") as caught:
        disk.require_space(tmp_path / "not" / "there", 1 << 60, "a build")
    assert caught.value.code == "host.disk-space"


@pytest.mark.real
@pytest.mark.parametrize("kind", ["vmdk", "qcow2"])
def test_a_raw_copy_reads_no_other_file(tmp_path: Path, kind: str) -> None:
    whole, part, copy = tmp_path / "whole, x=1", tmp_path / f"part, {kind}", tmp_path / "copy"
    (tmp_path / "raw").write_bytes(b"x" * MIB)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, tmp_path / "raw", whole], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, "-F", kind, "-b", whole.name, part], check=True)
    disk.raw_copy(whole, kind, copy)
    assert copy.read_bytes() == b"x" * MIB
    copy.unlink()
    disk.raw_copy(part, kind, copy)
    assert copy.read_bytes() == bytes(MIB)


@pytest.mark.real
@pytest.mark.parametrize("kind", ["raw", "vdi", "vpc", "vhdx"])
def test_a_raw_copy_of_every_format(tmp_path: Path, kind: str) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"x" * MIB)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, raw, tmp_path / "disk"], check=True)
    disk.raw_copy(tmp_path / "disk", kind, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes()[:MIB] == b"x" * MIB


def test_sha256_reports_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    stage = Stage()
    assert disk.sha256(tmp_path / "a", stage).startswith("ba7816bf")
    assert stage.reports == [(3, 3)]
    with pytest.raises(HostError):
        disk.sha256(tmp_path / "none")
