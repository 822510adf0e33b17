"""What an image file tells of itself, before anything follows what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImageFile:
    """The facts of one image file. Sizes in bytes."""

    path: Path
    size: int
    allocated: int  # on this host
    format: str  # QEMU's name: qcow2, raw, vmdk, vpc, vhdx, vdi


def look(path: Path) -> ImageFile:
    """The facts of the file *path*. Raises OSError when it cannot be read."""
    found = path.stat()
    with path.open("rb") as file:
        image_format = "qcow2" if file.read(4) == b"QFI\xfb" else "raw"
    return ImageFile(path, found.st_size, found.st_blocks * 512, image_format)
