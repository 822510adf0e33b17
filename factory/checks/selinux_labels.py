"""SELinux labels: where SELinux is enforced, the files that decide over a login and the boot carry a label.

A file that was written from outside of the running system has none, and programs may not read it. With /.autorelabel
the first boot labels everything anew, and starts once more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.leftovers import text
from factory.reading import homes

_CONFIG = "/etc/selinux/config"
_RELABEL = "/.autorelabel"
_NAME = "security.selinux"
_UNLABELED = ("unlabeled_t", "file_t", "default_t")
_PATHS = (
    "/", "/etc", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/fstab", "/etc/machine-id",
    "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/ssh", "/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d",
    "/etc/pam.d", "/etc/sudoers", "/etc/sudoers.d", "/etc/cloud", "/etc/cloud/cloud.cfg", "/etc/selinux/config",
    "/etc/systemd/system", "/etc/NetworkManager", "/etc/sysconfig", "/boot", "/root", "/home", "/var", "/var/log",
    "/var/lib", "/var/lib/cloud", "/usr", "/usr/bin", "/usr/sbin", "/usr/sbin/sshd", "/usr/lib/systemd/systemd",
    "/usr/bin/bash",
)  # fmt: skip
_DROP_INS = ("/etc/ssh/sshd_config.d", "/etc/cloud/cloud.cfg.d", "/etc/sudoers.d", "/etc/systemd/system")
_TYPES = {"/etc/shadow": ("shadow_t",), "/etc/gshadow": ("shadow_t",), "/etc/passwd": ("passwd_file_t", "etc_t")}


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    settings = dict(re.findall(r"^(SELINUX|SELINUXTYPE)=(\w+)", text(image, _CONFIG) or "", re.MULTILINE))
    if settings.get("SELINUX", "disabled") == "disabled":
        raise NotApplicable(f"{_CONFIG} does not switch SELinux on")
    if not image.glob(f"/etc/selinux/{settings.get('SELINUXTYPE', 'targeted')}/policy/policy.*"):
        raise NotApplicable("no policy of SELinux is installed")
    if image.exists(_RELABEL):
        yield Note(f"{_RELABEL} is there: the first boot labels all files, and starts once more")
        return
    mild = settings["SELINUX"] != "enforcing"
    in_homes = [f"{home}{name}" for home in looked.know(homes.read).names for name in ("", "/.ssh") if home]
    drop_ins = [path for folder in _DROP_INS for path in image.glob(f"{folder}/*")]
    seen = 0
    for path in dict.fromkeys([*_PATHS, *in_homes, *drop_ins]):
        found = image.stat(path)
        if found is None or found.kind == "symlink":
            continue
        kind = next((part.filesystem.kind for part in image.partitions()
                     if part.number == found.partition and part.filesystem), "")  # fmt: skip
        if kind == "vfat":  # holds no labels: the mount gives one to all of it
            continue
        seen += 1
        label = image.xattrs(path).get(_NAME, b"").rstrip(b"\0").decode("utf-8", "replace")
        fields = label.split(":")
        label_type = fields[2] if len(fields) > 2 else ""
        if not label_type or label_type in _UNLABELED:
            yield Problem(path, f"{path}: {label or 'no label'}", warn=mild)
        elif path in _TYPES and label_type not in _TYPES[path]:
            yield Problem(path, f"{path}: {label}, not {_TYPES[path][0]}", warn=mild)
    yield Note(f"{seen} files are labelled")
