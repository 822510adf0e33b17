"""What a VMDK says of itself, as QEMU and others would read it: its size, its type and the files that it needs.

oslo.utils refuses extents whose name holds a slash, and no more: not a parent, and not a file beside the image.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from factory.quoting import escape

ALONE = ("monolithicSparse", "streamOptimized")
"""Types whose data are in the file itself."""
_DESCRIPTOR = 0x200  # where QEMU looks for the name of a parent, whatever the header says
_LONGEST = 1 << 20  # bytes of a descriptor
_EXTENT = re.compile(r"(?:rw|rdonly|noaccess)\s+\S+\s+(\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class Vmdk:
    """*virtual_size* in bytes, 0 when it is not told; *references*: how it needs other files."""

    virtual_size: int
    subformat: str  # its createType
    references: tuple[str, ...]


def read(pread: Callable[[int, int], bytes]) -> Vmdk:
    """What the VMDK that *pread* reads says; nothing that it names is opened."""
    head = pread(0, 512)
    sparse = head[:4] == b"KDMV" and len(head) == 512
    sectors, place, length = 0, 0, _LONGEST // 512
    if sparse:
        sectors, _, place, length = struct.unpack_from("<QQQQ", head, 12)
    text = pread(place * 512, min(length * 512, _LONGEST)) if place < 1 << 20 else b""
    lines = text.split(b"\0")[0].decode("ascii", "replace").splitlines()
    types = _values(lines, "createtype")
    subformat = types[0] if types else ""
    return Vmdk(sectors * 512, subformat, tuple(_references(lines, types, text + pread(_DESCRIPTOR, 10240), sectors)))


def _references(lines: list[str], types: list[str], text: bytes, sectors: int) -> list[str]:
    told = f"a VMDK of the type {types[0]}" if types else "a VMDK that does not tell its type"
    elsewhere = f"{told} keeps its data in other files"
    if len(types) != 1 or types[0] not in ALONE:
        return [
            elsewhere
            if len(types) < 2
            else f"a VMDK that tells its type {len(types)} times may keep its data in other files"
        ]
    found: list[str] = []
    hint = re.search(rb'parentFileNameHint(?:\s*=\s*"?([^"\0\r\n]*))?', text, re.IGNORECASE)
    parents = [value for value in _values(lines, "parentcid") if value.lower() != "ffffffff"]
    if hint or parents:
        name = escape((hint[1] or b"").decode("utf-8", "replace")) if hint else ""
        found.append(f"it holds only the differences to another file{f', {name}' if name else ''}")
    kinds = [match[1] for line in lines if (match := _EXTENT.match(line.strip()))]
    if not sectors or [kind.lower() for kind in kinds] != ["sparse"]:
        found.append(elsewhere)
    return found


def _values(lines: list[str], key: str) -> list[str]:
    split = (line.partition("=") for line in lines)
    return [value.strip().strip('"')[:64] for name, _, value in split if name.strip().lower() == key]
