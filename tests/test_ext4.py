"""Finishing an ext4 on real images: what deletion left is planted, and must be gone, and the file system sound."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from pathlib import Path

import pytest

from factory import ext4, partitions
from factory.errors import BuildError, CommandFailed, UsageError
from factory.filesystem import FileSystem
from tests import images

pytestmark = pytest.mark.real
SECRET = b"a-secret-of-this-build-5f1c9e0b"
OPTIONS = [
    pytest.param((), id="default"),
    pytest.param(("-b", "4096"), id="4k"),
    pytest.param(("-b", "4096", "-O", "^metadata_csum"), id="no-checksums"),
    pytest.param(("-t", "ext3", "-b", "1024"), id="ext3"),
    pytest.param(("-t", "ext2"), id="ext2"),
]


def planted(tmp_path: Path, *options: str) -> Path:
    """A disk with a file of ten blocks of secrets, which was deleted again."""
    files = dict(images.SYSTEM) | {"root/kept": os.urandom(300_000), "root/.history": (SECRET * 4096)[:40960]}
    raw = images.disk(tmp_path / "disk.raw", images.tree(tmp_path / "tree", files), *options)
    images.debugfs(raw, "rm /root/.history")
    return raw


def content(raw: Path, name: str) -> str:
    return images.debugfs(raw, f"cat {name}")


@pytest.mark.parametrize("options", OPTIONS)
def test_free_blocks_keep_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    raw = planted(tmp_path, *options)
    kept = content(raw, "/root/kept")
    assert SECRET in raw.read_bytes()
    before = raw.stat().st_blocks
    assert ext4.punch_free_blocks(raw, images.ROOT_START) > 10 * images.MIB
    assert SECRET not in raw.read_bytes()
    assert raw.stat().st_blocks < before
    assert ext4.check_filesystem(raw, images.ROOT_START) == []
    assert content(raw, "/root/kept") == kept


@pytest.mark.parametrize("options", OPTIONS[:4])
def test_the_journal_keeps_nothing_and_stays_a_journal(tmp_path: Path, options: tuple[str, ...]) -> None:
    raw = planted(tmp_path, *options)
    size = ext4.superblock(raw, images.ROOT_START).block_size
    listed = images.debugfs(raw, "bmap <8> 1", "bmap <8> 300", "bmap <8> 900")
    blocks = [int(line) for line in listed.splitlines() if line.isdigit()]
    assert len(blocks) == 3
    with raw.open("r+b") as file:
        for block in blocks:
            file.seek(images.ROOT_START + block * size)
            file.write(SECRET.upper())
    assert ext4.wipe_journal(raw, images.ROOT_START) > images.MIB
    assert SECRET.upper() not in raw.read_bytes()
    assert ext4.check_filesystem(raw, images.ROOT_START) == []
    after = ext4.superblock(raw, images.ROOT_START)
    assert "has_journal" in after.features
    assert after.clean


def test_without_a_journal_there_is_nothing_to_wipe(tmp_path: Path) -> None:
    assert ext4.wipe_journal(planted(tmp_path, "-t", "ext2"), images.ROOT_START) == 0


def test_directories_keep_no_deleted_name(tmp_path: Path) -> None:
    files = dict(images.SYSTEM) | {f"srv/{SECRET.decode()}-{number}": b"x" for number in range(50)}
    raw = images.disk(tmp_path / "disk.raw", images.tree(tmp_path / "tree", files | {"srv/kept": b"y"}))
    images.debugfs(raw, *(f"rm /srv/{SECRET.decode()}-{number}" for number in range(50)))
    assert SECRET in raw.read_bytes()
    ext4.rebuild_directories(raw, images.ROOT_START)
    ext4.punch_free_blocks(raw, images.ROOT_START)  # the old blocks of the directories
    assert SECRET not in raw.read_bytes()
    assert ext4.check_filesystem(raw, images.ROOT_START) == []
    assert "kept" in images.debugfs(raw, "ls /srv")


def test_what_lies_at_a_byte(tmp_path: Path) -> None:
    raw = planted(tmp_path, "-b", "4096")
    listed = images.debugfs(raw, "bmap <8> 7", "bmap /root/kept 2", "bmap /root 0")
    journal, kept, root = (int(line) for line in listed.splitlines() if line.isdigit())
    free = int(re.findall(r"Free blocks: (\d+)", ext4._tool(["dumpe2fs"], raw, images.ROOT_START).stdout)[-1])
    places = [images.ROOT_START + block * 4096 + 100 for block in (journal, kept, root, free, 0, 1)]
    assert ext4.owners(raw, images.ROOT_START, places) == [
        "the journal",
        "/root/kept",
        "the names in /root",
        "a free block",
        "metadata of the file system",
        "metadata of the file system",
    ]


def test_a_journal_to_replay_is_a_fault_and_forbids_wiping(tmp_path: Path) -> None:
    raw = planted(tmp_path)
    images.debugfs(raw, "feature needs_recovery")
    assert any("needs_recovery" in fault for fault in ext4.check_filesystem(raw, images.ROOT_START))
    for wipe in (ext4.wipe_journal, ext4.punch_free_blocks, ext4.rebuild_directories):
        before = raw.read_bytes()
        with pytest.raises(BuildError, match="not unmounted cleanly"):
            wipe(raw, images.ROOT_START)
        assert raw.read_bytes() == before
    images.debugfs(raw, "feature -needs_recovery", "ssv state 0")
    assert ext4.check_filesystem(raw, images.ROOT_START)


def test_errors_are_found(tmp_path: Path) -> None:
    raw = planted(tmp_path)
    images.debugfs(raw, "clri /root/kept")
    found = ext4.check_filesystem(raw, images.ROOT_START)
    assert any("e2fsck found errors" in fault for fault in found)


def test_a_bitmap_that_disagrees_with_the_superblock_is_not_believed(tmp_path: Path) -> None:
    raw = planted(tmp_path)
    kept = content(raw, "/root/kept")
    images.debugfs(raw, "freeb 3000 50", "ssv free_blocks_count 5")
    with pytest.raises(BuildError, match="cannot be told"):
        ext4.punch_free_blocks(raw, images.ROOT_START)
    assert content(raw, "/root/kept") == kept


def test_a_question_mark_is_no_option(tmp_path: Path) -> None:
    folder = tmp_path / "what?offset=1"
    folder.mkdir()
    raw = planted(tmp_path).rename(folder / "disk.raw")
    assert ext4.check_filesystem(raw, images.ROOT_START) == []
    with pytest.raises(UsageError, match="question mark"):
        ext4.check_filesystem(raw.rename(folder / "disk?.raw"), images.ROOT_START)


def test_the_partition_is_found(tmp_path: Path) -> None:
    raw = images.disk(tmp_path / "disk.raw", images.tree(tmp_path / "tree"), esp={"EFI/BOOT/BOOTX64.EFI": b"MZ"})
    assert [(part.number, part.start) for part in ext4.ext4_partitions(raw)] == [(1, images.ROOT_START)]
    table = partitions.of_file(raw)
    assert table.kind == "gpt"
    found = {part.number: part for part in table.partitions}
    assert sorted(found) == [1, 14, 15]
    assert found[14].filesystem is None
    assert found[15].filesystem == FileSystem("vfat", "ESP", "1A2B-3C4D", clean=True)
    root = found[1].filesystem
    assert root is not None
    assert (root.kind, root.label, root.clean, found[1].name) == ("ext4", "root", True, "root")


def test_a_file_system_cannot_hold_a_build_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ext4, "SECONDS", 2)
    endless = tmp_path / "endless"
    os.mkfifo(endless)  # whoever opens it waits for ever
    seen: list[dict[str, str]] = []
    over = threading.Event()

    def look() -> None:
        while not seen and not over.is_set():
            for limits in Path("/proc").glob("[0-9]*/limits"):
                with contextlib.suppress(OSError):
                    command = (limits.parent / "cmdline").read_bytes().split(b"\0")
                    if b"dumpe2fs" in command[0] and (limits.parent / "cwd").readlink() == tmp_path:
                        seen.append(dict(re.findall(r"^(Max [a-z ]+?)  +(\S+)", limits.read_text(), re.MULTILINE)))

    watching = threading.Thread(target=look)
    watching.start()
    with pytest.raises(CommandFailed, match=r"dumpe2fs did not end within 2 s"):
        ext4.superblock(endless, 0)
    over.set()
    watching.join()
    assert int(seen[0]["Max cpu time"]) <= 3600
    assert int(seen[0]["Max data size"]) <= 8 << 30
    assert seen[0]["Max file size"] == seen[0]["Max core file size"] == "0"  # it may not make the image any larger
