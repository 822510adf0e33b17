"""Takes cloud-init back to the state before its first boot: no instance, no seed, no log, none of the files it wrote.

With the build's instance still in /var/lib/cloud, cloud-init can take a new machine for the old one and give it no key;
a seed left there even wins over the cloud's own data. The user-data in it holds the build's keys. ``cloud-init clean``
comes first, because it runs the scripts in /etc/cloud/clean.d only while /var/lib/cloud is there; then goes what it
leaves: sudo rules of users that the recipe does not allow, its sshd drop-in, apt proxy and lines in fstab.

A recipe's own scripts in /var/lib/cloud/scripts go with it: put them elsewhere and start them by a systemd unit. Mounts
and swap that a recipe asks cloud-init for belong to the build's machine and go as well.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, any_below, remaining, text

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "The state, seed, logs and settings that cloud-init made for the build's instance"
ORDER = 30

SUDOERS = "/etc/sudoers.d/90-cloud-init-users"
_FILES = (
    "/etc/ssh/sshd_config.d/50-cloud-init.conf",
    "/etc/apt/apt.conf.d/90cloud-init-aptproxy",
    "/var/log/cloud-init*.log*",
)
_FSTAB = "comment=cloudconfig"


def apply(facts: Facts) -> str:
    """Newer versions also remove settings (``--configs``); whether this one does, its source tells fastest."""
    allowed = "|".join(map(re.escape, facts.allow_users)) or "no user"
    return f"""
    if command -v cloud-init; then
        set -- clean --logs --seed
        if grep -qs -e '"--configs"' /usr/lib/python3*/*-packages/cloudinit/cmd/clean.py; then
            set -- "$@" --configs all
        fi
        cloud-init "$@"
    fi
    empty /var/lib/cloud
    remove {" ".join(_FILES)}
    if [ -f {SUDOERS} ]; then
        if rules=$(grep -E {shlex.quote(f"^({allowed})[[:space:]]")} {SUDOERS}); then
            printf '%s\\n' "$rules" >{SUDOERS}
        else
            rm -f {SUDOERS}
        fi
    fi
    ! grep -qs '{_FSTAB}' /etc/fstab || sed -i '/{_FSTAB}/d' /etc/fstab
"""


def verify(image: Image, facts: Facts) -> Iterator[Leftover]:
    """Nothing may be in /var/lib/cloud; rules for allowed users may stay in cloud-init's sudoers file."""
    yield from any_below(image, "/var/lib/cloud")
    yield from remaining(image, *_FILES, empty=True)
    for number, line in enumerate((text(image, SUDOERS) or "").splitlines(), 1):
        words = line.split()
        if words and not line.startswith("#") and words[0] not in facts.allow_users:
            yield Leftover(SUDOERS, f"line {number} gives rights to {words[0]}")
    for number, line in enumerate((text(image, "/etc/fstab") or "").splitlines(), 1):
        if _FSTAB in line:
            yield Leftover("/etc/fstab", f"line {number} mounts what the build's cloud-init was told of")
