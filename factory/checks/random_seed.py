"""Random seeds: none is stored, in the system or on any EFI system partition, mounted or not.

Parameters: ``files``, patterns of paths; ``on_esp``, paths on a FAT partition. Empty files are none.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import matching, size


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    for pattern in rule.parameters.get("files", []):
        for path, found in matching(image, pattern):
            if found.kind == "file" and found.size:
                yield Problem(path, f"{path}: {size(found)}")
    fat = {part.number for part in image.partitions() if part.filesystem and part.filesystem.kind == "vfat"}
    places = {number: place for place, number in image.mounts().items() if number in fat}
    for name in rule.parameters.get("on_esp", []):
        for number in sorted(fat):
            on_esp = image.stat(name, partition=number)
            if on_esp and on_esp.size:
                path = f"{places[number]}{name}" if number in places else f"partition {number}: {name}"
                yield Problem(path, f"{path}: {size(on_esp)}")
        for top in ("/boot", "/boot/efi", "/efi"):  # where they are folders of another file system
            other = image.stat(f"{top}{name}")
            if other and other.size and other.partition not in fat:
                yield Problem(f"{top}{name}", f"{top}{name}: {size(other)}")
