"""Hibernation: nothing waits for a swap device that this disk does not have, and no swap holds a sleeping system."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.drivers import MADE_ANEW, unpacked
from factory.leftovers import text
from factory.reading import boot_entries, devices

_CONFIGURED = (
    "/etc/initramfs-tools/conf.d/*",
    "/etc/initramfs-tools/initramfs.conf",
    "/usr/share/initramfs-tools/conf.d/*",
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    disk = looked.know(devices.read)
    for entry in looked.know(boot_entries.read).entries:
        for value in entry.option("resume"):
            if (
                value
                and value != "none"
                and disk.judge(value) in ("missing", "name")
                and "noresume" not in entry.options
            ):
                yield Problem(entry.path, f"{entry.evidence}: resume={value} is not on this disk by an id")
    for path in sorted({path for pattern in _CONFIGURED for path in image.glob(pattern)}):
        for number, value in _resumes(text(image, path) or ""):
            if disk.judge(value) in ("missing", "name"):
                yield Problem(
                    path, f"{path}:{number}: RESUME={value} goes into the next initramfs, and is not on this disk"
                )
    for archive in looked.know(unpacked).values():
        for name, content in archive.small.items():
            if not name.startswith("conf/conf.d/"):
                continue
            for number, value in _resumes(content.decode("utf-8", "replace")):
                if disk.judge(value) in ("missing", "name"):
                    yield Problem(archive.path, f"{archive.path}: {name}:{number}: RESUME={value} is not on this disk")
        for name, word in archive.words:
            if word.startswith("resume=") and disk.judge(word.removeprefix("resume=")) in ("missing", "name"):
                evidence = f"{archive.path}: {name}: {word} is not on this disk by an id"
                yield Problem(archive.path, evidence, fix=f"In the guest, {MADE_ANEW}")
    for part in image.partitions():
        if part.filesystem and part.filesystem.kind == "swsuspend":
            yield Problem("image", f"partition {part.number} holds the memory of a sleeping system")
    yield Note("no boot waits for a swap device")


def _resumes(content: str) -> Iterator[tuple[int, str]]:
    """Line and value of each RESUME= that names a device."""
    for number, line in enumerate(content.splitlines(), 1):
        match = re.match(r"""\s*(?:export\s+)?RESUME=["']?([^"'\s#]*)""", line)
        if match and match[1] not in ("", "none", "auto"):
            yield number, match[1]
