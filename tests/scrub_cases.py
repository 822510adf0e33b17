"""What a scrub operation must find, remove and leave alone; its cases are in scrub_identity and scrub_traces.

A case lays *dirty* over the clean guest: ``verify`` must report exactly *reported*, and after ``apply`` only *stays*.
*benign* looks like dirt and is none: it must not be reported and must survive as it is. *after* says what some files
hold then, ``-> target`` for a symbolic link; None: they are gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from factory.scrub import Facts
from tests.guest_tree import Content, file, folder, link

HOST = "factory-0a1b2c3d4e"
FACTS = Facts(
    HOST, allow_users=("app", "1500"), own_files=("/etc/apt/apt.conf.d/99factory",), addresses=("10.9.8.7:3142",)
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== build\n"

PASSWD = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
postgres:x:105:110:PostgreSQL:/var/lib/postgresql:/bin/bash
app:x:1000:1000::/srv/app home:/bin/bash
"""
SHADOW = (
    "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\npostgres:!:19000::::::\napp:$y$j9T$abc$def:19000::::::\n"
)
CLOUD_CFG = """users: [default]
disable_root: true
cloud_init_modules:
 - migrator
 - growpart
 - ssh
"""
GUEST: Mapping[str, Content] = {
    "/etc/passwd": PASSWD,
    "/etc/shadow": file(SHADOW.encode(), 0o640),
    "/etc/group": "root:x:0:\n",
    "/etc/fstab": "LABEL=root / ext4 defaults 0 1\n",
    "/etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    "/etc/machine-id": file(b"", 0o444),
    "/etc/os-release": "ID=debian\nVERSION_ID=12\n",
    "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n#HostKey /etc/ssh/ssh_host_rsa_key\nUsePAM yes\n",
    "/etc/ssh/moduli": "x",
    "/etc/cloud/cloud.cfg": CLOUD_CFG,
    "/etc/cloud/cloud.cfg.d/README": "x",
    "/etc/cloud/cloud.cfg.d/90_dpkg.cfg": "# run dpkg-reconfigure cloud-init\ndatasource_list: [NoCloud]\n",
    "/etc/skel/.bashrc": "x",
    "/etc/systemd/system/cloud-init.target.wants/cloud-init.service": link("/lib/systemd/system/cloud-init.service"),
    "/etc/systemd/system/multi-user.target.wants/ssh.service": link("/lib/systemd/system/ssh.service"),
    "/usr/lib/systemd/system/ssh.service": "[Service]\nExecStart=/usr/sbin/sshd -D\n",
    "/usr/lib/systemd/system/cloud-init.service": "[Service]\nExecStart=/usr/bin/cloud-init init\n",
    "/usr/lib/systemd/system-generators/cloud-init-generator": "#!/bin/sh\n",
    "/lib": link("usr/lib"),
    "/usr/sbin/sshd": "x",
    "/usr/bin/cloud-init": "x",
    "/root/.bashrc": "x",
    "/home": folder(),
    "/srv/app home/.profile": "x",
    "/var/lib/postgresql/15/main/PG_VERSION": "15\n",
    "/tmp": folder(0o1777),
    "/var/tmp": folder(0o1777),
    "/var/log/journal": folder(),
    "/var/log/apt": folder(),
    "/var/log/nginx": folder(),
    "/var/log/wtmp": file(b"", 0o664),
    "/var/lib/apt/lists/partial": folder(),
    "/var/cache/apt/archives/partial": folder(),
    "/var/lib/dpkg/status": "Package: x\n",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """See this module's docstring."""

    dirty: Mapping[str, Content]
    reported: frozenset[str] = frozenset()  # empty: every path of dirty
    stays: frozenset[str] = frozenset()
    benign: Mapping[str, Content] = field(default_factory=dict)
    after: Mapping[str, bytes | None] = field(default_factory=dict)

    @property
    def expected(self) -> frozenset[str]:
        return self.reported or frozenset(self.dirty)


def paths(*names: str) -> frozenset[str]:
    return frozenset(names)
