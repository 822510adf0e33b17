"""ext4 inside a raw disk image, through e2fsprogs: no root, no loop device, no mount.

:func:`wipe_journal`, :func:`punch_free_blocks` and :func:`rebuild_directories` remove what deletion leaves behind:
names in the journal, content in free blocks, names in the slack of directory blocks. They change the file they are
given, so it must be a working copy, and they refuse a file system that was not unmounted cleanly. *offset* is the byte
at which the file system starts in *raw*; every other position and size is in bytes too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from factory import files, partitions, run
from factory.errors import BuildError, UsageError

REASON = "to look into an ext4 file system without mounting it"
PACKAGE = "e2fsprogs"
ROOT, JOURNAL = 2, 8  # inodes; the others below 11 are metadata

# What wrote the file system may be hostile. An honest one of hundreds of GiB takes far less.
SECONDS = 3600
LIMITS = ("--cpu=1800", f"--data={4 << 30}", "--core=0")

_PUNCH = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_ZEROS = bytes(1 << 20)
_EXTENT = re.compile(r"\((\d+)(?:\[u\])?(?:-(\d+)(?:\[u\])?)?\):(\d+)(?:-(\d+))?")
_ASKED_AT_ONCE = 500  # blocks or inodes on one command line


@dataclass(frozen=True)
class Superblock:
    """The fields of ``dumpe2fs -h`` that matter here."""

    block_size: int
    free_blocks: int
    features: frozenset[str]
    state: str  # "clean", "not clean", "clean with errors"
    journal_inode: int  # 0 without a journal, or with one on another device

    @property
    def clean(self) -> bool:
        """Whether it was unmounted, has an empty journal, and no error was met."""
        return self.state == "clean" and "needs_recovery" not in self.features


def ext4_partitions(raw: Path) -> list[partitions.Partition]:
    """The partitions of *raw* that hold ext2, ext3 or ext4. Raises OSError when it cannot be read."""
    table = partitions.of_file(raw)
    return [part for part in table.partitions if part.filesystem and part.filesystem.kind.startswith("ext")]


def superblock(raw: Path, offset: int) -> Superblock:
    """The state of the file system. Raises CommandFailed when there is none at *offset*."""
    return _superblock(_tool(["dumpe2fs", "-h"], raw, offset).stdout)


def check_filesystem(raw: Path, offset: int) -> list[str]:
    """Every fault of the file system; none when it is sound and was unmounted cleanly. Changes nothing.

    ``e2fsck -fn`` alone does not do: it ends with 0 although the journal still has to be replayed.
    """
    found = superblock(raw, offset)
    faults = []
    if found.state != "clean":
        faults.append(f"the state in its superblock is '{found.state}'")
    if "needs_recovery" in found.features:
        faults.append("its journal holds changes that were not written to their place (needs_recovery)")
    done = _tool(["e2fsck", "-fn"], raw, offset, allowed=(0, 4, 8, 12))
    if done.status:
        lines = [line for line in done.stdout.splitlines() if line and not line.startswith("Pass ")]
        faults.append("e2fsck found errors: " + "; ".join(lines[:10]))
    return faults


def rebuild_directories(raw: Path, offset: int) -> None:
    """Write all directories anew (``e2fsck -fyD``), so that no deleted name stays in the slack of their blocks.

    The blocks that they no longer need become free with their old content: :func:`punch_free_blocks` comes after it.
    """
    _require_clean(raw, offset)
    _tool(["e2fsck", "-fyD"], raw, offset, allowed=(0, 1))  # 1: changed something, and all is well


def edit(raw: Path, offset: int, commands: Iterable[str]) -> None:
    """Run *commands* of debugfs, which change the file system. Raises CommandFailed."""
    _tool(["debugfs", "-w", "-f", "-"], raw, offset, stdin="".join(f"{each}\n" for each in commands).encode())


def wipe_journal(raw: Path, offset: int) -> int:
    """Empty the journal except its first block, the journal's own superblock. Returns the bytes that were wiped.

    Old blocks of a journal hold copies of directories: deleted names. ``debugfs blocks <8>`` would also list the blocks
    of the journal's extent tree, whose loss would be the journal's, so only blocks with a place in the file are taken.
    """
    found = _require_clean(raw, offset)
    if not found.journal_inode:
        return 0
    listed = _tool(["debugfs", "-R", f"stat <{found.journal_inode}>"], raw, offset).stdout
    spans = []
    for first, _, start, end in _EXTENT.findall(listed.partition("EXTENTS:")[2] or listed.partition("BLOCKS:")[2]):
        begin = int(start) + (1 if int(first) == 0 else 0)
        spans.append((begin, int(end or start) + 1))
    if not spans:
        raise BuildError(f"The journal of the file system in {raw} cannot be located", code="disk.journal")
    return _wipe(raw, offset, found.block_size, spans)


def punch_free_blocks(raw: Path, offset: int) -> int:
    """Make a hole of every free block, so that nothing deleted can be read there. Returns the bytes that were wiped."""
    found = _require_clean(raw, offset)
    listed = _tool(["dumpe2fs"], raw, offset).stdout
    spans = []
    for line in re.findall(r"^  Free blocks: (.+)$", listed, re.MULTILINE):
        for span in line.split(","):
            first, _, last = span.strip().partition("-")
            spans.append((int(first), int(last or first) + 1))
    # A bitmap that disagrees with the superblock is damaged, and wiping by it would lose files.
    if "bigalloc" in found.features or sum(end - first for first, end in spans) != found.free_blocks:
        raise BuildError(
            f"The free blocks of the file system in {raw} cannot be told from the used ones",
            hint="Run 'e2fsck -f' on it",
            code="disk.free-blocks",
        )
    return _wipe(raw, offset, found.block_size, spans)


def owners(raw: Path, offset: int, positions: Sequence[int]) -> list[str]:
    """What lies at each of *positions* (bytes from the start of *raw*): a path, "a free block", "the journal", ..."""
    size = superblock(raw, offset).block_size
    blocks = [(position - offset) // size for position in positions]
    wanted = sorted(set(blocks))
    inodes = {
        int(block): int(inode)
        for block, inode in _ask(raw, offset, "icheck {}", wanted, r"^(\d+)\t(\d+)$", together=True)
    }
    known = sorted(set(inodes.values()))
    paths: dict[int, str] = {}
    for inode, path in _ask(raw, offset, "ncheck {}", known, r"^(\d+)\t(.*)$", together=True):
        paths.setdefault(int(inode), "/" + path.lstrip("/"))
    types = dict(_ask(raw, offset, "stat <{}>", known, r"^Inode: (\d+) +Type: (\w+)"))
    unowned = [block for block in wanted if block not in inodes]
    used = dict(_ask(raw, offset, "testb {}", unowned, r"Block (\d+) (marked|not) in use"))

    def name(block: int) -> str:
        if block not in inodes:
            return "a free block" if used.get(str(block)) == "not" else "metadata of the file system"
        inode = inodes[block]
        if inode == JOURNAL:
            return "the journal"
        if inode < 11 and inode != ROOT:
            return "metadata of the file system"
        if inode not in paths:
            return f"inode {inode}, which has no name"
        return f"the names in {paths[inode]}" if types.get(str(inode)) == "directory" else paths[inode]

    return [name(block) for block in blocks]


def _ask(
    raw: Path, offset: int, question: str, values: Sequence[int], answer: str, *, together: bool = False
) -> list[tuple[str, str]]:
    """Ask debugfs about each of *values*, or about all in one question (*together*); the groups of all answers."""
    found: list[tuple[str, str]] = []
    for start in range(0, len(values), _ASKED_AT_ONCE):
        some = [str(value) for value in values[start : start + _ASKED_AT_ONCE]]
        lines = [question.format(" ".join(some))] if together else [question.format(value) for value in some]
        listed = _tool(
            ["debugfs", "-f", "-"], raw, offset, stdin="".join(f"{line}\n" for line in lines).encode()
        ).stdout
        found += re.findall(answer, listed, re.MULTILINE)
    return found


def _superblock(listed: str) -> Superblock:
    fields = dict(re.findall(r"^([A-Z][^:\n]*):[ \t]+(.*?)[ \t]*$", listed, re.MULTILINE))
    return Superblock(
        block_size=int(fields["Block size"]),
        free_blocks=int(fields["Free blocks"]),
        features=frozenset(fields["Filesystem features"].split()),
        state=fields["Filesystem state"],
        journal_inode=int(fields.get("Journal inode", 0)),
    )


def _require_clean(raw: Path, offset: int) -> Superblock:
    found = superblock(raw, offset)
    if not found.clean:
        raise BuildError(
            f"The file system in {raw} was not unmounted cleanly",
            cause=f"Its state is '{found.state}'"
            + (", and its journal has to be replayed" if "needs_recovery" in found.features else ""),
            hint="The machine was killed, or did not finish its power-off: see the end of its console",
            code="disk.filesystem-not-clean",
        )
    return found


def _tool(
    argv: Sequence[str], raw: Path, offset: int, *, allowed: Sequence[int] = (0,), stdin: bytes | None = None
) -> run.Completed:
    # e2fsprogs takes what follows the first question mark as options: a folder's name must not be part of it.
    if "?" in raw.name:
        raise UsageError(
            f"{raw} has a question mark in its name, which e2fsprogs does not take", code="usage.file-name"
        )
    words = [*argv, f"./{raw.name}?offset={offset}"]
    with files.touching(raw, "Reading a file system"):
        limits = [*LIMITS, f"--fsize={raw.stat().st_size}"]  # nothing that is written lies behind its end
    return run.run(
        words,
        reason=REASON,
        package=PACKAGE,
        allowed=allowed,
        stdin=stdin,
        cwd=raw.absolute().parent,
        timeout=SECONDS,
        limits=limits,
    )


def _wipe(raw: Path, offset: int, block_size: int, spans: Iterable[tuple[int, int]]) -> int:
    """Make holes of the blocks [first, end) of each span; where the host's file system has no holes, write zeros."""
    total = 0
    with files.touching(raw, "Wiping blocks"):
        descriptor = os.open(raw, os.O_RDWR | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            for first, end in spans:
                start, length = offset + first * block_size, (end - first) * block_size
                if start + length > size:
                    raise BuildError(f"The file system in {raw} is larger than the file", code="disk.file-too-short")
                if not length:
                    continue
                _punch(descriptor, start, length)
                total += length
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return total


def _punch(descriptor: int, start: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(descriptor, _PUNCH, ctypes.c_int64(start), ctypes.c_int64(length)) == 0:
        return
    if ctypes.get_errno() not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for position in range(start, start + length, len(_ZEROS)):
        os.pwrite(descriptor, _ZEROS[: start + length - position], position)
