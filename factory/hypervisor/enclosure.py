"""Lets QEMU, running as an account without rights, reach the files of one build and no others.

Started by root, the factory runs QEMU as an unprivileged account that cannot enter /root or a 0700 folder. So the
factory moves
into a mount name space of its own and shows the account just the build's work folder and single files, under a short
path that also suits libvirt's sockets. Nobody else sees these mounts; the kernel drops them with the last process.
An ordinary user's QEMU runs as that user, and sees the files where they are.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import secrets
import tempfile
from pathlib import Path

from factory.errors import HostError

ACCOUNTS = ("libvirt-qemu", "qemu")  # the names libvirt itself is built for
STAGE = Path("/run/image-factory")

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18


class Enclosure:
    """Where QEMU finds the files of one build."""

    def __init__(self, work: Path, *, kvm: bool, embedded: bool = True) -> None:
        """*work* is the build's work folder; it exists. Without *kvm*, /dev/kvm is hidden from libvirt and QEMU.

        A daemon's QEMU (not *embedded*) does not see our name space: it gets the files where they are.
        """
        self.account = _account() if embedded else ""
        self._work = work.absolute()
        self._link: Path | None = None
        self._files = 0
        self._folder: Path | None = None
        if self.account:
            self._folder = _enter(secrets.token_hex(4))
        if self._folder:
            self.work = self._folder / "w"
            self.work.mkdir()
            self._work.chmod(0o711)  # to be passed, not listed; its secrets are 0600
            _mount(self._work, self.work, MS_BIND)
            if not kvm:
                _hide_kvm()
        else:
            self.work = self._short(self._work)

    def path(self, file: Path) -> Path:
        """Where QEMU sees *file*, which it may read (and write when its mode says so)."""
        file = file.absolute()
        if file.is_relative_to(self._work):
            return self.work / file.relative_to(self._work)
        if not self._folder:
            return file
        self._files += 1
        shown = self._folder / f"{self._files}{file.suffix}"
        shown.touch()
        _mount(file, shown, MS_BIND)
        return shown

    def give(self, file: Path) -> None:
        """Make the account the owner of *file*, so that QEMU may write it."""
        if self.account:
            entry = pwd.getpwnam(self.account)
            os.chown(file, entry.pw_uid, entry.pw_gid)

    def close(self) -> None:
        """Forget the short name; mounts end with this process."""
        if self._link:
            self._link.unlink(missing_ok=True)

    def _short(self, work: Path) -> Path:
        if len(os.fsencode(work)) <= 60:
            return work
        base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        self._link = base / f"image-factory-{secrets.token_hex(4)}"
        self._link.symlink_to(work)
        return self._link


def _account() -> str:
    """The account for QEMU when we are root; empty for an ordinary user."""
    if os.geteuid() != 0:
        return ""
    for name in ACCOUNTS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise HostError(
        "there is no unprivileged account for QEMU, which never runs as root here",
        hint="Run 'make setup', which adds the system account libvirt-qemu",
        code="host.no-account",
    )


_entered = False


def _enter(token: str) -> Path | None:
    """A folder only this process and its children see, or None when this host does not allow name spaces."""
    global _entered
    if not _entered:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNS) != 0:
            return None
        _mount(None, Path("/"), MS_REC | MS_PRIVATE)
        STAGE.mkdir(mode=0o755, exist_ok=True)
        _mount(Path("tmpfs"), STAGE, MS_NOSUID | MS_NODEV, "tmpfs", "mode=755,size=1m")
        _entered = True
    folder = STAGE / token
    folder.mkdir(mode=0o755)
    return folder


def _hide_kvm() -> None:
    """libvirt, as root, finds a KVM that QEMU's account may not open, and then asks QEMU again for each architecture
    it knows.

    That took 64 s. A file that nobody may open makes both see the same: no KVM.
    """
    device, nothing = Path("/dev/kvm"), STAGE / "no-kvm"
    if device.exists() and not nothing.exists():
        nothing.touch(mode=0o000)
        _mount(nothing, device, MS_BIND)


def _mount(source: Path | None, target: Path, flags: int, kind: str = "", options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.mount(
        os.fsencode(source) if source else None,
        os.fsencode(target),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    if result != 0:
        number = ctypes.get_errno()
        raise HostError(
            f"{source or target} cannot be shown to QEMU: {os.strerror(number)}",
            hint="Run the factory as an ordinary user instead of root",
            code="host.enclosure",
        )
