"""Takes the build's traces out of GRUB: notes about the last boot, and the disk it was installed on.

A ``recordfail`` makes the next boot wait 30 seconds at the menu. The build's disk in debconf makes every later upgrade
of grub-pc fail, or write to another disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, matching, text

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "GRUB's notes about the build's boots and disk"
ORDER = 190

_ENVIRONMENTS = ("/boot/grub/grubenv", "/boot/grub2/grubenv")
_SIZE = 1024  # bytes; GRUB overwrites it in place and can change nothing in any other
_NOTES = ("recordfail", "next_entry", "prev_saved_entry", "boot_indeterminate")
_ANSWERS = "/var/cache/debconf/config.dat"


def apply(_: Facts) -> str:
    """grub-editenv is called grub2-editenv on Fedora and SUSE."""
    unset = " ".join(_NOTES)
    return f"""
    for file in {" ".join(_ENVIRONMENTS)}; do
        if [ ! -f "$file" ] || [ -L "$file" ]; then
            continue
        fi
        for editor in grub-editenv grub2-editenv; do
            if command -v "$editor"; then
                "$editor" "$file" unset {unset}
            fi
        done
    done
    if [ -f {_ANSWERS} ] && grep -q '^Name: grub-pc/install_devices$' {_ANSWERS}; then
        sed -i -e '/^Name: grub-pc\\/install_devices$/,/^$/s|^Value: .*/dev/.*|Value: |' {_ANSWERS}
    fi
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """An environment block of the wrong size is one that GRUB cannot use."""
    for path, found in matching(image, *_ENVIRONMENTS):
        if found.kind != "file":
            continue
        content = text(image, path) or ""
        if found.size != _SIZE:
            yield Leftover(path, f"has {found.size} bytes, and GRUB needs {_SIZE}")
        for note in _NOTES:
            if match := re.search(rf"^{note}=(.+)$", content, re.MULTILINE):
                yield Leftover(path, f"{note} is set to {match[1][:20]!r}")
    for stanza in (text(image, _ANSWERS) or "").split("\n\n"):
        if "Name: grub-pc/install_devices\n" in stanza and re.search(r"^Value: .*/dev/", stanza, re.MULTILINE):
            yield Leftover(_ANSWERS, "grub-pc/install_devices names the build's disk")
