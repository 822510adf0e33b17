"""Bases that are disk images of this host."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from factory.bases import Base, obtain, resolve
from factory.build import Options, held_base
from factory.cache import Cache, Entry
from factory.console import Console
from factory.errors import BaseError, HostError, UsageError
from factory.hypervisor import accelerator
from factory.plan import make_plan
from tests.recipe_files import HEAD, write

real = pytest.mark.real
PIN = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def qcow2(tmp_path: Path) -> Path:
    """A small qcow2 image with some content."""
    raw, image = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(boot_sector() + os.urandom(1 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True)
    return image


def boot_sector() -> bytes:
    sector = bytearray(512)
    sector[446:462] = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + (1).to_bytes(4, "little") + (2048).to_bytes(4, "little")
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def get(reference: str, **options: Any) -> Base:
    return obtain(resolve(reference), console=Console.quiet(), **options)


@real
def test_a_file_is_copied_into_the_cache(qcow2: Path) -> None:
    content = qcow2.read_bytes()
    base = get(str(qcow2))
    assert base.path.read_bytes() == content
    assert base.kind == "file"
    assert base.facts["format"] == "qcow2"
    assert base.facts["checksum"] == f"sha256:{base.sha256}"
    assert base.facts["virtual_size"] == (1 << 20) + 512
    assert str(qcow2.parent) not in json.dumps(dict(base.facts))  # a path can name a person
    qcow2.write_bytes(b"edited later")
    assert base.path.read_bytes() == content


@real
def test_a_file_is_copied_once(qcow2: Path) -> None:
    first = get(str(qcow2))
    assert not first.cached
    again = get(str(qcow2), offline=True)
    assert again.cached
    assert again.path == first.path


@real
def test_a_base_that_goes_before_it_is_held_is_had_again(qcow2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(qcow2.parent, HEAD.replace("debian-12", str(qcow2)))
    plan = make_plan(str(qcow2.parent / "recipes/web.yaml"))
    hold, removed = Cache.hold, list[Path]()

    def late(self: Cache, entry: Entry) -> AbstractContextManager[Entry]:
        if not removed:
            removed.append(entry.path)
            assert self.remove(entry)
        return hold(self, entry)

    monkeypatch.setattr(Cache, "hold", late)
    with held_base(plan, Options(), accelerator.choose("tcg"), Console.quiet()) as base:
        assert removed == [base.path] and base.path.exists()
        assert not Cache().remove(base.entry)
    assert Cache().remove(base.entry)


@real
def test_a_file_that_changed_is_another_base(qcow2: Path) -> None:
    first = get(str(qcow2))
    with qcow2.open("r+b") as file:
        file.seek(-512, os.SEEK_END)
        file.write(b"changed")
    second = get(str(qcow2))
    assert not second.cached
    assert second.sha256 != first.sha256


@real
def test_the_digest_of_a_file_is_held_to(qcow2: Path) -> None:
    base = get(str(qcow2))
    assert get(f"{qcow2}@sha256:{base.sha256}").path == base.path
    with pytest.raises(BaseError, match=f"is pinned to sha256:{PIN}") as caught:
        get(f"{qcow2}@sha256:{PIN}")
    assert caught.value.code == "base.pin-mismatch"
    assert caught.value.status == 4
    assert base.sha256 in str(caught.value)


@real
def test_the_format_is_what_the_content_says(qcow2: Path, tmp_path: Path) -> None:
    misnamed = tmp_path / "disk.raw"
    misnamed.write_bytes(qcow2.read_bytes())
    assert get(str(misnamed)).facts["format"] == "qcow2"
    raw = tmp_path / "really.qcow2"
    raw.write_bytes(boot_sector() + bytes(1 << 20))
    base = get(str(raw))
    assert base.facts["format"] == "raw"
    assert base.path.read_bytes()[:4] == b"QFI\xfb"


@real
@pytest.mark.parametrize("name", ["json:{}.qcow2", "nbd:localhost:1.qcow2", "-f.qcow2", "a,b=c.qcow2", "ü ß\n.qcow2"])
def test_names_that_look_like_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(boot_sector() + bytes(1 << 20))
    assert get(name).facts["format"] == "raw"


@real
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw"], "unsafe qcow2"),
        (["-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on"], "unsafe qcow2"),
        (["-f", "vmdk", "-o", "subformat=monolithicFlat"], "no disk image|unsafe vmdk"),
        (["-f", "qed"], "no disk image"),
    ],
)
def test_images_that_need_other_files(tmp_path: Path, argv: list[str], words: str) -> None:
    subprocess.run(["qemu-img", "create", "-q", *argv, "disk.img", "1M"], check=True, cwd=tmp_path)
    with pytest.raises(UsageError, match=words) as caught:
        get(str(tmp_path / "disk.img"))
    assert caught.value.status == 2
    assert caught.value.hint
    assert Cache().entries() == []


@real
def test_a_vmdk_that_needs_another_file(tmp_path: Path) -> None:
    for argv in (["whole.vmdk", "1M"], ["-F", "vmdk", "-b", "whole.vmdk", "disk.vmdk"]):
        subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", *argv], check=True, cwd=tmp_path)
    with pytest.raises(UsageError, match="unsafe vmdk") as caught:
        get(str(tmp_path / "disk.vmdk"))
    assert "whole.vmdk" in str(caught.value.cause)
    assert Cache().entries() == []
    assert get(str(tmp_path / "whole.vmdk")).facts["format"] == "vmdk"


@real
def test_an_encrypted_image(qcow2: Path) -> None:
    with qcow2.open("r+b") as file:  # as qemu-img marks it; making a real one takes seconds of key stretching
        file.seek(32)
        file.write(b"\0\0\0\1")
    with pytest.raises(UsageError, match="encrypted"):
        get(str(qcow2))


@pytest.mark.parametrize("content", [b"", b"text", bytes(1 << 16), b"QFI\xfb" + b"\xff" * 200, b"KDMV" * 300])
def test_files_that_are_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "disk.qcow2").write_bytes(content)
    with pytest.raises(UsageError):
        get(str(tmp_path / "disk.qcow2"))


@real
def test_a_file_that_changes_while_it_is_copied(qcow2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory import copying
    from factory.bases import file

    copy = copying.clone_file

    def slow_copy(source: Path, destination: Path, **options: Any) -> None:
        copy(source, destination, **options)
        os.utime(source)

    monkeypatch.setattr(file, "clone_file", slow_copy)
    with pytest.raises(UsageError, match="was changed while"):
        get(str(qcow2))
    assert Cache().entries() == []


@real
def test_no_room_for_the_copy(qcow2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.bases import file

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file, "clone_file", full)
    with pytest.raises(HostError, match="cannot be copied") as caught:
        get(str(qcow2))
    assert caught.value.status == 3
    assert list(Cache().folder("work").iterdir()) == []
