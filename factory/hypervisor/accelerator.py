"""Which accelerator really works here: proved, not assumed.

/dev/kvm can open and even create a machine, and a guest still hangs behind its firmware (a software KVM without vmx
or svm).
So KVM counts only when the processor says that it virtualises and a small guest has really run on it: one that leaves
real mode, the point where the false ones stop.
"""

from __future__ import annotations

import os
import platform
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from factory.errors import HostError, UsageError
from factory.hypervisor.enclosure import account
from factory.run import environment, find

QEMU = "qemu-system-x86_64"
PROBE_SECONDS = 10

# A boot sector that enters protected mode and leaves QEMU through its exit port:
#   cli; xor ax,ax; mov ds,ax; lgdt [0x7c40]; mov eax,cr0; or al,1; mov cr0,eax; jmp 8:0x7c20
#   (at 0x7c20, 32 bit) mov ax,16; mov ds,ax; mov ecx,20000000; loop $; mov dx,0x501; mov al,0x21; out dx,al; hlt
#   (at 0x7c40) the table's length and address, then at 0x7c48 null, flat code and flat data
PROBE_CODE = bytes.fromhex("fa31c08ed80f0116407c0f20c00c010f22c0ea207c0800")
PROBE_PROTECTED = bytes.fromhex("66b810008ed8b9002d3101e2fe66ba0105b021eef4ebfd")
PROBE_TABLE = bytes.fromhex("1700487c000000000000000000000000ffff0000009acf00ffff00000092cf00")
PROBE_STATUS = 0x21 << 1 | 1


@dataclass(frozen=True)
class Accelerator:
    """*name*, why it was chosen, and how to get a faster one (empty when there is none)."""

    name: Literal["kvm", "tcg"]
    why: str
    fix: str = ""

    @property
    def scale(self) -> float:
        """What time-outs written for KVM are multiplied with."""
        return 1.0 if self.name == "kvm" else 5.0


def choose(wanted: str = "auto") -> Accelerator:
    """The accelerator for *wanted* (``auto``, ``kvm`` or ``tcg``); ``kvm`` refuses to fall back.

    Raises HostError, without QEMU in any case: better now than after the minutes in which a base is made.
    """
    if wanted not in ("auto", "kvm", "tcg"):
        raise UsageError(f"{wanted!r} is no accelerator", hint="Choose auto, kvm or tcg", code="usage.accelerator")
    _qemu()
    if wanted == "tcg":
        return Accelerator("tcg", "asked for")
    reason, fix = _why_not_kvm()
    if not reason:
        return Accelerator("kvm", "a small guest ran on it")
    if wanted == "kvm":
        raise HostError(f"KVM does not work here: {reason}", hint=fix, code="host.no-kvm")
    return Accelerator("tcg", reason, fix)


def _why_not_kvm(device: Path = Path("/dev/kvm"), cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, str]:
    """The reason and the fix; both empty when KVM works."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"this host is {platform.machine()}, the images are x86_64", "Build on an x86_64 host"
    if not device.exists():
        return (
            "/dev/kvm is not there",
            "Turn on virtualisation in the firmware (or nested virtualisation above), and load kvm_intel or kvm_amd",
        )
    if not os.access(device, os.R_OK | os.W_OK):
        return "this user may not open /dev/kvm", "Run 'sudo adduser $USER kvm', then log in again"
    words = set(cpuinfo.read_text(errors="replace").split())
    if not words & {"vmx", "svm"}:
        return (
            "/dev/kvm opens, but the processor does not virtualise (neither vmx nor svm)",
            "Turn on nested virtualisation in the hypervisor above",
        )
    runner = account()
    if runner and not _may_open(device, runner):
        return (
            f"QEMU's account {runner} may not open /dev/kvm",
            f"Run 'adduser {runner} kvm', and see that /dev/kvm belongs to the group kvm, with mode 0660",
        )
    if not probe("kvm"):
        return "/dev/kvm opens, but a small guest did not run on it", "See 'dmesg' for what kvm says"
    return "", ""


def _may_open(device: Path, name: str) -> bool:
    """Whether the account *name* may read and write *device*, by its mode."""
    status, entry = device.stat(), pwd.getpwnam(name)
    if status.st_uid == entry.pw_uid:
        return status.st_mode & 0o600 == 0o600
    if status.st_gid in os.getgrouplist(name, entry.pw_gid):
        return status.st_mode & 0o060 == 0o060
    return status.st_mode & 0o006 == 0o006


def probe_sector() -> bytes:
    """The boot sector of the probe, 512 bytes."""
    sector = bytearray(512)
    sector[0 : len(PROBE_CODE)] = PROBE_CODE
    sector[0x20 : 0x20 + len(PROBE_PROTECTED)] = PROBE_PROTECTED
    sector[0x40 : 0x40 + len(PROBE_TABLE)] = PROBE_TABLE
    sector[510:512] = b"\x55\xaa"
    return bytes(sector)


def probe(name: str) -> bool:
    """Whether a guest really runs with the accelerator *name*, in a QEMU that runs as it does in a build."""
    qemu = _qemu()
    # In memory: nothing is left when we are killed, and no closed folder is in the way of QEMU's account.
    memory = os.memfd_create("probe", os.MFD_CLOEXEC)
    with open(memory, "w+b") as disk, Path(f"/proc/self/fd/{memory}").open("rb") as reading:
        disk.write(probe_sector())
        disk.flush()
        argv = [qemu, "-accel", name, "-nodefaults", "-display", "none", "-m", "16", "-no-reboot"]
        argv += ["-device", "isa-debug-exit,iobase=0x501,iosize=4"]
        # By its descriptor: root's temporary folder may be closed to QEMU's account.
        descriptors = disk.fileno(), reading.fileno()
        argv += [word for descriptor in descriptors for word in ("-add-fd", f"fd={descriptor},set=1")]
        argv += ["-drive", "driver=raw,file.driver=file,file.filename=/dev/fdset/1,if=ide"]
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PROBE_SECONDS,
                env=environment(),
                check=False,
                pass_fds=descriptors,
                **_as_account(),
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == PROBE_STATUS


def _qemu() -> str:
    return find(QEMU, reason="to run virtual machines", package="qemu-system-x86")


def _as_account() -> dict[str, Any]:
    """The arguments with which subprocess runs QEMU as its own account, when we are root."""
    name = account()
    if not name:
        return {}
    group = pwd.getpwnam(name).pw_gid
    return {"user": name, "group": group, "extra_groups": os.getgrouplist(name, group)}
