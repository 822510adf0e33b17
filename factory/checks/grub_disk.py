"""GRUB's disk: no later upgrade of GRUB writes to the disk of the build's machine.

debconf remembers where Debian's grub-pc was installed; on another disk the upgrade fails, or GRUB's two halves part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.leftovers import text

_ANSWERS = "/var/cache/debconf/config.dat"
_QUESTIONS = ("grub-pc/install_devices", "grub-pc/install_devices_disks_changed", "grub-efi/install_devices")
_DEVICES = ("/etc/grub_installdevice", "/etc/default/grub_installdevice")
_MAPS = ("/boot/grub/device.map", "/boot/grub2/device.map")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    content = text(image, _ANSWERS)
    line, name = 0, ""
    for line, words in enumerate((content or "").splitlines(), 1):
        if words.startswith("Name: "):
            name = words.removeprefix("Name: ").strip()
        elif words.startswith("Value:") and name in _QUESTIONS and "/dev/" in words:
            yield Problem(_ANSWERS, f"{_ANSWERS}:{line}: {name} is {words.removeprefix('Value:').strip()}")
    others = [path for path in (*_DEVICES, *_MAPS) if image.exists(path)]
    for path in others:
        for number, written in enumerate((text(image, path) or "").splitlines(), 1):
            if re.search(r"/dev/(?:disk/by-id/|disk/by-path/|[shv]d[a-z]|xvd|nvme)", written.partition("#")[0]):
                yield Problem(path, f"{path}:{number}: {written.strip()}")
    if content is None and not others:
        raise NotApplicable("GRUB's packages remember no disk here")
    yield Note("no disk is remembered")
