"""Copies of files: holes stay holes, and no file is replaced."""

from __future__ import annotations

import os
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
