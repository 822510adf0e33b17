"""Copies of files: holes stay holes, and no file is replaced."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from factory import copying


def test_a_copy_keeps_the_holes(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    with source.open("wb") as file:
        file.write(b"head" * 1000)
        file.seek(64 << 20)
        file.write(os.urandom(3 << 20))
        file.truncate(128 << 20)
    told: list[tuple[int, int]] = []
    copying.clone_file(source, copy, report=lambda done, total: told.append((done, total)))
    assert copying.file_digest(copy) == copying.file_digest(source)
    assert copy.stat().st_size == 128 << 20
    assert copy.stat().st_blocks * 512 <= source.stat().st_blocks * 512 + (1 << 20)
    assert told[-1] == (128 << 20, 128 << 20)


@pytest.mark.parametrize("hole", [0, 1, 4096, (3 << 20) + 17])
def test_a_digest_is_of_all_bytes_though_holes_are_not_read(
    tmp_path: Path, hole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        for _ in range(3):
            file.write(os.urandom((1 << 20) + 5))
            file.seek(hole, os.SEEK_CUR)
        file.truncate(file.tell())
    told: list[int] = []
    assert copying.file_digest(path, report=lambda done, _: told.append(done)) == sha256(path.read_bytes()).hexdigest()
    assert told[-1] == path.stat().st_size
    os.truncate(path, 1 << 30)
    read: list[int] = []
    pread = os.pread

    def counted(file: int, count: int, place: int) -> bytes:
        read.append(count)
        return pread(file, count, place)

    monkeypatch.setattr("os.pread", counted)
    copying.file_digest(path)
    assert sum(read) < 100 << 20


def test_a_copy_never_replaces_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    with pytest.raises(FileExistsError):
        copying.clone_file(tmp_path / "a", tmp_path / "b")


def test_a_copy_without_help_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(95, "not supported")

    monkeypatch.setattr("fcntl.ioctl", refuse)
    monkeypatch.setattr("os.copy_file_range", refuse)
    (tmp_path / "a").write_bytes(os.urandom(3_000_001))
    copying.clone_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_empty_file_is_copied(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    copying.clone_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b""
