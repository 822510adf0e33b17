"""The disk as GRUB's commands see it: what a written path means, what ``search`` finds, and the tests of ``[``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from factory.inspection import Unreadable
from factory.reading.grub_menu import Place

if TYPE_CHECKING:
    from factory.inspection import Image

_DEVICE = re.compile(r"\(?(?:partition:(\d+)|hd0,(?:gpt|msdos)?(\d+)|hd0)\)?")
_INTEGERS = {"-eq": int.__eq__, "-ne": int.__ne__, "-lt": int.__lt__, "-le": int.__le__, "-gt": int.__gt__,
             "-ge": int.__ge__}  # fmt: skip


class GrubDisks:
    """The partitions of *image*. A *root* is the device that a path without one lies on."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._uuids = {p.filesystem.uuid.lower(): p.number for p in image.partitions() if p.filesystem}
        self._labels = {p.filesystem.label: p.number for p in image.partitions() if p.filesystem}

    def place(self, written: str, root: str) -> Place:
        """Which file *written* is, such as ``/vmlinuz`` or ``(hd0,gpt2)/vmlinuz``."""
        device, path = root, written
        if written.startswith("("):
            device, _, path = written[1:].partition(")")
        match = _DEVICE.fullmatch(device)
        number = int(match[1] or match[2] or 0) if match else None
        if number is not None and number not in {part.number for part in self._image.partitions()}:
            number = None
        return Place(number, "/" + path.lstrip("/"))

    def search(self, kind: str, wanted: str) -> int | None:
        """The partition with the UUID, the label or the file *wanted*; *kind* is the long or short option for it."""
        if kind in ("fs-uuid", "u"):
            return self._uuids.get(wanted.lower())
        if kind in ("label", "l"):
            return self._labels.get(wanted)
        for part in self._image.partitions():
            if part.filesystem and part.number not in self._image.unreadable_partitions:
                try:
                    there = self._image.exists("/" + wanted.lstrip("/"), partition=part.number)
                except Unreadable:
                    continue  # swap and the like hold no files
                if there:
                    return part.number
        return None

    def test(self, arguments: Sequence[str], root: str) -> bool:
        """What ``test`` says of *arguments*."""
        for operator, together in (("-o", any), ("-a", all)):
            if operator in arguments:
                at = arguments.index(operator)
                return together(self.test(each, root) for each in (arguments[:at], arguments[at + 1 :]))
        if arguments[:1] == ["!"]:
            return not self.test(arguments[1:], root)
        if len(arguments) == 1:
            return bool(arguments[0])
        if len(arguments) == 2:
            option, value = arguments
            if option in ("-z", "-n"):
                return bool(value) == (option == "-n")
            return option in ("-e", "-f", "-s", "-d") and self._file_test(option, self.place(value, root))
        return len(arguments) == 3 and _compared(*arguments)

    def _file_test(self, option: str, place: Place) -> bool:
        found = self._image.stat(place.path, follow=True, partition=place.partition)
        if found is None:
            return False
        return {"-d": found.kind == "dir", "-f": found.kind == "file", "-s": found.size > 0}.get(option, True)


def _compared(left: str, operator: str, right: str) -> bool:
    if operator in ("=", "==", "!="):
        return (left == right) == (operator != "!=")
    if operator in _INTEGERS:
        try:
            return bool(_INTEGERS[operator](int(left or 0), int(right or 0)))
        except ValueError:
            return False
    return {"<": left < right, ">": left > right}.get(operator, False)
