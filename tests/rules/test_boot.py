"""Rules about boot entries, kernels, initramfs and the console."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boot_files import bzimage, cpio
from tests.rule_images import (
    Case,
    Change,
    Guest,
    append,
    benign,
    broken,
    cases,
    check,
    defect,
    edit,
    esp,
    folder,
    link,
    make,
    on_disk,
    prove,
    remove,
    replace,
    write,
)
from tests.trees import alpine, debian, rhel, suse
from tests.trees.common import DRIVERS, OTHER_DRIVERS, ROOT_UUID, initramfs, kernel_files

GRUB = "/boot/grub/grub.cfg"
GRUB2 = "/boot/grub2/grub.cfg"
BLS = f"/boot/loader/entries/{rhel.MACHINE}-{rhel.KERNEL}.conf"
INITRD = f"/boot/initrd.img-{debian.KERNEL}"
OLD = "6.1.0-13-cloud-amd64"
OTHER = "0b1c2d3e-0000-4000-8000-000000000001"
BUILDER = "0123456789abcdef0123456789abcdef"


def entry(release: str, options: str = debian.OPTIONS, title: str = "second") -> str:
    """A further entry of GRUB's menu."""
    return (
        f"menuentry '{title}' {{\n\tlinux /boot/vmlinuz-{release} {options}\n\tinitrd /boot/initrd.img-{release}\n}}\n"
    )


def kernel(release: str, *drivers: str, modules: tuple[str, ...] = DRIVERS) -> list:  # type: ignore[type-arg]
    """Changes that install a second kernel of Debian, whose initramfs holds *drivers*."""
    files = {
        f"/boot/vmlinuz-{release}": b"MZ" + bytes(510),
        f"/boot/initrd.img-{release}": initramfs(release, *drivers),
    }
    changes = [write(path, content) for path, content in files.items()]
    for path, content in kernel_files(release, modules=modules).items():
        assert isinstance(content, str)
        changes.append(write(path, content))
    return changes


def in_initramfs(family: str, files: dict[str, bytes]) -> Change:
    """The initramfs of the healthy guest, with further files."""

    def change(guest: Guest) -> None:
        path, release, maker = {
            "debian": (INITRD, debian.KERNEL, "initramfs-tools"),
            "rhel": (f"/boot/initramfs-{rhel.KERNEL}.img", rhel.KERNEL, "dracut"),
            "alpine": ("/boot/initramfs-virt", alpine.KERNEL, "mkinitfs"),
        }[family]
        assert path in guest.files
        guest.files[path] = initramfs(release, *DRIVERS, *OTHER_DRIVERS, maker=maker, more=files)

    return change


def grubenv(**variables: str) -> bytes:
    text = "# GRUB Environment Block\n" + "".join(f"{name}={value}\n" for name, value in variables.items())
    return text.encode().ljust(1024, b"#")


def luks(disk: Path, offset: int) -> None:
    """An encrypted volume in place of what begins at *offset* of a raw disk."""
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(b"LUKS\xba\xbe\0\2" + bytes(4000))


