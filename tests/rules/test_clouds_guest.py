"""Rules for the guest that only one cloud has, and what a cloud changes of the shared ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.rule_images import (
    Case,
    Change,
    Guest,
    append,
    benign,
    cases,
    converted,
    defect,
    folder,
    link,
    prove,
    replace,
    write,
)
from tests.rules.test_agents import STATUS, installed
from tests.rules.test_boot import GRUB, INITRD
from tests.rules.test_file import packed, with_launch
from tests.trees import debian
from tests.trees.common import DRIVERS, enabled, initramfs, program

FSTAB = "/etc/fstab"


def with_drivers(*names: str) -> Change:
    return write(INITRD, initramfs(debian.KERNEL, *names))


def unit(name: str, section: str = "") -> list[Change]:
    (path, text), (wants, target) = enabled(name, "multi-user.target").items()
    assert isinstance(text, str) and isinstance(target, tuple)
    return [write(path, section + text), link(wants, target[1])]


OPEN_ISCSI = (
    "[Unit]\nConditionDirectoryNotEmpty=|/etc/iscsi/nodes\nConditionDirectoryNotEmpty=|/sys/class/iscsi_session\n"
)
MODULES = f"/usr/lib/modules/{debian.KERNEL}/modules.dep"
SETTINGS = "/etc/cloud/cloud.cfg.d/01_debian.cfg"
AZURE = (
    replace(SETTINGS, "NoCloud,", "NoCloud, Azure,"),
    with_drivers(*DRIVERS, "hv_vmbus", "hv_storvsc", "hv_netvsc"),
    converted("vpc", subformat="fixed", force_size="on"),
)
AWS = (with_drivers(*DRIVERS, "nvme", "ena"), converted("raw"))

NETROOT = "netroot=iscsi:169.254.0.2:::1:iqn.2015-02.oracle.boot:uefi rd.iscsi.firmware=1"
EMULATED = {"bootVolumeType": "IDE", "networkType": "E1000", "launchOptionsSource": "EMULATED"}


def on_arm(console: str) -> Change:
    """A guest for aarch64, which boots by UEFI and has *console* in the place of ttyS0."""

    def change(guest: Guest) -> None:
        for path, content in guest.files.items():
            if isinstance(content, tuple) and content == program():
                guest.files[path] = program(183)
            elif isinstance(content, str) and "console=ttyS0" in content:
                guest.files[path] = re.sub(r"console=ttyS0[,\w]*", console, content)
        guest.esp = {"EFI/BOOT/BOOTAA64.EFI": b"MZ" + bytes(510)}

    return change


CASES = [
    # Metadata of an archive that asks for other than paravirtualized disks and cards.
    defect("OCI-G05", "debian", packed(metadata=with_launch(bootVolumeType="ISCSI")),
           with_drivers(*DRIVERS, "iscsi_tcp"), target="oci"),
    benign("OCI-G05", "debian", packed(metadata=with_launch(bootVolumeType="ISCSI")),
           with_drivers(*DRIVERS, "iscsi_tcp"), replace(GRUB, " ro ", f" ro {NETROOT} "), target="oci", alone=True),
    defect("OCI-G05", "debian", packed(), replace(GRUB, " ro ", f" ro {NETROOT} "), target="oci"),
    defect("OCI-G07", "debian", packed(metadata=with_launch(**EMULATED)), target="oci"),
    defect("OCI-G07", "debian", packed(metadata=with_launch(networkType="VFIO")), target="oci"),
    defect("OCI-G07", "debian", packed(metadata=with_launch(bootVolumeType="NVME")), with_drivers(*DRIVERS),
           target="oci"),
    benign("OCI-G07", "debian", packed(metadata=with_launch(**EMULATED)), with_drivers(*DRIVERS, "ata_piix", "e1000"),
           target="oci", alone=True),
    benign("OCI-G07", "debian", packed(), target="oci", alone=True),
    # The serial console on Arm is another one.
    defect("GEN-G05", "debian", on_arm("console=ttyS0,115200"), target="generic"),
    defect("OCI-G03", "debian", on_arm("console=ttyS0"), related=("GEN-G05",), target="oci"),
    benign("OCI-G03", "debian", on_arm("console=ttyAMA0"), target="oci", alone=True),
    benign("GEN-G05", "debian", on_arm("console=ttyAMA0,115200"), target="generic", alone=True),
    benign("GEN-G05", "debian", replace(GRUB, "console=tty0 ", ""), on_arm(""), target="generic", alone=True),
    benign("GEN-G05", "debian", *AWS, on_arm("console=ttyS0"), target="aws", alone=True),
    defect("OCI-G01", "debian", with_drivers("virtio_pci", "sd_mod"), target="oci", related=("GEN-G03",)),
    benign("OCI-G01", "alpine", target="oci"),
    defect("OCI-G03", "debian", link("/etc/systemd/system/serial-getty@ttyS0.service", "/dev/null"), target="oci"),
    defect("OCI-G03", "alpine", replace("/etc/inittab", "ttyS0::respawn", "#ttyS0::respawn"), target="oci"),
    benign("OCI-G03", "debian", link("/etc/systemd/system/serial-getty@ttyS1.service", "/dev/null"), target="oci"),
    defect("OCI-G05", "debian", replace(GRUB, " ro ", " ro rd.iscsi.firmware=1 "), target="oci"),
    benign("OCI-G05", "debian", replace(GRUB, " ro ", " ro libiscsi.debug_libiscsi_eh=1 "), target="oci"),
    defect("OCI-G06", "debian", *unit("glusterd.service"), target="oci"),
    defect("OCI-G06", "debian", write("/etc/iscsi/nodes/iqn.x/10.0.0.1,3260,1/default", "node.startup = automatic\n"),
           target="oci", related=("ID09",)),
    benign("OCI-G06", "debian", write("/usr/lib/systemd/system/glusterd.service", "[Service]\nExecStart=/x\n"),
           target="oci"),
    # Ubuntu Server has it enabled, and it waits until there is something to log in to.
    benign("OCI-G06", "debian", *unit("open-iscsi.service", OPEN_ISCSI), target="oci", alone=True),
    defect("OCI-G06", "debian", *unit("open-iscsi.service", OPEN_ISCSI),
           write("/etc/iscsi/nodes/iqn.x/10.0.0.1,3260,1/default", "node.startup = manual\n"), target="oci",
           related=("ID09",)),
    benign("OCI-G06", "rhel", *unit("iscsi.service", "[Unit]\nConditionDirectoryNotEmpty=/var/lib/iscsi/nodes\n"),
           folder("/var/lib/iscsi/nodes"), target="oci", alone=True),
    benign("OCI-G06", "suse", *unit("iscsi.service"), target="oci", alone=True),
    defect("AZ-G01", "debian", *AZURE, with_drivers(*DRIVERS), target="azure"),
    benign("AZ-G01", "debian", *AZURE, target="azure"),
    defect("AZ-G02", "debian", *AZURE, append(FSTAB, "/swapfile none swap sw 0 0\n"), write("/swapfile", bytes(8192)),
           target="azure"),
    benign("AZ-G02", "debian", append(FSTAB, "#/swapfile none swap sw 0 0\n"), target="azure"),
    defect("AZ-G03", "debian", *AZURE, write("/etc/modprobe.d/cis.conf", "install udf /bin/true\n"), target="azure",),
    benign("AZ-G03", "debian", write("/etc/modprobe.d/cis.conf", "#blacklist udf\nblacklist pcspkr\n"), target="azure"),
    defect("AWS-G01", "debian", *AWS, with_drivers(*DRIVERS), write(MODULES, ""), target="aws"),
    benign("AWS-G01", "debian", *AWS, target="aws"),
    defect("GEN-G37", "debian", *AZURE, append(STATUS, installed("google-guest-agent")), target="azure"),
    benign("GEN-G37", "debian", append(STATUS, installed("walinuxagent")), target="azure"),
    benign("GEN-G37", "debian", append(STATUS, installed("amazon-ssm-agent")), target="aws"),
]  # fmt: skip


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
