"""What kind of disk image a file really is, by its content: a name or an extension proves nothing.

The one module that knows oslo.utils, whose format inspector was written for hostile images: it only reads, and finds
a header hidden inside another.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory import partitions, vmdk
from factory.errors import BaseError, FactoryError, ImageRefused, UsageError

DISKS = {"qcow2": "qcow2", "gpt": "raw", "vmdk": "vmdk", "vhd": "vpc", "vhdx": "vhdx", "vdi": "vdi"}
"""Names of the inspector that are a whole disk, and what QEMU calls them."""
_CHUNK = 1 << 16  # bytes
_HEADS = 4 << 20  # bytes, within which every format but one says all


@dataclass(frozen=True)
class ImageFormat:
    """*name* is QEMU's name for the format (for ``-f``); *virtual_size* is the size of the disk inside, in bytes."""

    name: str
    virtual_size: int


def detect(path: Path, *, failure: type[FactoryError] = BaseError, shown: str = "") -> ImageFormat:
    """The format of the disk image *path*, which errors call *shown*.

    Raises *failure* when it is no disk image, is several things at once, or refers to other files (a backing file, a
    data file, an extent elsewhere): opening such an image would read whatever file of this host it names.
    """
    from oslo_utils.imageutils import format_inspector as inspector

    logging.getLogger(inspector.__name__).setLevel(logging.CRITICAL)  # it would print warnings of its own
    name = shown or str(path)
    try:
        found = inspector.detect_file_format(str(path))
    except inspector.ImageFormatError as error:
        raise failure(
            f"{name} can be read as more than one kind of image",
            cause=str(error),
            hint="Convert it with 'qemu-img convert -f FORMAT -O qcow2', and check where it came from",
            code="image.ambiguous",
        ) from None
    except OSError as error:
        raise UsageError(f"{name} cannot be read", cause=str(error), code="usage.no-such-file") from error
    except AttributeError:  # of oslo.utils: it takes a text for the descriptor of a VMDK, and stumbles over it
        found = None
    if found is None or found.NAME not in DISKS:
        if issubclass(failure, ImageRefused):
            from factory import image_file

            file = image_file.look(path)
            raise failure(f"{name} is {file.described}, no disk image", command=file.instead, code="image.not-a-disk")
        kind = {"iso": "an ISO image", "luks": "an encrypted disk"}.get(found.NAME if found else "", "no disk image")
        raise failure(
            f"{name} is {kind}",
            cause="A disk image is a qcow2, VMDK, VDI, VHD or VHDX file, or a raw one with a partition table",
            hint="Name the image of an installed system, not its installer, an archive or another file",
            code="image.not-a-disk",
        )
    if found.NAME != "gpt":  # a partition table cannot refer to other files
        try:
            found.safety_check()
        except (inspector.SafetyCheckFailed, inspector.ImageFormatError) as error:
            faults = getattr(error, "failures", {})
            raise failure(
                f"{name} is an unsafe {found.NAME} image",
                cause="; ".join(str(fault) for fault in faults.values()) or str(error),
                hint="Flatten it where its backing file is: 'qemu-img convert -f FORMAT -O qcow2 IMAGE NEW'",
                code="image.unsafe",
            ) from None
    needed = _others(path) if found.NAME == "vmdk" else ()
    if needed:
        raise failure(
            f"{name} is an unsafe vmdk image",
            cause="; ".join(needed),
            hint="Flatten it where the other file is: 'qemu-img convert -f vmdk -O qcow2 IMAGE NEW'",
            code="image.unsafe",
        )
    if found.NAME == "qcow2" and _encrypted(path):
        raise failure(
            f"{name} is an encrypted qcow2 image", hint="Decrypt it with 'qemu-img convert'", code="image.encrypted"
        )
    size = path.stat().st_size if found.NAME == "gpt" else found.virtual_size
    return ImageFormat(DISKS[found.NAME], size)


@dataclass(frozen=True)
class Inspected:
    """What the inspector says of a file: the formats that it can be read as, by its own names (gpt, vhd, ...)."""

    names: tuple[str, ...]
    faults: tuple[str, ...]  # why it is not safe to open
    virtual_size: int  # bytes; 0 when it cannot tell


def inspected(path: Path) -> Inspected:
    """Every format that *path* can be read as, and what is unsafe. Raises OSError."""
    from oslo_utils.imageutils import format_inspector as inspector

    logging.getLogger(inspector.__name__).setLevel(logging.CRITICAL)
    wrapper = None
    with path.open("rb") as file:
        wrapper = inspector.InspectWrapper(file)
        left = _HEADS
        while chunk := wrapper.read(_CHUNK):
            left -= len(chunk)
            # Only a VMDK has something to say at its end too.
            if left <= 0 and not any(found.NAME == "vmdk" for found in _formats(wrapper)):
                break
        wrapper.close()
    found = [each for each in _formats(wrapper) if each.NAME != "raw"]
    faults: list[str] = []
    for each in found:
        if each.NAME in ("gpt", "iso"):
            continue
        try:
            each.safety_check()
        except (inspector.SafetyCheckFailed, inspector.ImageFormatError) as error:
            faults += [str(fault) for fault in getattr(error, "failures", {}).values()] or [str(error)]
    size = max((int(each.virtual_size) for each in found if each.NAME not in ("gpt", "iso")), default=0)
    return Inspected(tuple(sorted(each.NAME for each in found)), tuple(faults), size)


def _formats(wrapper: Any) -> list[Any]:
    try:
        return list(wrapper.formats or [])
    except Exception:  # noqa: BLE001 - it has no answer before it has seen enough
        return []


def _others(path: Path) -> tuple[str, ...]:
    """How a VMDK needs other files, which the inspector does not see."""
    with path.open("rb") as file:
        return vmdk.read(partitions.reader(file.fileno())).references


def _encrypted(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(32)  # crypt_method in the qcow2 header
        return file.read(4) != b"\0\0\0\0"
