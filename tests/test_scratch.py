"""The scratch base: what is written into it, how its disk is laid out, and what is read back; nothing is booted."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from factory import debian_files, ext4, run
from factory.bases import scratch
from factory.errors import BaseError
from tests import images

SUITES = ("bullseye", "bookworm", "trixie")
STATUS = """\
Package: base-files
Status: install ok installed
Architecture: amd64
Version: 12.4+deb12u9
Description: Debian base system miscellaneous files
 Status: not a field
 Version: 9

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1.0

Package: half
Status: install ok half-configured
Architecture: all
Version: 1.0

Package: libc6
Status: hold ok installed
Architecture: amd64
Version: 2.36-9+deb12u9
"""


def test_only_what_is_installed_counts() -> None:
    assert scratch.installed_packages(STATUS) == [
        {"name": "base-files", "version": "12.4+deb12u9", "architecture": "amd64"},
        {"name": "libc6", "version": "2.36-9+deb12u9", "architecture": "amd64"},
    ]
    assert scratch.installed_packages("") == []


@pytest.mark.parametrize("suite", SUITES)
def test_the_packages_of_a_release(suite: str) -> None:
    packages = scratch._packages(suite)
    assert len(packages) == len(set(packages))
    for name in ("linux-image-cloud-amd64", "cloud-init", "openssh-server", "cloud-guest-utils", "grub-cloud-amd64"):
        assert name in packages
    assert ("netplan.io" in packages) is (suite == "trixie")
    assert ("ifupdown" in packages) is (suite != "trixie")


# -- what the factory writes itself


def members(files: dict[str, debian_files.File]) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(debian_files.archive(files))) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            found[member.name] = (member, content.read() if content else b"")
    return found


@pytest.mark.parametrize("suite", SUITES)
def test_what_is_written_is_public_and_nothing_of_this_host(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_MIRROR", "http://mirror.of.this.host/debian")
    monkeypatch.setenv("http_proxy", "http://proxy.of.this.host:3128")
    found = members(debian_files.late(suite, netplan=suite == "trixie"))
    text = b"\n".join(content for _, content in found.values())
    assert b"of.this.host" not in text
    assert len(socket.gethostname()) < 4 or socket.gethostname().encode() not in text
    assert f"deb http://deb.debian.org/debian {suite} main\n".encode() in found["etc/apt/sources.list"][1]
    assert f"deb http://deb.debian.org/debian-security {suite}-security main\n".encode() in text


def test_modes_owners_and_links() -> None:
    found = members(debian_files.late("trixie", netplan=True) | debian_files.EARLY)
    assert all((member.uid, member.gid) == (0, 0) for member, _ in found.values())
    assert not any(name.startswith("/") or ".." in name.split("/") for name in found)
    machine_id, empty = found["etc/machine-id"]
    assert (machine_id.mode, empty) == (0o444, b"")
    assert found["var/lib/dbus/machine-id"][0].linkname == "/etc/machine-id"
    assert found["factory-first-boot"][0].mode == 0o755
    assert found["etc/netplan/90-default.yaml"][0].mode == 0o600  # netplan warns of any other
    assert found["etc/fstab"][0].mode == 0o644
    assert "etc/hostname" not in found


def test_the_console_and_the_locale_of_every_instance() -> None:
    found = members(debian_files.late("bookworm", netplan=False))
    assert b"console=tty0 console=ttyS0,115200" in found["etc/default/grub.d/50_image.cfg"][1]
    assert b"locale: C.UTF-8" in found["etc/cloud/cloud.cfg.d/01_image.cfg"][1]
    assert found["etc/default/locale"][1] == b"LANG=C.UTF-8\n"
    assert b"PasswordAuthentication no" in found["etc/ssh/sshd_config.d/90-image.conf"][1]


def test_passwords_are_refused_where_cloud_init_can_allow_them(tmp_path: Path) -> None:
    """That of Debian 11 knows only sshd_config itself, where the first value counts."""
    assert "etc/ssh/sshd_config.d/90-image.conf" not in debian_files.late("bullseye", netplan=False)
    config = tmp_path / "sshd_config"
    config.write_text("Include /etc/ssh/sshd_config.d/*.conf\n#PasswordAuthentication yes\n#PermitEmptyPasswords no\n")
    subprocess.run(["sed", "-i", "-E", debian_files.NO_PASSWORDS, config], check=True)
    assert config.read_text().splitlines()[1:] == ["PasswordAuthentication no", "#PermitEmptyPasswords no"]


def test_the_files_of_a_clouds_own_cards_come_before_ours() -> None:
    """networkd takes the first that fits; netplan names each after its id."""
    text = yaml.safe_load(debian_files.NETPLAN["etc/netplan/90-default.yaml"].text)
    assert all(name > "wlan0" for name in text["network"]["ethernets"])


def test_the_script_of_the_first_boot_is_a_shell_script(tmp_path: Path) -> None:
    script = tmp_path / "first-boot"
    script.write_text(debian_files.FIRST_BOOT)
    subprocess.run(["sh", "-n", script], check=True)
    assert "{" not in re.sub(r"\$\{?\w+|\{ *(print|\n)|finish\(\) \{", "", debian_files.FIRST_BOOT)  # no {{ left over


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_script_of_the_first_boot_passes_shellcheck(tmp_path: Path) -> None:
    script = tmp_path / "first-boot"
    script.write_text(debian_files.FIRST_BOOT)
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert done.stdout == ""


# -- the tree that mmdebstrap makes


def tree_of(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return path


def test_the_kernel_and_the_packages_are_read_out_of_it(tmp_path: Path) -> None:
    files = {
        "./boot/vmlinuz-6.1.0-26-cloud-amd64": b"kernel",
        "./boot/initrd.img-6.1.0-26-cloud-amd64": b"initrd",
        "./var/lib/dpkg/status": STATUS.encode(),
        "./vmlinuz-elsewhere": b"no",
    }
    facts, kernel, initrd = scratch._read_tree(tree_of(tmp_path / "tree.tar", files), tmp_path)
    assert facts["kernel"] == "6.1.0-26-cloud-amd64"
    assert (kernel.read_bytes(), initrd.read_bytes()) == (b"kernel", b"initrd")
    assert [package["name"] for package in facts["packages"]] == ["base-files", "libc6"]  # type: ignore[attr-defined]


def test_a_tree_without_a_kernel_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(BaseError):
        scratch._read_tree(tree_of(tmp_path / "tree.tar", {"./var/lib/dpkg/status": b""}), tmp_path)


# -- the disk, for real


@pytest.mark.real
def test_the_disk_holds_the_tree_and_no_trace_of_its_making(tmp_path: Path) -> None:
    images.needs("sgdisk", "mke2fs", "debugfs", "tar")
    files = {
        "./etc/hostname": b"the-host-that-built-it\n",
        "./etc/resolv.conf": b"nameserver 192.0.2.1\n",
        "./etc/resolvconf/resolv.conf.d/original": b"search the-host-that-built-it\n",
        "./etc/machine-id": b"0123456789abcdef0123456789abcdef\n",
        "./etc/ssh/ssh_host_ed25519_key": b"PRIVATE",
        "./etc/apt/sources.list": b"deb http://mirror.of.this.host/debian bookworm main\n",
        "./etc/default/grub.d/x": b"",
        "./etc/cloud/cloud.cfg.d/x": b"",
        "./etc/ssh/sshd_config.d/x": b"",
        "./var/lib/dbus/x": b"",
        "./var/lib/apt/lists/mirror.of.this.host": b"x",
        "./var/log/apt/history.log": b"x",
        "./var/log/dpkg.log": b"x",
        "./tmp/left": b"x",
        "./usr/bin/kept": b"kept",
    }
    if os.geteuid() != 0:
        reason = subprocess.run([*run.AS_NAMESPACE_ROOT, "true"], capture_output=True, text=True, check=False)
        if reason.returncode:
            pytest.skip(f"no user name spaces: {reason.stderr.strip()}")
    tree, raw = tree_of(tmp_path / "tree.tar", files), tmp_path / "disk.raw"
    scratch._lay_out(raw)
    scratch._fill(tree, raw, tmp_path, "bookworm")
    (root,) = ext4.ext4_partitions(raw)
    assert root.start == scratch.ROOT_START
    assert ext4.check_filesystem(raw, root.start) == []
    table = run.run(["sgdisk", "-p", raw], reason="").stdout
    rows = {int(line.split()[0]): line.split() for line in table.splitlines() if re.match(r"\s+\d+\s", line)}
    assert {number: row[5] for number, row in rows.items()} == {1: "8304", 14: "EF02", 15: "EF00"}
    assert int(rows[1][1]) > int(rows[15][2]) > int(rows[14][2])  # the root lies last, and can grow

    def look(command: str) -> str:
        return images.debugfs(raw, command, offset=scratch.ROOT_START)

    assert "the-host" not in look("cat /etc/hostname")
    assert "Mode:  0444" in look("stat /etc/machine-id") and "Size: 0" in look("stat /etc/machine-id")
    assert 'Fast link dest: "/etc/machine-id"' in look("stat /var/lib/dbus/machine-id")
    assert "deb.debian.org" in look("cat /etc/apt/sources.list")
    assert look("cat /usr/bin/kept").endswith("kept")
    assert "User:     0" in look("stat /usr/bin/kept")
    assert 'Fast link dest: "../run/resolvconf/resolv.conf"' in look("stat /etc/resolv.conf")
    for gone in (
        "/etc/hostname",
        "/etc/resolvconf/resolv.conf.d/original",
        "/etc/ssh/ssh_host_ed25519_key",
        "/var/log/apt",
        "/tmp/left",
        "/var/log/dpkg.log",
        "/var/lib/apt/lists/mirror.of.this.host",
    ):
        assert "File not found" in look(f"stat {gone}") or "Inode:" not in look(f"stat {gone}"), gone
    data = raw.read_bytes() if raw.stat().st_blocks < 1 << 20 else b""
    assert b"of.this.host" not in data and b"the-host-that-built-it" not in data
    assert not (tmp_path / "root").exists()
