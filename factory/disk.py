"""Disk images through qemu-img: make, overlay, resize, convert, compare, look at.

:mod:`factory.qemu_img` builds the command lines, with the reasons for their form. Sizes are in bytes.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from factory import copying, files, qemu_img, run
from factory.errors import BuildError, CommandFailed, HostError

REASON = "to work with disk images"
PACKAGE = "qemu-utils"
PUBLISHED = {"compat": "1.1", "compression_type": "zlib"}  # what every importer reads; some refuse zstd

FULL = 16 << 20  # bytes; QEMU writes up to some MiB at once, and what was too large leaves the rest free

_PERCENT = re.compile(r"\((\d+(?:\.\d+)?)/100%\)")
_FULL = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)


class Progress(Protocol):
    """What a long operation reports to: a :class:`factory.console.Stage`."""

    def progress(self, done: int, total: int | None = None, unit: str = "bytes") -> None: ...


@dataclass(frozen=True)
class DiskInfo:
    """What ``qemu-img info`` says of one file; its backing file is named and not opened."""

    format: str  # qcow2, raw, vmdk, vpc, ...
    virtual_size: int  # of the disk inside, bytes
    actual_size: int  # allocated on this host, bytes
    backing: str = ""
    backing_format: str = ""
    data_file: str = ""  # qcow2 with its data in another file
    compat: str = ""  # qcow2: 0.10 or 1.1
    compression: str = ""  # qcow2: zlib or zstd
    cluster_size: int = 0  # bytes; 0 when the format has none
    snapshots: tuple[str, ...] = ()
    bitmaps: tuple[str, ...] = ()
    encrypted: bool = False
    extended_l2: bool = False
    dirty: bool = False  # not closed properly
    corrupt: bool = False  # QEMU found it damaged


@dataclass(frozen=True)
class Checked:
    """What ``qemu-img check`` found: *state* is sound, leaks (space lost, no data), corrupt, or unchecked (raw)."""

    state: str
    corruptions: int = 0
    leaks: int = 0
    output: str = ""


def create(path: Path, format: str, size: int, options: dict[str, str] | None = None) -> None:  # noqa: A002
    """Make an empty image of *size* bytes at *path*, which must not exist. Raises HostError when the disk is full."""
    _require_new(path)
    _make(qemu_img.create(path, format, size, options), path)


def create_overlay(
    base: Path, base_format: str, path: Path, size: int | None = None, cluster_size: int | None = None
) -> None:
    """Make the qcow2 *path*, which must not exist, on top of *base*; *size* may be larger than that of the base.

    With clusters of 4 KiB every block that the guest trims is really gone (with 64 KiB some stay, as measured).
    """
    _require_new(path)
    _make(qemu_img.overlay(base, base_format, path, size, cluster_size), path)


def flatten(source: Path, base: Path, destination: Path) -> None:
    """Write the chain of qcow2 overlays *source*, which ends with *base*, as one overlay of it at *destination*.

    Raises CommandFailed, and HostError when the disk is full.
    """
    _require_new(destination)
    with files.touching(destination, "Copying an overlay"):
        copying.clone_file(source, destination)
    # Not by "convert -B": that takes all that is not in the uppermost overlay for content of the base.
    _make(qemu_img.rebase(destination, base), destination)


def relocate(path: Path, base: Path) -> None:
    """Tell the qcow2 *path* that its base, with the same content, lies at *base* now. Raises CommandFailed."""
    _run(qemu_img.rebase(path, base, unsafe=True), path)


def resize(path: Path, format: str, size: int, *, shrink: bool = False) -> None:  # noqa: A002
    """Set the virtual size of the image. Raises CommandFailed, and HostError when the disk is full."""
    _run(qemu_img.resize(path, format, size, shrink=shrink), path)


def info(path: Path, format: str) -> DiskInfo:  # noqa: A002
    """What kind of image *path* is; safe on a hostile one. Raises CommandFailed when it is not a *format* image."""
    external = _external_data(path) if format == "qcow2" else None
    if external is not None:
        # qemu-img would open whatever file or address the header names (CVE-2024-4467), only to tell its size.
        return external
    run.find("qemu-img", reason=REASON, package=PACKAGE)  # prlimit, which starts it, would only say "failed to execute"
    done = run.run(qemu_img.info(path, format), reason=REASON, package=PACKAGE, timeout=60)
    return parse_info(json.loads(done.stdout))


def parse_info(data: dict[str, Any]) -> DiskInfo:
    """The answer of ``qemu-img info --output=json`` as a DiskInfo."""
    specific = data.get("format-specific", {}).get("data", {})
    return DiskInfo(
        format=data["format"],
        virtual_size=data["virtual-size"],
        actual_size=data.get("actual-size", 0),
        backing=data.get("backing-filename", ""),
        backing_format=data.get("backing-filename-format", ""),
        data_file=specific.get("data-file", ""),
        compat=specific.get("compat", ""),
        compression=specific.get("compression-type", ""),
        cluster_size=data.get("cluster-size", 0),
        snapshots=tuple(str(snapshot.get("name", "")) for snapshot in data.get("snapshots", [])),
        bitmaps=tuple(str(bitmap.get("name", "")) for bitmap in specific.get("bitmaps", [])),
        encrypted=bool(data.get("encrypted", False)),
        extended_l2=bool(specific.get("extended-l2", False)),
        dirty=bool(data.get("dirty-flag", False)),
        corrupt=bool(specific.get("corrupt", False)),
    )


def detect_format(path: Path) -> str:
    """QEMU's name for what *path* really holds, by its content.

    Raises BuildError when it is no disk image, more than one kind at once, or names other files of this host.
    """
    from factory import image_format

    return image_format.detect(path, failure=BuildError).name


def convert(
    source: Path,
    source_format: str,
    destination: Path,
    destination_format: str,
    *,
    compress: bool = False,
    options: dict[str, str] | None = None,
    stage: Progress | None = None,
) -> None:
    """Write what a guest would read from *source*, its backing files included, as a new image at *destination*.

    A qcow2 gets the options of a published one unless *options* says otherwise. *stage* gets the progress, in bytes of
    the virtual disk. A destination that was only begun is removed. Raises HostError when the disk is full.
    """
    _require_new(destination)
    if destination_format == "qcow2":
        options = PUBLISHED | (options or {})
    argv = qemu_img.convert(
        source,
        source_format,
        destination,
        destination_format,
        compress=compress,
        options=options,
        threads=2 * (os.cpu_count() or 1),
    )
    total = info(source, source_format).virtual_size if stage else 0

    def follow(text: str) -> None:
        found = _PERCENT.findall(text)
        if stage and found:
            stage.progress(int(float(found[-1]) / 100 * total), total)

    try:
        _run(argv, destination, follow)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise


def check(path: Path, format: str) -> Checked:  # noqa: A002
    """Whether the structures of the image itself are sound (not the file systems in it). Raises CommandFailed."""
    run.find("qemu-img", reason=REASON, package=PACKAGE)
    argv = qemu_img.check(path, format)
    done = run.run(argv, reason=REASON, package=PACKAGE, allowed=(0, 2, 3, 63), timeout=600)
    if done.status == 63:
        return Checked("unchecked", output=f"{format} has nothing to check")
    answer = json.loads(done.stdout)
    return Checked(
        {0: "sound", 2: "corrupt", 3: "leaks"}[done.status],
        answer.get("corruptions", 0),
        answer.get("leaks", 0),
        done.stderr.strip(),
    )


def raw_copy(source: Path, format: str, destination: Path) -> None:  # noqa: A002
    """Write the disk in an image that may be hostile, and stands alone, as a raw file; QEMU has limits, and 10 minutes.

    Raises CommandFailed, and HostError when the disk is full.
    """
    run.find("qemu-img", reason=REASON, package=PACKAGE)
    argv = [*qemu_img.CHECK_LIMITS, *qemu_img.convert_alone(source, format, destination)]
    try:
        run.run(argv, reason=REASON, package=PACKAGE, timeout=600)
    except CommandFailed as error:
        raise _explained(error, destination) from None


def compare(first: Path, first_format: str, second: Path, second_format: str) -> bool:
    """Whether a guest would read the same from both; unwritten and zero are the same. Raises CommandFailed."""
    argv = qemu_img.compare(first, first_format, second, second_format)
    return run.run(argv, reason=REASON, package=PACKAGE, allowed=(0, 1)).status == 0


def sha256(path: Path, stage: Progress | None = None) -> str:
    """The sha256 of a file in hexadecimal. Raises HostError when it cannot be read."""
    with files.touching(path, "Reading an image"):
        return copying.file_digest(path, report=stage.progress if stage else None)


def full(folder: Path) -> bool:
    """Whether the file system of *folder* has no space left for a write of QEMU."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return False
    return status.f_bavail * status.f_frsize < FULL


