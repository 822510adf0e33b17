"""Builds a Debian base image from the Debian archive: newest packages, signed, nothing downloaded as an image.

mmdebstrap makes the root file system, ``mke2fs -d`` puts it into a partition without a loop device, and one short
direct-kernel
boot under libvirt lets the distribution's own ``grub-install`` make the disk boot by BIOS and by UEFI. That boot
runs our script
instead of an init, so no service ever starts and the base holds no log, key, lease or machine-id to remove again.
"""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path
from typing import Any

from factory import debian_bootstrap, debian_files, disk, ext4, mirror
from factory.base_definition import SCRATCH_SIZE
from factory.console import Console
from factory.errors import BaseError
from factory.hypervisor.accelerator import Accelerator
from factory.hypervisor.domain import DirectKernel, Disk, MachineSpec
from factory.hypervisor.fresh import free_port, new_mac, new_uuid
from factory.hypervisor.hypervisor import Hypervisor
from factory.run import AS_NAMESPACE_ROOT, run

FORMAT = 7  # part of the cache key: raise it when the same definition gives another image
MIB = 1024**2
ROOT_START = 126 * MIB  # behind the BIOS-boot partition and the ESP

PACKAGES = [
    *("linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "libpam-systemd", "dbus", "udev"),
    *("openssh-server", "cloud-init", "cloud-guest-utils", "fdisk", "sudo", "qemu-guest-agent"),
    *("ifupdown", "isc-dhcp-client", "iproute2", "netbase", "iputils-ping", "ca-certificates"),
    *("e2fsprogs", "dosfstools", "grub-cloud-amd64", "locales", "procps", "less", "nano", "curl"),
    *("tzdata", "systemd-timesyncd", "logrotate"),
]
IFUPDOWN = ("ifupdown", "isc-dhcp-client")
EXT4_FEATURES = (  # named, so that the host's newer mke2fs adds nothing that the base's own grub cannot read
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,"
    "dir_nlink,extra_isize,metadata_csum"
)


def build(
    definition: Any, destination: Path, *, work: Path, console: Console, accelerator: Accelerator, connect: str
) -> dict[str, object]:
    """Build *definition* (its ``suite`` names the Debian release) into the qcow2 *destination*.

    Returns facts: packages, kernel, default user, distribution. *work* is an empty folder on a disk with about 2 GiB
    free.
    """
    suite = str(definition.suite)
    disk.require_space(work, 3 * 1024**3, f"the base {definition.name}")
    source = mirror.debian_mirror(suite, console=console)
    tree = work / "root.tar"
    with console.stage("packages") as stage:
        stage.note(f"mmdebstrap {suite} from {source.source}")
        older = debian_bootstrap.bootstrap(suite, source, _packages(suite), tree, console)
    with console.stage("file system"):
        facts, kernel, initrd = _read_tree(tree, work)
        raw = work / "disk.raw"
        _lay_out(raw)
        _fill(tree, raw, work, suite)
        tree.unlink()
    with console.stage("boot loader") as stage:
        stage.note(f"direct kernel boot, {accelerator.name}")
        _install_boot_loader(raw, kernel, initrd, work, accelerator, connect)
    with console.stage("compact"):
        for partition in ext4.ext4_partitions(raw):
            faults = ext4.check_filesystem(raw, partition.start)
            if faults:
                raise BaseError(
                    "the base's file system is not sound",
                    cause="; ".join(faults)[:500],
                    hint="This is a defect of the factory or of this host's disk: report it",
                    code="base.file-system",
                )
        disk.convert(raw, "raw", destination, "qcow2", compress=False)
    return facts | {
        "distribution": "debian",
        "suite": suite,
        "default_user": "debian",
        "boot": ["bios", "uefi"],
        "mirror": source.source,
        "older_packages": older,
        "virtual_size": SCRATCH_SIZE,
    }


def _packages(suite: str) -> list[str]:
    packages = [name for name in PACKAGES if name not in IFUPDOWN] if _has_netplan(suite) else list(PACKAGES)
    if _has_netplan(suite):
        # login and the kernel's settings for all are packages of their own since Debian 13.
        packages += ["netplan.io", "systemd-resolved", "login", "linux-sysctl-defaults"]
    else:
        packages.append("resolvconf")  # else nobody reads the name servers of a network with fixed addresses
    if suite == "bookworm":
        packages.append("zstd")  # initramfs-tools is set to it
    return packages


def _has_netplan(suite: str) -> bool:
    """Whether netplan and networkd set up the network; ifupdown with its new DHCP client fails at boot there."""
    return suite not in ("bullseye", "bookworm")


def _read_tree(tree: Path, work: Path) -> tuple[dict[str, object], Path, Path]:
    """The list of packages, and the kernel and initrd copied out of the tar for the direct boot."""
    kernel, initrd = work / "vmlinuz", work / "initrd"
    packages: list[dict[str, str]] = []
    version = ""
    with tarfile.open(tree) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if not member.isreg():
                continue
            target = {"boot/vmlinuz-": kernel, "boot/initrd.img-": initrd}.get(_boot_prefix(name))
            content = archive.extractfile(member) if target or name == "var/lib/dpkg/status" else None
            if content is None:
                continue
            if target:
                target.write_bytes(content.read())
                version = name.split("-", 1)[1]
            else:
                packages = installed_packages(content.read().decode("utf-8", "replace"))
    if not kernel.exists() or not initrd.exists():
        raise BaseError("the root file system holds no kernel or no initrd", hint="This is a defect: report it")
    return {"packages": packages, "kernel": version}, kernel, initrd


def _boot_prefix(name: str) -> str:
    return next((prefix for prefix in ("boot/vmlinuz-", "boot/initrd.img-") if name.startswith(prefix)), "")


def installed_packages(status: str) -> list[dict[str, str]]:
    """Name, version and architecture of what is installed, from the text of dpkg's status file."""
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] not in " \t")
        if fields.get("Status", "").endswith(" installed"):
            found.append({key: fields.get(key.title(), "") for key in ("package", "version", "architecture")})
    return [
        {"name": item["package"], "version": item["version"], "architecture": item["architecture"]} for item in found
    ]


