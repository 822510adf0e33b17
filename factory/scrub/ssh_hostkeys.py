"""Deletes the SSH host keys of every type, and proves that each machine will make its own.

With the same host keys on all machines, whoever owns one of them can pass for the others. They are deleted by pattern
and not by name: images have shipped a key of a type that was too new for somebody's list. Without host keys sshd does
not start, and most distributions make them only when the package is installed; so that something makes them at the
first boot (cloud-init's ssh module, or a unit that runs ssh-keygen) is checked as well.

A key that sshd_config names in another place is deleted too; the image is refused if no unit makes it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory import host_key_source, sshd_config
from factory.leftovers import Leftover, matching, size

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "SSH host keys, and that something makes them again"
ORDER = 110

_KEYS = (
    "/etc/ssh/*host*key*",
    "/etc/ssh/*_key-cert.pub",
    "/usr/etc/ssh/*host*key*",
    "/var/lib/ssh/*host*key*",
    "/etc/dropbear/*_host_key*",
    "/etc/dropbear/initramfs/*_host_key*",
    "/etc/dropbear-initramfs/*_host_key*",
)


def apply(_: Facts) -> str:
    """HostKey lines are obeyed wherever they stand, in a Match block or not."""
    return f"""
    remove {" ".join(_KEYS)}
    {sshd_config.shell("HostKey")} | while IFS= read -r file; do
        case $file in
            /*) remove "$file" "$file.pub" "$file-cert.pub" ;;
        esac
    done
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Empty files count: sshd takes them for keys and does not start."""
    named = [path for path in sshd_config.values(image, "HostKey") if path.startswith("/")]
    present = dict(matching(image, *_KEYS))
    for path in (each for key in named for each in (key, f"{key}.pub", f"{key}-cert.pub")):
        if found := image.stat(path):
            present[path] = found
    for path, found in present.items():
        yield Leftover(path, f"a host key ({size(found)})")
    if reasons := host_key_source.missing(image, named):
        yield Leftover("/etc/ssh", f"nothing makes host keys at the first boot: {'; '.join(reasons)}")