def require_space(path: Path, needed: int, what: str) -> None:
    """Raise HostError unless *needed* bytes are free for *path*, which may not exist yet; *what* is the one in need."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise HostError(
            f"{what} needs {_gib(needed)} under {place}, and {_gib(free)} are free there",
            hint="Free some space (factory gc removes what crashed runs left) or choose another place",
            code="host.disk-space",
        )


def _external_data(path: Path) -> DiskInfo | None:
    """The DiskInfo of a qcow2 whose header has the external-data-file bit, from the header alone; else None."""
    with files.touching(path, "Reading an image"), path.open("rb") as file:
        header = file.read(80)
        allocated = os.fstat(file.fileno()).st_blocks * 512
    if len(header) < 80 or header[:4] != b"QFI\xfb":
        return None
    version, size, features = struct.unpack(">I", header[4:8])[0], *struct.unpack(">Q", header[24:32]), header[79]
    if version < 3 or not features & 4:
        return None
    return DiskInfo("qcow2", size, allocated, data_file="(another file)", compat="1.1")


def _require_new(path: Path) -> None:
    if os.path.lexists(path):
        raise HostError(f"{path} is already there", hint="Move it away or choose another place", code="host.exists")


def _make(argv: Sequence[str], path: Path) -> None:
    try:
        _run(argv, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _run(argv: Sequence[str], path: Path, on_output: Callable[[str], None] | None = None) -> None:
    """Run a command that writes to *path*."""
    try:
        if on_output:
            run.stream(argv, on_output=on_output, reason=REASON, package=PACKAGE)
        else:
            run.run(argv, reason=REASON, package=PACKAGE)
    except CommandFailed as error:
        raise _explained(error, path) from None


def _explained(error: CommandFailed, path: Path) -> CommandFailed | HostError:
    """*error*, or that the disk of *path* is full when qemu-img says so."""
    if not _FULL.search(error.output):
        return error
    return HostError(
        f"No space left on the disk of {path.parent}",
        cause=error.cause,
        hint="Free some space (factory gc removes what crashed runs left) or choose another place",
        output=error.output,
        code="host.disk-space",
    )


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