def _lay_out(raw: Path) -> None:
    """GPT: a BIOS-boot partition, an ESP, and the root last, so that it can grow."""
    with raw.open("wb") as file:
        file.truncate(SCRATCH_SIZE)
    argv: list[str | Path] = ["sgdisk", "--set-alignment=2048"]
    argv += ["-n", "14:2048:+1M", "-t", "14:ef02", "-n", "15:0:+124M", "-t", "15:ef00"]
    argv += ["-n", f"1:{ROOT_START // 512}:0", "-t", "1:8304", raw]
    run(argv, reason="to partition the base image", package="gdisk")


def _fill(tree: Path, raw: Path, work: Path, suite: str) -> None:
    """Unpack the tar and write it into the root partition; an ordinary user does both as root of a user name space.

    Device nodes, which such a root may not make, are left out: the kernel's devtmpfs covers them at every boot.
    """
    late = work / "late.tar"
    late.write_bytes(debian_files.archive(debian_files.late(suite, netplan=_has_netplan(suite))))
    root = work / "root"
    blocks = (SCRATCH_SIZE - ROOT_START - MIB) // 1024  # the backup GPT lies in the last MiB
    script = (
        'set -e; mkdir "$1"; trap \'rm -rf "$1"\' EXIT; '
        'tar -x -p --numeric-owner --xattrs --xattrs-include="*" --exclude="./dev/*" -C "$1" -f "$2"; '
        'cd "$1"; rm -f etc/hostname etc/resolv.conf etc/machine-id var/lib/dbus/machine-id etc/ssh/ssh_host_* '
        "var/lib/systemd/random-seed etc/.pwd.lock etc/resolvconf/resolv.conf.d/original "
        "etc/resolvconf/resolv.conf.d/tail; rm -rf var/lib/apt/lists/* var/cache/apt/*.bin "
        "var/log/apt var/log/*.log "
        "var/cache/debconf/*-old var/lib/dpkg/*-old var/cache/ldconfig/aux-cache tmp/* var/tmp/*; "
        'tar -x -p --numeric-owner -C . -f "$3"; '
        '[ -e etc/ssh/sshd_config.d/90-image.conf ] || sed -i -E "$8" etc/ssh/sshd_config; cd /; '
        'mke2fs -q -F -t ext4 -O "$4" -L root -I 256 -m 1 -d "$1" -E "$5" "$6" "$7"'
    )
    argv: list[str | Path] = ["sh", "-c", script, "fill", root, tree, late, EXT4_FEATURES]
    argv += [f"offset={ROOT_START},lazy_itable_init=0,lazy_journal_init=0,nodiscard", raw, str(blocks)]
    argv += [debian_files.NO_PASSWORDS]
    if os.geteuid() != 0:
        argv = [*AS_NAMESPACE_ROOT, *argv]
    run(argv, reason="to write the base's file system", timeout=600)


def _install_boot_loader(
    raw: Path, kernel: Path, initrd: Path, work: Path, accelerator: Accelerator, connect: str
) -> None:
    log = work / "console-base.log"
    with Hypervisor(work, accelerator, connect) as hypervisor:
        spec = MachineSpec(
            name="base",
            uuid=new_uuid(),
            mac=new_mac(),
            ssh_port=free_port(),
            console=log,
            accelerator=accelerator.name,
            disks=(Disk(raw, "raw"),),
            network="none",
            memory=1024**3,
            kernel=DirectKernel(kernel, initrd, "root=LABEL=root rw console=ttyS0,115200 init=/factory-first-boot"),
        )
        with hypervisor.machine(spec) as machine:
            machine.wait_until(
                lambda: debian_files.DONE in log.read_text(errors="replace"), "the end of grub's installation"
            )
            machine.wait_for_end()
    text = log.read_text(errors="replace")
    result = re.search(rf"{debian_files.DONE} (\d+)", text)
    if result is None or result.group(1) != "0":
        raise BaseError(
            "grub could not be installed into the base image",
            cause="The script of the first boot failed; its last lines are below",
            hint="This is a defect of the factory or of the distribution's grub: report it with these lines",
            output=text[-3000:],
            code="base.boot-loader",
        )
