"""Takes the build's host name out of every setting.

cloud-init gives the build a name of its own and writes it to /etc/hostname and /etc/hosts; packages that are then
installed (mail servers, databases) copy it into their settings. All instances would go by it. /etc/hostname is removed
when it holds that name: cloud-init names each instance. Elsewhere in /etc, and in debconf's answers, the name becomes
``localhost``. Other names, such as one a recipe sets, stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, below, holds, text

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "The build's host name"
ORDER = 50

_PLACES = ("/etc", "/usr/local/etc", "/var/cache/debconf", "/var/lib/exim4")
_ADDED = "# Added by cloud-init"  # the line above what cloud-init adds to /etc/hosts; it has the date of the build


def apply(facts: Facts) -> str:
    """Lines of /etc/hosts go whole; a resolver needs a line for localhost."""
    name = facts.hostname
    return f"""
    if [ -f /etc/hosts ]; then
        sed -i -e '/{name}/d' -e '/^{_ADDED}/d' /etc/hosts
        grep -q '^127\\.0\\.0\\.1[[:space:]]' /etc/hosts || printf '127.0.0.1\\tlocalhost\\n' >>/etc/hosts
    fi
    [ ! -f /etc/hostname ] || ! grep -q '{name}' /etc/hostname || rm -f /etc/hostname
    for directory in {" ".join(_PLACES)}; do
        [ -d "$directory" ] || continue
        files=$(grep -rlIF -e '{name}' "$directory") || [ $? -eq 1 ]
        [ -n "$files" ] || continue
        printf '%s\\n' "$files" | while IFS= read -r file; do
            sed -i 's/{name}/localhost/g' "$file"
        done
    done
"""


def verify(image: Image, facts: Facts) -> Iterator[Leftover]:
    """Names of files count too. The rest of the disk is searched for the name with the build's other canaries."""
    needle = facts.hostname.encode()
    for path, found in below(image, *_PLACES):
        if facts.hostname in path:
            yield Leftover(path, "is named after the build's host")
        if found.kind == "file" and found.size and holds(image, path, needle):
            yield Leftover(path, "holds the build's host name")
        if found.kind == "symlink" and facts.hostname in image.readlink(path):
            yield Leftover(path, "points to something named after the build's host")
    for number, line in enumerate((text(image, "/etc/hosts") or "").splitlines(), 1):
        if line.startswith(_ADDED):
            yield Leftover("/etc/hosts", f"line {number} says when the build's cloud-init wrote it")
