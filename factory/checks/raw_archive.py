"""The archive of a raw disk: gzip over a tar in GNU's old format, with disk.raw alone in it."""

from __future__ import annotations

from collections.abc import Iterator

from factory.archive import old_gnu
from factory.checks import Looked, Note, Problem, Rule

PACK = "tar --format=oldgnu -Sczf NEW.tar.gz disk.raw"
PACKED = f"tar -xzf IMAGE && {PACK}   # the one disk, named disk.raw"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    """*multiple*: what the size of disk.raw is a multiple of, in bytes."""
    archive = looked.archive
    if archive is None or not archive.gzipped:
        described = archive.described if archive is not None else looked.file.described
        yield Problem("image", f"the file is {described}, no tar.gz with disk.raw")
        return
    for fault in archive.faults:
        yield Problem("image", fault, fix=PACKED)
    if archive.names != ["disk.raw"]:
        yield Problem("image", f"it holds {', '.join(archive.names) or 'nothing'}, not disk.raw alone", fix=PACKED)
    if not old_gnu(archive.path):
        yield Problem("image", "its tar is not in GNU's old format", fix=PACKED)
    multiple = int(rule.parameters["multiple"])
    if looked.file.virtual_size % multiple:
        told = f"disk.raw has {looked.file.virtual_size} bytes, no multiple of {multiple}"
        yield Problem("image", told, fix=f"tar -xzf IMAGE && truncate -s %{multiple} disk.raw && {PACK}")
    yield Note("disk.raw alone, in a tar.gz of GNU's old format")