def without_boot_code(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.write(bytes(440))


def service(name: str, target: str, text: str = "[Service]\nExecStart=/usr/bin/x\n") -> list[Change]:
    """A unit that is there, and is started."""
    path = f"/usr/lib/systemd/system/{name}"
    return [write(path, text), link(f"/etc/systemd/system/{target}.wants/{name}", path)]


RECONFIGURE = "[Unit]\nConditionPathExists=/var/lib/YaST2/reconfig_system\n[Service]\nExecStart=/usr/bin/x\n"
FIRSTBOOT = """[Unit]\nDefaultDependencies=no\nConditionPathIsReadWrite=/etc\nConditionFirstBoot=yes
[Service]\nType=oneshot\nStandardInput=tty
ExecStart=systemd-firstboot --prompt-locale --prompt-keymap --prompt-timezone --prompt-root-password\n"""
CHOICES = [folder(path) for path in ("/usr/lib/locale/en_US.utf8", "/usr/share/zoneinfo", "/usr/lib/kbd/keymaps")]
RECOVERY = f"""menuentry 'x (recovery mode)' {{
linux /boot/vmlinuz-{suse.KERNEL} {suse.OPTIONS.replace("console=ttyS0,115200", "single")}
initrd /boot/initrd-{suse.KERNEL}
}}
"""
CASES = [
    # GEN-G02: kernels and initramfs
    defect("GEN-G02", "debian", remove(INITRD), related=("GEN-G03",)),
    defect("GEN-G02", "debian", remove(f"/boot/vmlinuz-{debian.KERNEL}"), related=("GEN-G03", "GEN-F14")),
    defect("GEN-G02", "debian", append(GRUB, entry(OLD))),
    defect("GEN-G02", "debian", remove(GRUB)),
    defect("GEN-G02", "rhel", edit(BLS, lambda text: text.replace("vmlinuz-", "vmlinuz-gone-")), related=("GEN-F14",)),
    defect("GEN-G02", "rhel", remove(BLS)),
    defect("GEN-G02", "suse", remove(f"/boot/initrd-{suse.KERNEL}"), related=("GEN-G03",)),
    defect("GEN-G02", "alpine", replace("/boot/extlinux.conf", "INITRD initramfs-virt", "INITRD initramfs-lts")),
    defect("GEN-G02", "debian", replace(GRUB, ROOT_UUID + "\n", OTHER + "\n")),
    benign("GEN-G02", "debian", append(GRUB, "# menuentry 'old' { linux /boot/vmlinuz-old }\n")),
    benign("GEN-G02", "debian", append(GRUB, "menuentry 'f' { fwsetup }\nmenuentry 'm' { linux16 /boot/memtest }\n")),
    benign("GEN-G02", "debian", replace(GRUB, f"/boot/vmlinuz-{debian.KERNEL} ", "/vmlinuz ")),
    benign("GEN-G02", "rhel", append(BLS, "grub_users $grub_users\ngrub_arg --unrestricted\n")),
    benign("GEN-G02", "rhel", remove(GRUB2), alone=True),
    benign("GEN-G02", "alpine", append("/boot/extlinux.conf", "#LABEL lts\n#  LINUX vmlinuz-lts\n")),
    # GEN-G03: drivers
    *(defect("GEN-G03", "debian", write(INITRD, initramfs(debian.KERNEL, *(d for d in DRIVERS if d != gone))))
      for gone in ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod")),
    defect("GEN-G03", "debian", append(GRUB, entry(OLD)), *kernel(OLD, "ahci", "sd_mod")),
    defect("GEN-G03", "debian", *kernel("6.1.0-13-amd64", "virtio_blk")),
    defect("GEN-G03", "debian", write(INITRD, b"not an initramfs"), related=("BT04",)),
    defect("GEN-G03", "debian", edit(f"/usr/lib/modules/{debian.KERNEL}/modules.dep",
                                     lambda text: text.replace("virtio_net", "e1000")),
           write(INITRD, initramfs(debian.KERNEL, *(d for d in DRIVERS if d != "virtio_net")))),
    defect("GEN-G03", "debian", edit(f"/usr/lib/modules/{debian.KERNEL}/modules.builtin", lambda text: ""),
           append(f"/usr/lib/modules/{debian.KERNEL}/modules.dep", "kernel/fs/ext4/ext4.ko.xz: kernel/fs/j.ko.xz\n")),
    defect("GEN-G03", "rhel", write(f"/boot/initramfs-{rhel.KERNEL}.img",
                                    initramfs(rhel.KERNEL, "virtio_blk", "virtio_pci", maker="dracut"))),
    defect("GEN-G03", "suse", write(f"/boot/initrd-{suse.KERNEL}", initramfs(suse.KERNEL, "vmw_pvscsi", "sd_mod",
                                                                             maker="dracut"))),
    defect("GEN-G03", "alpine", edit(f"/lib/modules/{alpine.KERNEL}/modules.builtin",
                                     lambda text: text.replace("virtio_blk", "nvme"))),
    defect("GEN-G03", "debian", write("/etc/modprobe.d/x.conf", "blacklist virtio_net\n")),
    defect("GEN-G03", "rhel", write("/etc/modprobe.d/x.conf", "install virtio-blk /bin/false\n")),
    defect("GEN-G03", "debian", replace(GRUB, " ro ", " ro modprobe.blacklist=floppy,virtio_scsi ")),
    benign("GEN-G03", "debian", write("/etc/modprobe.d/y.conf", "#blacklist virtio_net\nblacklist floppy\n"
                                                               "install cramfs /bin/false\noptions virtio_net x=1\n")),
    benign("GEN-G03", "alpine", write("/etc/modprobe.d/x.conf", "blacklist virtio_blk\n")),  # built in
    benign("GEN-G03", "debian", write(INITRD, initramfs(debian.KERNEL, *DRIVERS, kind="xz"))),
    benign("GEN-G03", "suse", write(f"/boot/initrd-{suse.KERNEL}", cpio({"init": b"x"})),
           edit(f"/usr/lib/modules/{suse.KERNEL}/modules.builtin",
                lambda text: text + "".join(f"kernel/drivers/{name.replace('_', '-')}.ko\n" for name in DRIVERS))),
    benign("GEN-G03", "alpine", write("/boot/vmlinuz-virt", bzimage(alpine.KERNEL))),
    benign("GEN-G03", "suse", write(f"/boot/vmlinux-{suse.KERNEL}.gz", b"\x1f\x8b")),
    benign("GEN-G03", "debian", folder("/usr/lib/modules/5.10.0-20-amd64/updates")),
    # GEN-G04: a generic initramfs
    defect("GEN-G04", "debian", replace("/etc/initramfs-tools/initramfs.conf", "MODULES=most", "MODULES=dep")),
    defect("GEN-G04", "debian", write("/etc/initramfs-tools/conf.d/driver-policy", "# installer\nMODULES=dep\n")),
    defect("GEN-G04", "rhel", remove("/etc/dracut.conf.d/generic.conf"),
           write("/usr/lib/dracut/dracut.conf.d/01-dist.conf", 'hostonly="yes"\n')),
    defect("GEN-G04", "alpine", replace("/etc/mkinitfs/mkinitfs.conf", " virtio", "")),
    defect("GEN-G04", "rhel", write("/etc/dracut.conf.d/x.conf", 'omit_drivers+=" virtio-blk virtio_net "\n')),
    benign("GEN-G04", "rhel", write("/etc/dracut.conf.d/x.conf", 'omit_drivers+=" nouveau virtio_gpu "\n'
           '#omit_drivers+=" virtio_blk "\nadd_drivers+=" virtio_blk "\n')),
    benign("GEN-G04", "debian", append("/etc/initramfs-tools/initramfs.conf", "# MODULES=dep would be smaller\n")),
    benign("GEN-G04", "rhel", write("/usr/lib/dracut/dracut.conf.d/01-dist.conf", 'hostonly="yes"\n')),
    # GEN-G05: the serial console
    defect("GEN-G05", "debian", replace(GRUB, " console=ttyS0,115200n8", "")),
    defect("GEN-G05", "debian", append(GRUB, entry(debian.KERNEL, debian.OPTIONS.replace("ttyS0", "ttyS1")))),
    defect("GEN-G05", "rhel", replace(BLS, "console=ttyS0,115200n8", "console=hvc0")),
    defect("GEN-G05", "alpine", replace("/boot/extlinux.conf", "console=ttyS0", "consoles=ttyS0")),
    benign("GEN-G05", "debian", replace(GRUB, "console=tty0 console=ttyS0,115200n8", "console=ttyS0 console=tty0")),
    benign("GEN-G05", "suse", append(GRUB2, RECOVERY)),
    # BT09: the menu
    defect("BT09", "debian", append(GRUB, "set timeout=-1\n")),
    defect("BT09", "debian", append(GRUB, "set timeout=30\n")),
    defect("BT09", "debian", write("/boot/grub/grubenv", grubenv(recordfail="1"))),
    defect("BT09", "debian", write("/boot/grub/grubenv", grubenv()[:500])),
    defect("BT09", "rhel", edit(GRUB2, lambda text: 'load_env\nset default="${saved_entry}"\n' + text),
           write("/boot/grub2/grubenv", grubenv(saved_entry=f"{BUILDER}-5.14.0-362.el9.x86_64"))),
    defect("BT09", "rhel", write("/boot/grub2/grubenv", grubenv(saved_entry=f"{BUILDER}-5.14.0-362.el9.x86_64"))),
    defect("BT09", "debian", edit(GRUB, lambda text: 'set superusers="root"\npassword_pbkdf2 root grub.x\n' + text)),
    benign("BT09", "debian", write("/boot/grub/grubenv", grubenv(saved_entry="0")), append(GRUB, "set timeout=5\n")),
    benign("BT09", "rhel", edit(GRUB2, lambda text: 'load_env\nset default="${saved_entry}"\nset timeout=1\n' + text),
           write("/boot/grub2/grubenv", grubenv(saved_entry=f"{rhel.MACHINE}-{rhel.KERNEL}", boot_indeterminate="0"))),
    # BT10: GRUB's disk
    defect("BT10", "debian", write("/var/cache/debconf/config.dat",
                                   "Name: grub-pc/install_devices\nTemplate: grub-pc/install_devices\n"
                                   "Value: /dev/disk/by-id/ata-QEMU_HARDDISK_QM00001\nOwners: grub-pc\nFlags: seen\n")),
    defect("BT10", "debian", write("/boot/grub/device.map", "(hd0)\t/dev/disk/by-id/ata-QEMU_HARDDISK\n")),
    benign("BT10", "debian", write("/var/cache/debconf/config.dat",
                                   "Name: grub-pc/install_devices\nTemplate: grub-pc/install_devices\nValue: \n\n"
                                   "Name: x/device\nTemplate: x\nValue: /dev/sda\n")),
    # BT12: arguments
    *(defect("BT12", "debian", replace(GRUB, " ro ", f" ro {word} "), related=("GEN-G18",)) for word in
      ("init=/bin/bash", "single", "rd.break")),
    *(defect("BT12", "debian", replace(GRUB, " ro ", f" ro {word} ")) for word in
      ("autoinstall", "inst.ks=http://10.0.2.2/ks.cfg", "preseed/url=http://10.0.2.2/p")),
    defect("BT12", "debian", replace(GRUB, " ro ", f" ro systemd.machine_id={BUILDER} "), related=("GEN-G30",)),
    defect("BT12", "debian", replace(GRUB, " ro ", " ro ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off "),
           related=("GEN-G23",)),
    defect("BT12", "debian", replace("/etc/default/grub", 'LINUX="', 'LINUX="autoinstall ')),
    defect("BT12", "rhel", replace(BLS, " ro ", " ro systemd.unit=rescue.target "), related=("GEN-G18",)),
    benign("BT12", "debian", replace(GRUB, " ro ", " ro quiet splash init_on_alloc=1 ")),
    benign("BT12", "debian", append(GRUB, entry(debian.KERNEL, f"{debian.OPTIONS} single", "recovery mode"))),
    benign("BT12", "debian",  # as every Ubuntu has it
           append(GRUB, entry(debian.KERNEL, f"{debian.OPTIONS} recovery nomodeset dis_ucode_ldr", "recovery mode 2"))),
    defect("BT12", "debian", replace(GRUB, " ro ", " ro nomodeset ")),
    *(benign("BT12", "debian", replace(GRUB, " ro ", f" ro init={path} "), alone=True) for path in
      ("/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/sbin/init")),
    defect("BT12", "debian", replace(GRUB, " ro ", " ro init=/lib/systemd/systemd-x "), related=("GEN-G18",)),
    # BT16: kernels
    defect("BT16", "debian", *kernel("6.1.0-20-cloud-amd64", *DRIVERS)),
    defect("BT16", "debian", remove(f"/usr/lib/modules/{debian.KERNEL}"),
           write(f"/usr/lib/modules/{OLD}/modules.dep", ""), related=("GEN-G03",)),
    benign("BT16", "debian", *kernel(OLD, *DRIVERS), append(GRUB, entry(OLD))),
    # BT17: the state
    defect("BT17", "debian", write("/etc/nologin", "maintenance\n"), related=("GEN-G19",)),
    defect("BT17", "rhel", write("/.unconfigured", "")),
    defect("BT17", "debian", link("/etc/systemd/system/default.target", "/usr/lib/systemd/system/rescue.target"),
           write("/usr/lib/systemd/system/rescue.target", "[Unit]\n"),
           related=("GEN-G09", "GEN-G18", "GEN-G08", "NET01", "SH02")),
    defect("BT17", "suse", link("/etc/systemd/system/systemd-logind.service", "/dev/null")),
    benign("BT17", "debian", write("/etc/nologin.txt", ""),
           link("/etc/systemd/system/systemd-networkd-wait-online.service", "/dev/null")),
    *(defect("BT17", family, *service(unit, "multi-user.target")) for family, unit in
      (("suse", "YaST2-Firstboot.service"), ("rhel", "initial-setup.service"), ("debian", "debug-shell.service"))),
    defect("BT17", "suse", *service("jeos-firstboot.service", "multi-user.target", RECONFIGURE),
           write("/var/lib/YaST2/reconfig_system", "")),
    benign("BT17", "suse", *service("jeos-firstboot.service", "multi-user.target", RECONFIGURE),
           write("/etc/systemd/system/debug-shell.service", "[Service]\nExecStart=/bin/sh\n")),
    benign("BT17", "rhel", *service("systemd-firstboot.service", "sysinit.target", FIRSTBOOT), *CHOICES),
    # BT18: encryption
    defect("BT18", "debian", write("/etc/crypttab", f"root UUID={ROOT_UUID} none luks\n")),
    defect("BT18", "debian", on_disk(lambda disk: luks(disk, 1 << 20)), related=("GEN-F04", "GEN-G01")),
    benign("BT18", "debian", write("/etc/crypttab", "# <target name> <source device> <key file> <options>\n")),
]  # fmt: skip
STUB = "search.fs_uuid {} root hd0,gpt1\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n"
CASES += [
    defect("GEN-G02", "debian", esp({"EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(510),
                                     "EFI/debian/grub.cfg": STUB.format(OTHER).encode()})),
    benign("GEN-G02", "debian", esp({"EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(510),
                                     "EFI/debian/grub.cfg": STUB.format(ROOT_UUID).encode()})),
    benign("GEN-G02", "debian", esp({"EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(510),
                                     "EFI/BOOT/grub.cfg": STUB.format(ROOT_UUID).encode()}),
           known={"firmware": "uefi"}, alone=True),
]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "uuids", "firmware", "bios", "status"),
    [
        ("debian", [OTHER], "uefi", True, "fail"),
        ("BOOT", [OTHER], "uefi", True, "fail"),
        ("debian", [OTHER], "", False, "fail"),  # nothing but UEFI can boot it
        ("debian", [OTHER], "bios", True, "warn"),
        ("debian", [OTHER], "", True, "warn"),
        ("debian", [OTHER, ROOT_UUID], "uefi", True, "warn"),  # another stub leads to the entries
    ],
)
def test_a_stub_on_the_esp_that_leads_nowhere(
    name: str, uuids: list[str], firmware: str, bios: bool, status: str, tmp_path: Path
) -> None:
    stubs = {f"EFI/{name}{number or ''}/grub.cfg": STUB.format(uuid).encode() for number, uuid in enumerate(uuids)}
    changes = [esp({"EFI/BOOT/BOOTX64.EFI": b"MZ" + bytes(510)} | stubs)]
    if not bios:
        changes.append(on_disk(without_boot_code))
    found = check(make(tmp_path / "disk.img", "debian", *changes), "generic", firmware=firmware)
    assert {each.status for each in broken(found)["GEN-G02"]} == {status}


