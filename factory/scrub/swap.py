"""Empties swap space: what was swapped out during the build is the build's memory, keys included.

The space that /etc/fstab names, and files with the usual names, are overwritten with zeros and made swap space again,
under the same UUID and label. A swap file that cloud-init made for the build's instance is removed; its line in fstab
goes with cloud-init's others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, text

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.partitions import Partition
    from factory.scrub import Facts

SUMMARY = "The build's memory in swap space"
ORDER = 20  # before cloud-init's lines in fstab go

_USUAL = ("/swapfile", "/swap.img", "/swap/swapfile")
_HEADER = 4096  # bytes: a page; the rest is pages that were swapped out
_PIECE = 8 << 20  # bytes of a partition at a time
_SIGNATURES = {
    b"SWAPSPACE2": "",
    b"SWAP-SPACE": "",
    b"S1SUSPEND\0": "a machine that sleeps",
    b"ULSUSPEND\0": "the same",
}


def apply(_: Facts) -> str:
    """Swap is off already; zeros cost no space in the image."""
    return f"""
    {{
        [ ! -f /etc/fstab ] || cat /etc/fstab
        for file in {" ".join(_USUAL)}; do
            [ ! -f "$file" ] || grep -qs "^${{file}}[[:space:]]" /etc/fstab || printf '%s none swap sw\\n' "$file"
        done
    }} | while read -r device _ kind options _; do
        case $device:$kind in
            '#'*) continue ;;
            UUID=*:swap | LABEL=*:swap | PARTUUID=*:swap | PARTLABEL=*:swap) device=$(findfs "$device") || continue ;;
            /*:swap) ;;
            *) continue ;;
        esac
        [ -e "$device" ] || continue
        if [ -f "$device" ]; then
            case $options in *comment=cloudconfig*) rm -f "$device"; continue ;; esac
        fi
        uuid=$(blkid -p -s UUID -o value "$device") || uuid=
        label=$(blkid -p -s LABEL -o value "$device") || label=
        if [ -b "$device" ]; then
            blkdiscard -z "$device"
        else
            size=$(stat -c %s "$device")
            head -c "$size" /dev/zero | dd of="$device" bs=64k conv=notrunc,fsync
        fi
        mkswap ${{uuid:+-U "$uuid"}} ${{label:+-L "$label"}} "$device"
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Swap partitions and swap files that hold more than their header."""
    for part in image.partitions():
        is_swap = part.filesystem is not None and part.filesystem.kind == "swap" and part.type != "lvm"
        if is_swap and any(_behind_header(image, part)):
            yield Leftover(f"partition {part.number}", "holds pages of the build's memory")
    named = []
    for line in (text(image, "/etc/fstab") or "").splitlines():
        words = line.split()
        if len(words) > 2 and words[2] == "swap" and words[0].startswith("/") and not words[0].startswith("/dev/"):
            named.append(words[0])
    for path in dict.fromkeys([*named, *_USUAL]):
        found = image.stat(path, follow=True)
        if found is None or found.kind != "file" or not found.size:
            continue
        first = image.head(path, _HEADER)
        if sleeping := _SIGNATURES.get(first[-10:]):
            yield Leftover(path, f"holds the memory of {sleeping}")
            continue
        offset = 0
        for piece in image.chunks(path):
            rest = piece[max(0, _HEADER - offset) :]
            if rest.count(0) != len(rest):
                yield Leftover(path, "holds pages of the build's memory")
                break
            offset += len(piece)


def _behind_header(image: Image, part: Partition) -> Iterator[bytes]:
    end = part.start + part.size
    for offset in range(part.start + _HEADER, end, _PIECE):
        yield image.peek(offset, min(_PIECE, end - offset)).strip(b"\0")
