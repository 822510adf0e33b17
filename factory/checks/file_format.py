"""The format: the file is one disk image, whatever its name says, and of a format that is taken."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.image_file import DISKS, NAMES

SHOWN = {"vpc": "vhd"}


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    """*formats* (QEMU's names; without it: any disk), *subformats* of some of them, *multiple* of the disk's size."""
    file, archive = looked.file, looked.archive
    formats = rule.parameters.get("formats")
    if archive is not None and archive.kind not in looked.target.containers:
        yield Problem("image", f"the file is {archive.described}", fix=looked.instead)
        return
    if formats is None:
        if file.ambiguous:
            yield Problem("image", f"the file can be read as {file.format} and as {', '.join(file.ambiguous)}")
        if file.absurd:
            yield Problem(
                "image", f"the disk would have {file.virtual_size} bytes, more than any disk", fix=looked.instead
            )
        if file.format not in DISKS:
            yield Problem("image", f"the file is {NAMES.get(file.format, file.format)}, and no disk image")
    elif file.format not in formats:
        wanted = ", ".join(SHOWN.get(name, name) for name in formats)
        yield Problem("image", f"the file is {file.described}; taken are {wanted}")
    subformats = rule.parameters.get("subformats", {}).get(file.format)
    if subformats and file.subformat not in subformats:
        yield Problem("image", f"its type is {file.subformat or 'not told'}; taken are {', '.join(subformats)}")
    multiple = int(rule.parameters.get("multiple", "1"))
    if file.format in DISKS and file.virtual_size % multiple:
        yield Problem("image", f"its disk has {file.virtual_size} bytes, no multiple of {multiple}")
    yield Note(f"{file.described}, a disk of {file.virtual_size} bytes")
