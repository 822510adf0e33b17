"""An installed system: no ISO, no live or installer medium, no container image."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NoGuest, Note, Problem, Rule

MEDIA = ("/casper", "/LiveOS", "/live/filesystem.squashfs", "/images/pxeboot", "/isolinux", "/.disk/info")
CONTAINER = ("oci-layout", "manifest.json", "repositories")
NO_FILES = ("swap", "swsuspend", "LVM2_member", "crypto_LUKS")  # what lies in such a volume of LVM is looked at itself


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if looked.file.format in ("iso", "squashfs"):
        yield Problem("image", f"the file is {looked.file.described}", fix=looked.instead)
    if looked.archive is not None and (names := [name for name in CONTAINER if name in looked.archive.names]):
        yield Problem("image", f"the archive is a container image: it holds {', '.join(names)}")
    try:
        disk = looked.disk
    except NoGuest:
        return
    for part in disk.partitions():
        held = part.filesystem
        if held is None or held.kind in NO_FILES or part.number in disk.unreadable_partitions:
            continue
        if held.kind == "iso9660":
            yield Problem("image", f"partition {part.number} is an ISO file system ({held.label})")
            continue
        for path in MEDIA:
            if disk.exists(path, partition=part.number):
                yield Problem(path, f"partition {part.number} holds {path}, as installation and live media do")
