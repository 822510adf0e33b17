"""What several families share: small stand-ins for programs, and the blocks of files that they all have."""

from __future__ import annotations

import struct

from tests.boot_files import initramfs
from tests.guest_tree import Content, file, link

__all__ = [
    "DRIVERS",
    "ESP_UUID",
    "OTHER_DRIVERS",
    "ROOT_UUID",
    "account_files",
    "elf",
    "enabled",
    "initramfs",
    "kernel_files",
    "program",
]

ROOT_UUID = "6c1e4a3e-7d0a-4f4c-9f55-0f0b9a3c1d11"
ESP_UUID = "1A2B-3C4D"
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net", "sd_mod")
OTHER_DRIVERS = ("nvme", "ena", "hv_vmbus", "hv_storvsc", "hv_netvsc")  # of other clouds


def elf(machine: int = 62) -> bytes:
    """The header of a 64-bit ELF program; machine 62 is x86_64, 183 is aarch64."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, machine, 1) + bytes(40)


def program(machine: int = 62) -> Content:
    """An executable file of the guest."""
    return file(elf(machine), 0o755)


def account_files(
    *users: str, default_shell: str = "/bin/sh", nologin: str = "/usr/sbin/nologin", shadow_mode: int = 0o640
) -> dict[str, Content]:
    """passwd, shadow, group and gshadow with the usual locked system accounts, and *users* without a password."""
    passwd = [f"root:x:0:0:root:/root:{default_shell}"]
    passwd += [f"{name}:x:{uid}:{uid}:{name}:{home}:{nologin}" for name, uid, home in SYSTEM_ACCOUNTS]
    names = ["root", *(name for name, _, _ in SYSTEM_ACCOUNTS)]
    for number, user in enumerate(users, 1000):
        passwd.append(f"{user}:x:{number}:{number}::/home/{user}:{default_shell}")
        names.append(user)
    locked = [f"{name}:*:19700:0:99999:7:::" for name in names]
    groups = [f"{line.split(':')[0]}:x:{line.split(':')[3]}:" for line in passwd]
    return {
        "/etc/passwd": file(_text(passwd), 0o644),
        "/etc/shadow": file(_text(locked), shadow_mode),
        "/etc/group": file(_text(groups), 0o644),
        "/etc/gshadow": file(_text([f"{name}:*::" for name in names]), shadow_mode),
    }


SYSTEM_ACCOUNTS = (
    ("daemon", 1, "/usr/sbin"),
    ("bin", 2, "/bin"),
    ("mail", 8, "/var/mail"),
    ("nobody", 65534, "/nonexistent"),
    ("sshd", 101, "/run/sshd"),
)


def enabled(unit: str, *wanted_by: str, folder: str = "/usr/lib/systemd/system", text: str = "") -> dict[str, Content]:
    """A systemd unit and the links by which *wanted_by* pull it in."""
    found: dict[str, Content] = {f"{folder}/{unit}": text or f"[Unit]\nDescription={unit}\n"}
    for other in wanted_by:
        found[f"/etc/systemd/system/{other}.wants/{unit}"] = link(f"{folder}/{unit}")
    return found


def kernel_files(
    release: str, *, modules: tuple[str, ...] = (), built_in: tuple[str, ...] = (), folder: str = "/usr/lib/modules"
) -> dict[str, Content]:
    """What a kernel's package puts beside the kernel itself; ext4 is always built in."""
    names = {"virtio_scsi": "SCSI_VIRTIO", "sd_mod": "BLK_DEV_SD", "ext4": "EXT4_FS"}
    options = dict.fromkeys(("ext4", *built_in), "y") | dict.fromkeys(modules, "m")
    return {
        f"/boot/config-{release}": "".join(
            f"CONFIG_{names.get(name, name.upper())}={value}\n" for name, value in options.items()
        ),
        f"{folder}/{release}/modules.dep": "".join(f"kernel/drivers/{name}.ko:\n" for name in modules),
        f"{folder}/{release}/modules.builtin": "".join(f"kernel/drivers/{name}.ko\n" for name in ("ext4", *built_in)),
    }


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
