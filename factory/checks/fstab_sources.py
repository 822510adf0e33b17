"""Foreign mounts: fstab waits for no network share, no share of a hypervisor, no other cloud's disk and no CD-ROM."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import fstab

_SHARES = {
    "vboxsf": "a shared folder of VirtualBox",
    "vmhgfs": "a shared folder of VMware",
    "fuse.vmhgfs-fuse": "a shared folder of VMware",
    "prl_fs": "a shared folder of Parallels",
    "9p": "a folder that the build host shared",
    "virtiofs": "a folder that the build host shared",
} | dict.fromkeys(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "fuse.glusterfs", "fuse.sshfs", "lustre"),
    "a network file system",
)
_EPHEMERAL = re.compile(
    r"/dev/disk/(?:cloud|azure)/|(?:LABEL=|by-label/)(?:ephemeral|Temporary)|^ephemeral\d|/mnt/resource"
)
_OPTICAL = re.compile(r"/dev/(?:sr\d+|cdrom\d*|dvd|scd\d+|fd\d+)|(?:LABEL=|by-label/)(?:cidata|CIDATA|config-2)")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    lines = looked.know(fstab.read)
    for line in lines:
        if not line.needed:
            continue
        elif line.kind in _SHARES:
            yield Problem(fstab.PATH, f"{line.evidence}: {_SHARES[line.kind]}")
        elif _EPHEMERAL.search(line.source) or _EPHEMERAL.search(line.place):
            yield Problem(fstab.PATH, f"{line.evidence}: a disk that only another cloud has")
        elif _OPTICAL.search(line.source) or line.kind == "iso9660":
            yield Problem(fstab.PATH, f"{line.evidence}: a medium of the build's machine")
    yield Note(f"{len(lines)} lines of {fstab.PATH}, each of them of this disk")
