"""The archive of a raw disk: gzip over a tar in GNU's old format, with disk.raw alone in it."""

from __future__ import annotations

from collections.abc import Iterator

from factory.archive import old_gnu
from factory.checks import Looked, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    """*multiple*: what the size of disk.raw is a multiple of, in bytes."""
    archive = looked.archive
    if archive is None or not archive.gzipped:
        described = archive.described if archive is not None else looked.file.described
        yield Problem("image", f"the file is {described}, no tar.gz with disk.raw")
        return
    for fault in archive.faults:
        yield Problem("image", fault)
    if archive.names != ["disk.raw"]:
        yield Problem("image", f"it holds {', '.join(archive.names) or 'nothing'}, not disk.raw alone")
    if not old_gnu(archive.path):
        yield Problem("image", "its tar is not in GNU's old format")
    multiple = int(rule.parameters["multiple"])
    if looked.file.virtual_size % multiple:
        yield Problem("image", f"disk.raw has {looked.file.virtual_size} bytes, no multiple of {multiple}")
    yield Note("disk.raw alone, in a tar.gz of GNU's old format")