@pytest.mark.real
@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ([*CHOICES, remove("/etc/locale.conf")], "locale, keymap"),
        ([*CHOICES, remove("/etc/localtime"), write("/etc/vconsole.conf", "KEYMAP=us\n")], "timezone"),
        ([replace("/etc/shadow", "root:*:", "root:!unprovisioned:")], "root-password"),
        ([*CHOICES, write("/etc/vconsole.conf", "KEYMAP=us\n")], ""),
        # The only locale is taken without a question; without key tables or time zones none is asked for.
        ([folder("/usr/lib/locale/C.utf8"), remove("/etc/locale.conf", "/etc/localtime", "/usr/share/zoneinfo")], ""),
        (
            [*CHOICES, remove("/etc/locale.conf"), link("/etc/systemd/system/systemd-firstboot.service", "/dev/null")],
            "",
        ),
    ],
)
def test_what_a_first_boot_asks(changes: list[Change], asked: str, tmp_path: Path) -> None:
    wizard = service("systemd-firstboot.service", "sysinit.target", FIRSTBOOT)
    first = write("/etc/machine-id", "uninitialized\n")
    found = broken(check(make(tmp_path / "disk.img", "rhel", *wizard, first, *changes)))
    told = [each.evidence.partition("nothing sets: ")[2] for each in found.get("BT17", [])]
    assert told == ([asked] if asked else [])


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
