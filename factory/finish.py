"""From the powered-off disk to the published bytes: cleaned offline, shrunk and compressed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from factory import disk, ext4
from factory.errors import BuildError

if TYPE_CHECKING:
    from factory.console import Console


def finish(overlay: Path, image: Path, work: Path, console: Console) -> None:
    """Write the published *image* from *overlay*: no backing file, no free block with old data, zlib, compat 1.1."""
    raw = work / "finish.raw"
    with console.stage("shrink") as stage:
        disk.convert(overlay, "qcow2", raw, "raw", stage=stage)
        wiped = sum(clean(raw, partition.start) for partition in ext4.ext4_partitions(raw))
        stage.note(f"{wiped / 1e6:.0f} MB of old blocks wiped")
    with console.stage("convert") as stage:
        disk.convert(raw, "raw", image, "qcow2", compress=True, stage=stage)
        raw.unlink()
        checked = disk.check(image, "qcow2")
        if checked.state != "sound":
            raise BuildError(
                "qemu-img check finds faults in the image that qemu-img has just written",
                cause=checked.output.strip()[-300:],
                hint="Is the disk of this host failing? 'dmesg' tells",
                code="build.image-corrupt",
            )
        stage.note(f"{image.stat().st_size / 1e6:.0f} MB")


def clean(raw: Path, offset: int) -> int:
    """Wipe what deleted files left in the ext4 at *offset* (bytes); returns how many bytes became holes."""
    faults = ext4.check_filesystem(raw, offset)
    if faults:
        raise BuildError(
            "the guest's file system was not left clean",
            cause="; ".join(faults)[:500],
            hint="The guest did not power off in order: see the end of console-build.log",
            code="build.file-system",
        )
    ext4.rebuild_directories(raw, offset)
    return ext4.wipe_journal(raw, offset) + ext4.punch_free_blocks(raw, offset)
