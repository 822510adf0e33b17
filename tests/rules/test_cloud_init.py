"""Rules about cloud-init: that it runs, finds this cloud's data, and knows nothing of the build."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import lvm_disk
from tests.images import MIB, ext
from tests.rule_images import (
    Case,
    Change,
    Guest,
    append,
    benign,
    cases,
    defect,
    folder,
    link,
    prove,
    remove,
    replace,
    write,
)

CLOUD = "/etc/cloud/cloud.cfg"
D = "/etc/cloud/cloud.cfg.d"
PIN = f"{D}/91-gce.cfg"
MINE = f"{D}/01_debian.cfg"
ALL = "datasource_list: [ NoCloud, ConfigDrive, OpenStack, Ec2, None ]\n"
SYSTEM = "/usr/lib/systemd/system"
ETC = "/etc/systemd/system"
PINNED = ("MGC-G02",)
STATIC = "network:\n  version: 2\n  ethernets:\n    ens3:\n      addresses: [192.168.122.50/24]\n"
GENERIC = "network:\n  version: 2\n  ethernets:\n    any:\n      match: {name: 'e*'}\n      dhcp4: true\n"
OFF = "network: {config: disabled}\n"
GRUB = "/boot/grub/grub.cfg"
LAST = "console=ttyS0,115200n8\n\tinitrd"  # the end of the command line in GRUB's entry


def kernel(words: str, family: str = "debian") -> Change:
    if family == "alpine":
        return replace("/boot/extlinux.conf", "console=ttyS0,115200n8", f"console=ttyS0,115200n8 {words}")
    return replace(GRUB, LAST, f"{words} {LAST}")


def on_lvm(guest: Guest) -> None:
    """The root is a logical volume."""

    def make(path: Path, content: Path, offset: int, size: int, *options: str) -> None:
        volume = path.with_suffix(".volume")
        ext(volume, content, 0, 48 * MIB, *options)
        lvm_disk.write(path, offset, size, "vg", {"root": volume})
        volume.unlink()

    guest.filesystem = make


def as_rhel_7(guest: Guest) -> None:
    """Python 2, every stage in multi-user.target, and no generator."""
    module = "/usr/lib/python3.9/site-packages/cloudinit/__init__.py"
    if module in guest.files:
        guest.files[module.replace("3.9", "2.7")] = guest.files.pop(module)
    in_multi_user(guest)
    del guest.files["/usr/lib/systemd/system-generators/cloud-init-generator"]


def in_multi_user(guest: Guest) -> None:
    for path in [path for path in guest.files if path.startswith(f"{ETC}/cloud-init.target.wants/")]:
        guest.files[path.replace("cloud-init.target", "multi-user.target")] = guest.files.pop(path)


INSTALLED = [
    defect("GEN-G08", "debian", remove("/usr/bin/cloud-init"), related=["NET01", "SH02", "GEN-G29"]),
    defect("GEN-G08", "rhel", remove("/usr/lib/python3.9/site-packages/cloudinit"), related=["SH02"]),
    benign("GEN-G08", "debian", write("/usr/bin/cloud-init.old", "")),
    benign("GEN-G08", "rhel", as_rhel_7, alone=True),
]
ENABLED = [
    defect("GEN-G09", "debian", write("/etc/cloud/cloud-init.disabled", ""), related=["NET01", "GEN-G16", "SH02"]),
    defect("GEN-G09", "suse", link("/etc/cloud/cloud-init.disabled", "../passwd"), related=["GEN-G16", "SH02"]),
    defect("GEN-G09", "alpine", write("/etc/cloud/cloud-init.disabled", ""), related=["GEN-G16", "SH02"]),
    defect("GEN-G09", "debian", link(f"{ETC}/cloud-init-local.service", "/dev/null"), related=["SH02"]),
    defect("GEN-G09", "rhel", link(f"{ETC}/cloud-init.target", "/dev/null"), related=["SH02"]),
    defect("GEN-G09", "rhel", remove(f"{ETC}/cloud-init.target.wants/cloud-final.service"), related=["SH02"]),
    defect("GEN-G09", "debian", link("/etc/systemd/system-generators/cloud-init-generator", "/dev/null"),
           related=["SH02"]),
    defect("GEN-G09", "debian", remove("/usr/lib/systemd/system-generators/cloud-init-generator"), related=["SH02"]),
    defect("GEN-G09", "debian", kernel("cloud-init=disabled"), related=["BT12", "SH02"]),
    defect("GEN-G09", "alpine", kernel("cloud-init=disabled", "alpine"), related=["BT12", "SH02"]),
    defect("GEN-G09", "debian", kernel("systemd.mask=cloud-init.service"), related=["BT12", "SH02"]),
    defect("GEN-G09", "debian", write("/etc/systemd/system.conf.d/x.conf",
           "[Manager]\nDefaultEnvironment=KERNEL_CMDLINE=cloud-init=disabled\n")),
    defect("GEN-G09", "debian", write("/etc/cloud/ds-identify.cfg", "policy: disabled\n"), related=["GEN-G10"]),
    defect("GEN-G09", "debian", write(f"{ETC}/cloud-init.service.d/never.conf",
           "[Unit]\nConditionPathExists=/etc/never\n"), related=["SH02"]),
    defect("GEN-G09", "alpine", remove("/etc/runlevels/default/cloud-init"), related=["SH02"]),
    defect("GEN-G09", "debian", write("/etc/default/grub.d/90-off.cfg",
           'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX cloud-init=disabled"\n')),
    benign("GEN-G09", "debian", write("/etc/cloud/cloud-init.disabled.bak", "")),
    defect("GEN-G09", "rhel", as_rhel_7, remove(f"{ETC}/multi-user.target.wants/cloud-config.service")),
    benign("GEN-G09", "debian", as_rhel_7, alone=True),
    benign("GEN-G09", "debian", in_multi_user, alone=True),
    benign("GEN-G09", "debian", write("/etc/default/grub.d/90-off.cfg", "# cloud-init=disabled\n")),
    benign("GEN-G09", "debian", write(f"{ETC}/multi-user.target.wants/.keep", "")),
    benign("GEN-G09", "debian", write("/etc/systemd/system.conf.d/x.conf.off",
           "[Manager]\nDefaultEnvironment=KERNEL_CMDLINE=cloud-init=disabled\n")),
    benign("GEN-G09", "rhel", link(f"{ETC}/cloud-init-hotplugd.socket", "/dev/null")),
    benign("GEN-G09", "alpine", write("/etc/cloud/cloud-init.disabled~", "")),
]  # fmt: skip
SOURCES = [
    defect("GEN-G10", "debian", write("/etc/cloud/ds-identify.cfg", "datasource: Ec2\n"),
           related=["GEN-G11", *PINNED]),
    defect("GEN-G10", "rhel", write("/etc/cloud/ds-identify.cfg", "policy: search,disabled\n"), related=["GEN-G09"]),
    defect("GEN-G10", "debian", write("/etc/cloud/ds-identify.cfg", "datasource: 'OpenStack' # ours\n")),
    benign("GEN-G10", "debian", write("/etc/cloud/ds-identify.cfg",
           "# datasource: Ec2\npolicy: search,found=all,maybe=all,notfound=disabled\n")),
    benign("GEN-G10", "rhel", write("/etc/cloud/ds-identify.cfg", "policy: enabled\n")),
    defect("GEN-G11", "debian", write(PIN, "datasource_list: [ GCE ]\n"), related=PINNED),
    defect("GEN-G11", "debian", write(PIN, "datasource_list: [ Ec2, None ]\n"), related=PINNED),
    defect("GEN-G11", "debian", write(PIN, '"datasource_list" : ["Azure"]\n'), related=PINNED),
    defect("GEN-G11", "rhel", append("/etc/cloud/cloud.cfg", "datasource_list: [NoCloud]\n"), related=PINNED),
    defect("GEN-G11", "alpine", write(PIN, "datasource_list: [NoCloud, None]\n"), related=PINNED),
    defect("GEN-G11", "suse", write(PIN, "datasource_list: [None]\n"), related=PINNED),
    defect("GEN-G11", "debian", write(f"{D}/99-x.cfg", "datasource_list:\n  - Ec2\n  - None\n"),
           related=[*PINNED, "GEN-G12"]),
    defect("GEN-G11", "debian", write(f"{D}/.hidden.cfg", "datasource_list: [Ec2]\n"), remove(MINE),
           related=[*PINNED, "GEN-G12"]),
    # ds-identify takes the last line with the word, wherever it stands.
    defect("GEN-G11", "debian", write(f"{D}/99-x.cfg", "apt:\n  note:\n    datasource_list: [ Oracle ]\n"),
           related=[*PINNED, "GEN-G12"]),
    defect("GEN-G11", "rhel", append("/etc/cloud/cloud.cfg", "conf_d: /etc/cloud/other.d\n"),
           write("/etc/cloud/other.d/a.cfg", "datasource_list: [Ec2]\n"), related=[*PINNED, "GEN-G12"]),
    defect("GEN-G11", "suse", write(f"{D}/url.cfg",
           "datasource:\n  OpenStack:\n    metadata_urls: ['http://10.0.0.9']\n"), related=PINNED),
    benign("GEN-G11", "suse", write(f"{D}/url.cfg",
           "datasource:\n  OpenStack:\n    metadata_urls: ['http://169.254.169.254']\n")),
    benign("GEN-G11", "debian", write("/etc/cloud/cloud.cfg.d/95-gce.cfg.disabled", "datasource_list: [ GCE ]\n")),
    benign("GEN-G11", "debian", write(f"{D}/96-ec2.conf", "datasource_list: [ Ec2 ]\n")),
    benign("GEN-G11", "debian", write(f"{D}/97-comment.cfg", "# datasource_list: [ Ec2 ]\n")),
    benign("GEN-G11", "debian", write(f"{D}/00-first.cfg", "datasource_list: [ Ec2 ]\n")),
    benign("GEN-G11", "debian", folder(f"{D}/98-folder.cfg")),
    benign("GEN-G11", "rhel", write(PIN, "datasource_list: ['OpenStack', \"None\"]\n")),
    benign("GEN-G11", "alpine", write(f"{D}/10.cfg", "datasource_list: [ConfigDrive]  # ours\n")),
    defect("GEN-G12", "debian", write(f"{D}/99-x.cfg", "datasource_list:\n  - ConfigDrive\n  - OpenStack\n")),
    defect("GEN-G12", "suse", write(f"{D}/99-x.cfg", "datasource_list: [ ConfigDrive,\n  OpenStack ]\n")),
    benign("GEN-G12", "debian", write(f"{D}/99-x.cfg", "datasource_list: [ConfigDrive,OpenStack]\n"), alone=True),
    defect("GEN-G13", "debian", kernel("'ds=nocloud;s=http://10.0.2.2/'"), related=["BT12"]),
    defect("GEN-G13", "alpine", kernel("ci.datasource=Ec2", "alpine"), related=["BT12"]),
    defect("GEN-G13", "debian", kernel("cc:{datasource_list:[Ec2]}end_cc"), related=["BT12"]),
    defect("GEN-G13", "rhel", write("/etc/kernel/cmdline", "ro console=tty0 console=ttyS0,115200n8 ds=ec2\n"),
           related=["BT12", "GEN-G06", "BT16"]),
    benign("GEN-G13", "debian", kernel("cds=1 nods")),
    defect("MGC-G02", "debian", write(PIN, "datasource_list: [ Oracle, OpenStack2 ]\n"), related=["GEN-G11"]),
    benign("MGC-G02", "suse", write(PIN, "datasource_list: [ Ec2, OpenStack, None ]\n")),
    defect("MGC-G03", "debian", kernel("netroot=iscsi:@169.254.0.2::3260:1:iqn.2015-02.oracle.boot:uefi"),
           related=["BT12", "OCI-G05"]),
    defect("MGC-G03", "suse", replace("/boot/grub2/grub.cfg", "net.ifnames=0", "net.ifnames=0 rd.iscsi.ibft=1 ip=ibft"),
           related=["BT12"]),
    benign("MGC-G03", "debian", write("/etc/iscsi/iscsid.conf.sample", "netroot=iscsi\n")),
    defect("MGC-G01", "debian", write("/etc/os-release", "ID=freebsd\nPRETTY_NAME=FreeBSD\n")),
    benign("MGC-G01", "debian", write("/usr/share/doc/windows", "Windows")),
]  # fmt: skip
STATE = [
    defect("GEN-G14", "debian", write("/var/lib/cloud/seed/nocloud-net/meta-data", "")),
    defect("GEN-G14", "rhel", write("/var/lib/cloud/seed/config_drive/openstack/latest/meta_data.json", "{}")),
    defect("GEN-G14", "alpine", write(f"{D}/seed.cfg", "datasource:\n  NoCloud:\n    seedfrom: http://10.0.2.2/\n")),
    benign("GEN-G14", "debian", folder("/var/lib/cloud/seed")),
    benign("GEN-G14", "debian", write(f"{D}/t.cfg", "datasource:\n  OpenStack:\n    timeout: 5\n")),
    defect("GEN-G15", "debian", write("/var/lib/cloud/instances/i-1/user-data.txt", "#cloud-config\n")),
    defect("GEN-G15", "rhel", link("/var/lib/cloud/instance", "/var/lib/cloud/instances/i-1")),
    defect("GEN-G15", "suse", write("/var/lib/cloud/data/instance-id", "i-1\n")),
    defect("GEN-G15", "alpine", write("/var/lib/cloud/sem/config_scripts_per_once.once", "")),
    benign("GEN-G15", "debian", write("/var/lib/cloud/scripts/per-instance/hello", "#!/bin/sh\n", 0o755)),
    benign("GEN-G15", "debian", folder("/var/lib/cloud/instances")),
    benign("GEN-G15", "debian", folder("/var/lib/cloud/data")),
    defect("CI04", "debian", write("/var/log/cloud-init-output.log", "Cloud-init v. 22.4\n"), related=["GEN-G33"]),
    defect("CI04", "rhel", write("/var/log/cloud-init.log.1.gz", b"\x1f\x8b1"), related=["GEN-G33"]),
    benign("CI04", "debian", write("/var/log/cloud-init.log", "")),
    defect("CI07", "debian", write(f"{D}/50-curtin-networking.cfg", GENERIC), related=["GEN-G46"]),
    defect("CI07", "debian", write(f"{D}/subiquity-disable-cloudinit-networking.cfg", OFF),
           related=["GEN-G16", "NET01", "GEN-G46"]),
    defect("CI07", "debian", write("/etc/netplan/00-installer-config.yaml", GENERIC), related=["GEN-G46"]),
    benign("CI07", "debian", write(f"{D}/90_dpkg.cfg", "# nothing\n")),
    defect("CI09", "debian", write(f"{D}/z.cfg", "manual_cache_clean: True\n"), related=["SH02"]),
    defect("CI09", "rhel", write("/var/lib/cloud/instance/manual-clean", ""), related=["GEN-G15"]),
    benign("CI09", "debian", write(f"{D}/z.cfg", "manual_cache_clean: false\n")),
]  # fmt: skip
NETWORK = [
    defect("GEN-G16", "debian", write(f"{D}/99-no.cfg", OFF), related=["NET01"]),
    defect("GEN-G16", "debian", kernel("network-config=disabled"), related=["NET01", "GEN-G13", "BT12"]),
    # Nothing of the kind takes effect: the network service is not there for it.
    defect("GEN-G16", "debian", write(f"{D}/99-no.cfg", OFF), write("/etc/systemd/network/any.network",
           "[Match]\nName=e*\n[Network]\nDHCP=yes\n"), related=["NET01"]),
    benign("GEN-G16", "rhel", write(f"{D}/99-no.cfg", OFF)),  # NetworkManager brings up any card
    benign("GEN-G16", "alpine", write(f"{D}/99-no.cfg", OFF)),
    benign("GEN-G16", "debian", write(f"{D}/99-no.cfg.off", OFF)),
]  # fmt: skip
GROWTH = [
    defect("GEN-G17", "debian", remove("/usr/bin/growpart"), related=["BT13"]),
    defect("GEN-G17", "rhel", remove("/usr/sbin/resize2fs"), related=["BT13"]),
    defect("GEN-G17", "debian", remove("/usr/sbin/sfdisk"), related=["BT13"]),
    defect("GEN-G17", "suse", replace("/etc/cloud/cloud.cfg", "growpart", "gone"), related=["BT13"]),
    defect("GEN-G17", "alpine", write(f"{D}/g.cfg", "growpart:\n  mode: 'off'\n"), related=["BT13"]),
    defect("GEN-G17", "debian", write(f"{D}/g.cfg", "resize_rootfs: false\n"), related=["BT13"]),
    defect("GEN-G17", "debian", write("/etc/growroot-disabled", ""), related=["BT13"]),
    defect("GEN-G17", "debian", on_lvm, related=["BT13"]),
    benign(
        "GEN-G17",
        "debian",
        on_lvm,
        write("/usr/local/sbin/grow", "#!/bin/sh\nlvextend -r -l +100%FREE vg/root\n"),
        alone=True,
    ),
    defect(
        "GEN-G17", "debian", write(f"{D}/g.cfg", "growpart: {mode: auto, devices: [/dev/vdb1]}\n"), related=["BT13"]
    ),
    defect("GEN-G17", "debian", write(f"{D}/g.cfg", "growpart: {devices: [/home, /dev/vda2]}\n"), related=["BT13"]),
    defect("GEN-G17", "debian", write(f"{D}/g.cfg", "growpart: {devices: []}\n"), related=["BT13"]),
    defect(
        "GEN-G17",
        "debian",
        remove("/usr/bin/growpart"),
        write("/usr/lib/repart.d/50-swap.conf", "[Partition]\nType=swap\n"),
        related=["BT13"],
    ),
    *(
        benign("GEN-G17", "debian", write(f"{D}/g.cfg", f"growpart: {{devices: {words}}}\n"), alone=True)
        for words in ("[/home, /]", "[/dev/sda1]", "/", "[/dev/disk/by-label/root]", "[/dev/nvme0n1p1]")
    ),
    benign(
        "GEN-G17",
        "rhel",
        replace("/etc/cloud/cloud.cfg", "  - growpart\n", ""),
        replace("/etc/cloud/cloud.cfg", "  - locale\n", "  - [growpart, once-per-instance]\n  - locale\n"),
        alone=True,
    ),
    benign("GEN-G17", "debian", write(f"{D}/g.cfg", "growpart:\n  mode: auto\nresize_rootfs: noblock\n")),
    benign(
        "GEN-G17",
        "rhel",
        remove("/usr/bin/growpart"),
        write("/usr/lib/repart.d/50-root.conf", "[Partition]\nType=root\n"),
    ),
]
SETTINGS = [
    defect("CI08", "debian", write(f"{D}/h.cfg", "preserve_hostname: yes\n")),
    defect("CI08", "rhel", write(f"{D}/h.cfg", "hostname: builder\n")),
    benign("CI08", "debian", write(f"{D}/h.cfg", "preserve_hostname: false\n# hostname: builder\n")),
    defect("CI10", "debian", write(f"{D}/s.cfg", "ssh_deletekeys: false\n"), related=["SH02"]),
    defect("CI10", "debian", write(f"{D}/s.cfg", "ssh_genkeytypes: ~\n"), related=["SH02"]),
    defect("CI10", "debian", write(f"{D}/s.cfg", "users: []\n"), related=["GEN-G45"]),
    defect("CI10", "rhel", write(f"{D}/s.cfg", "users:\n  - name: builder\n"), related=["GEN-G45"]),
    defect("CI10", "debian", replace("/etc/cloud/cloud.cfg", "users:\n  - default\n", ""), related=["GEN-G45"]),
    defect("CI10", "debian", write(f"{D}/s.cfg", "users: {default: false, app: {}}\n"), related=["GEN-G45"]),
    *(benign("CI10", "debian", write(f"{D}/s.cfg", text), alone=True) for text in
      ("user: {shell: /bin/sh}\nusers: [other]\n", "users: {default: true}\n", "users: other, default\n")),
    benign("CI10", "debian", replace("/etc/cloud/cloud.cfg", "users:\n  - default\n", "user: debian\n"), alone=True),
    defect("CI10", "rhel", write(f"{D}/s.cfg", "disable_root: false\n")),
    defect("CI10", "suse", write(f"{D}/s.cfg", "allow_public_ssh_keys: false\n")),
    defect("CI10", "alpine", write(f"{D}/s.cfg", "ssh_authorized_keys:\n  - ssh-ed25519 AAAAC3 me\n")),
    benign("CI10", "debian", write(f"{D}/s.cfg", "users:\n  - default\n  - name: app\n    lock_passwd: true\n")),
    *(defect("CI10", "debian", write(f"{D}/s.cfg", f"users: [default, {{name: packer, {text}}}]\n"))
      for text in ("ssh_authorized_keys: [ssh-ed25519 AAAAC3 me]", "ssh-import-id: ['gh:builder']",
                   "sudo: 'ALL=(ALL) ALL'", "lock_passwd: false")),
    defect("CI10", "rhel", write(f"{D}/s.cfg", "users: [{name: default, ssh_authorized_keys: [ssh-rsa AAAA me]}]\n")),
    *(defect("CI10", "debian", replace(CLOUD, "shell: /bin/bash", text), related=related) for text, related in (
        ("shell: /bin/zsh", ()),
        ("shell: /usr/bin/false", ()),
        ("shell: /bin/bash\n    expiredate: '2020-01-01'", ()),
        ("shell: /bin/bash\n    no_create_home: true", ()),
        ("shell: /bin/bash\n    ssh_redirect_user: true", ()),
        ("shell: /bin/bash\n    ssh_import_id: ['gh:builder']", ()),
        ("shell: /bin/bash\n    ssh_authorized_keys:\n      - ssh-rsa AAAA me", ()))),
    defect("CI10", "debian", replace(CLOUD, "name: debian", "name: root")),
    defect("CI10", "rhel", replace(CLOUD, '["ALL=(ALL) NOPASSWD:ALL"]', '"NOPASSWD ALL"')),
    defect("CI10", "suse", replace(CLOUD, '    sudo: ["ALL=(ALL) NOPASSWD:ALL"]\n', "")),
    defect("CI10", "debian", remove("/usr/bin/sudo", "/etc/sudoers")),
    benign("CI10", "alpine", remove("/usr/bin/sudo"),
           replace(CLOUD, "    sudo:", "    doas: [permit nopass alpine]\n    sudo:"), alone=True),
    benign("CI10", "rhel", replace(CLOUD, '    sudo: ["ALL=(ALL) NOPASSWD:ALL"]\n', ""),
           write(f"{D}/s.cfg", "users: [{name: default, sudo: ALL=(ALL) NOPASSWD:ALL}]\n"), alone=True),
    benign("CI10", "debian", replace(CLOUD, "shell: /bin/bash", "shell: /bin/sh\n    expiredate: '2999-01-01'\n"
           "    ssh_authorized_keys: []\n    ssh_import_id: ~\n    no_create_home: false"), alone=True),
    benign("CI10", "debian", write(f"{D}/s.cfg", "users: [default, {name: ops, sudo: 'ALL=(ALL) NOPASSWD:ALL'}]\n"),
           alone=True, known={"allow_users": ("ops",)}),
    benign("CI10", "rhel", write(f"{D}/s.cfg", "ssh_genkeytypes: [ed25519]\nssh_deletekeys: true\n")),
    defect("CI12", "debian", replace("/etc/cloud/cloud.cfg", "users", "gone"),
           related=["CI10", "SH02", "GEN-G45"]),
    defect("CI12", "rhel", write(f"{D}/m.cfg", "cloud_init_modules: [growpart, resizefs]\n"), related=["SH02"]),
    defect("CI12", "debian", write(f"{D}/broken.cfg", "a: [b\n")),
    defect("CI12", "debian", write(f"{D}/deep.cfg", "a: " + "[" * 100_000)),
    benign("CI12", "debian", write(f"{D}/broken.cfg.orig", "a: [b\n")),
    defect("CI13", "debian", write(f"{D}/p.cfg", "password: hunter2hunter2\n")),
    defect("CI13", "rhel", write(f"{D}/p.cfg", "chpasswd:\n  list: |\n    root:hunter2\n")),
    defect("CI13", "suse", write(f"{D}/p.cfg", "phone_home:\n  url: http://10.0.0.1/\n")),
    defect("CI13", "debian", write(f"{D}/p.cfg", "datasource:\n  None:\n    userdata_raw: |\n      #cloud-config\n"
           "system_info:\n  default_user:\n    passwd: $6$abc$def\n"), related=["GEN-G14"]),
    defect("CI13", "debian", write(f"{D}/p.cfg", "runcmd:\n  - echo built\n")),
    benign("CI13", "debian", write(f"{D}/p.cfg", "chpasswd: {expire: false}\n"), alone=True),
    benign("CI13", "rhel", write(f"{D}/p.cfg", "chpasswd:\n  expire: false\n  list: []\n"), alone=True),
    defect("CI13", "debian", write(f"{D}/p.cfg", "chpasswd:\n  users:\n  - {name: a, type: RANDOM}\n")),
    benign("CI13", "debian", write(f"{D}/p.cfg", "chpasswd: {}\nruncmd: []\n# password: x\n"
           "system_info:\n  default_user:\n    lock_passwd: true\n")),
    defect("CI14", "debian", write("/etc/apt/apt.conf.d/90proxy", 'Acquire::http::Proxy "http://10.0.2.2:3142";\n'),
           related=["GEN-G40"]),
    defect("CI14", "debian", write("/etc/apt/sources.list", "deb http://192.168.1.5/debian bookworm main\n"),
           related=["GEN-G40"]),
    defect("CI14", "rhel", write("/etc/dnf/dnf.conf", "[main]\nproxy=http://u:pw@proxy.build:3128\n")),
    defect("CI14", "alpine", write("/etc/apk/repositories", "http://mirror/alpine/v3.19/main\n"), related=["GEN-G40"]),
    defect("CI14", "suse", write("/etc/environment", 'http_proxy="http://proxy.example.com:3128"\n')),
    defect("CI14", "debian", append("/etc/apt/sources.list", "deb cdrom:[Debian GNU/Linux 12.5.0]/ bookworm main\n")),
    defect("CI14", "debian", write("/etc/apt/sources.list.d/x.list", "deb [trusted=yes] file:/mnt/repo ./\n")),
    defect("CI14", "rhel", write("/etc/yum.repos.d/m.repo", "[m]\nenabled=1\nbaseurl=file:///run/install/repo\n")),
    defect("CI14", "suse", write("/etc/zypp/repos.d/c.repo", "[c]\nenabled=1\nbaseurl=cd:/?devices=/dev/sr0\n")),
    defect("CI14", "alpine", append("/etc/apk/repositories", "/media/cdrom/apks\n")),
    *(defect("CI14", "debian", write(path, content)) for path, content in (
        ("/etc/apt/apt.conf.d/90proxy", 'Acquire {\n  HTTP::proxy "http://192.168.1.10:3128";\n};\n'),
        ("/etc/apt/apt.conf.d/90proxy", 'Acquire::http { Proxy "http://192.168.1.10:3128"; };\n'),
        ("/etc/systemd/system.conf", '[Manager]\nDefaultEnvironment="http_proxy=http://10.1.1.1:3128"\n'),
        (f"{ETC}/docker.service.d/override.conf", '[Service]\nEnvironment=HTTP_PROXY=http://10.1.1.1:3128\n'),
        (f"{ETC}/docker.service.d/override.conf",
         '[Service]\nEnvironment="NO_PROXY=localhost" "HTTP_PROXY=http://10.1.1.1:3128"\n'),
        ("/etc/environment.d/90.conf", "http_proxy=http://10.1.1.1:3128\n"),
        ("/etc/docker/daemon.json", '{"proxies": {"http-proxy": "http://10.1.1.1:3128"}}\n'),
        ("/etc/profile", "export http_proxy=http://10.1.1.1:3128\n"),
        (f"{D}/a.cfg", "apt:\n  proxy: http://10.0.0.1:3128\n"),
        (f"{D}/a.cfg", "apt:\n  conf: |\n    Acquire {\n      HTTPS::Proxy \"http://10.0.0.1:3128\";\n    };\n"),
        (f"{D}/a.cfg", "apt:\n  primary:\n  - arches: [default]\n    uri: http://mirror.corp.local/debian\n"),
    )),
    defect("CI14", "rhel", write("/etc/bashrc", "export https_proxy=http://10.1.1.1:3128\n")),
    defect("CI14", "rhel", write("/etc/rhsm/rhsm.conf", "[server]\nproxy_hostname = 10.1.1.1\nproxy_port = 3128\n")),
    benign("CI14", "rhel", write("/etc/rhsm/rhsm.conf", "[server]\nno_proxy =\nproxy_hostname =\nproxy_port =\n")),
    benign("CI14", "rhel", write("/etc/systemd/system.conf", "[Manager]\n#DefaultEnvironment=\n")),
    benign("CI14", "debian", write("/etc/apt/apt.conf.d/50-none", 'Acquire::http { Proxy "DIRECT"; };\n'
           'Acquire::http::Proxy::deb.example.org "DIRECT";\n# Proxy "http://10.0.0.1:3128";\n')),
    benign("CI14", "debian", write(f"{ETC}/x.service.d/o.conf", "[Service]\nEnvironment=NO_PROXY=10.0.0.1:80\n")),
    benign("CI14", "debian", write("/etc/apt/sources.list.d/6.list", "deb http://[2a04:4e42::644]/debian x main\n")),
    benign("CI14", "debian", write(f"{D}/01_mirrors.cfg", "apt:\n  generate_mirrorlists: true\n  http_proxy: ''\n"
           "  primary:\n  - arches: [default]\n    uri: http://%(region)s.clouds.archive.ubuntu.com/ubuntu/\n"
           "    search: ['http://$MIRROR/ubuntu', http://deb.debian.org/debian]\n")),
    benign("CI14", "debian", write("/etc/apt/sources.list.d/x.list", "#deb cdrom:[Debian]/ bookworm main\n"
           "deb [signed-by=/etc/apt/keyrings/gone.gpg] file:///srv/repo ./\n"), folder("/srv/repo")),
    # As CentOS and Rocky ship it: switched off at the end of its section.
    benign("CI14", "rhel", write("/etc/yum.repos.d/Rocky-Media.repo", "[media-baseos]\n\nname=Media\nbaseurl=file:///"
           "media/Rocky/BaseOS\n        file:///media/cdrom\ngpgcheck=1\nenabled=0\ngpgkey=file:///etc/pki/x\n")),
    benign("CI14", "debian", write("/root/.npmrc", "//registry.npmjs.org/:always-auth=true\n")),
    benign("CI14", "debian", write("/etc/apt/sources.list.d/o.sources", "Enabled: no\nTypes: deb\nURIs: file:/gone\n\n"
           "Types: deb\nURIs: https://deb.debian.org/debian\n")),
    benign("CI14", "suse", write("/etc/zypp/repos.d/c.repo", "[c]\nenabled=0\nbaseurl=cd:/?devices=/dev/sr0\n"
           "[d]\nenabled=1\nbaseurl=https://x.example.org/\ngpgkey=file:///etc/pki/gone\npath=/\n")),
    benign("CI14", "debian", write("/etc/apt/apt.conf.d/90proxy", '// Acquire::http::Proxy "http://10.0.2.2:3142";\n'
           'Acquire::http::Proxy "false";\nAcquire::http::Pipeline-Depth "0";\n')),
    benign("CI14", "rhel", write("/etc/environment", "no_proxy=localhost,10.0.0.1\nLANG=C.UTF-8\n")),
    benign("CI14", "rhel", write("/etc/yum.repos.d/off.repo",
           "[x]\nenabled=0\nbaseurl=http://10.0.0.5/x\n[y]\nbaseurl=https://dl.rockylinux.org/$contentdir\n")),
    defect("CI15", "debian", append("/etc/fstab", "/dev/vdb /mnt auto defaults,nofail,comment=cloudconfig 0 2\n"),
           related=["GEN-G06", "GEN-G07", "BT02", "BT03"]),
    benign("CI15", "debian", append("/etc/fstab", "# /dev/vdb /mnt auto defaults,nofail,comment=cloudconfig 0 2\n")),
]  # fmt: skip
CASES = [*INSTALLED, *ENABLED, *SOURCES, *STATE, *NETWORK, *GROWTH, *SETTINGS]


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
