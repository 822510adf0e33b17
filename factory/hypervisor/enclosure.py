"""Lets QEMU, running as an account without rights, reach the files of one build and no others.

Started by root, the factory runs QEMU as an unprivileged account that cannot enter /root or a 0700 folder. So the
factory moves into a mount name space of its own and shows the account just the build's work folder and single files,
under a short path that also suits libvirt's sockets. Nobody else sees these mounts; the kernel drops them with the
last process.
An ordinary user's QEMU runs as that user, and sees the files where they are.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pwd
import re
import secrets
import tempfile
import threading
from pathlib import Path

from factory.errors import HostError
from factory.workspace import closed_folder

ACCOUNTS = ("libvirt-qemu", "qemu")  # the names libvirt itself is built for
STAGE = Path("/run/image-factory")
PLAIN = re.compile(r"[A-Za-z0-9/._-]+")
OWN_SPACE = Path("/proc/thread-self/ns/mnt")

CLONE_FS, CLONE_NEWNS = 0x00000200, 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18


class Enclosure:
    """Where QEMU finds the files of one build."""

    def __init__(self, work: Path, *, kvm: bool, embedded: bool = True) -> None:
        """*work* is the build's work folder; it exists. Without *kvm*, /dev/kvm is hidden from libvirt and QEMU.

        A daemon's QEMU (not *embedded*) does not see our name space: it gets the files where they are.
        """
        self.account = account() if embedded else ""
        self._work = work.absolute()
        self._link: Path | None = None
        self._shown: dict[Path, Path] = {}  # by the name that QEMU sees
        self._numbers = itertools.count(1)  # boot tests begin side by side
        self._folder: Path | None = None
        if self.account:
            self._folder = _enter(secrets.token_hex(4))
        if self.account:
            self._work.chmod(0o711)  # to be passed, not listed; its secrets are 0600
        elif embedded:
            self._work.chmod(0o700)  # QEMU runs as this account, and disks hold what steps have written and removed
        if self._folder:
            self.work = self._folder / "w"
            self.work.mkdir()
            _mount(self._work, self.work, MS_BIND)
            if not kvm:
                _hide_kvm()
        else:
            self._require_open(self._work)
            self.work = self._short(self._work)

    def path(self, file: Path) -> Path:
        """Where QEMU sees *file*, which it may read (and write when its mode says so)."""
        file = file.absolute()
        if file.is_relative_to(self._work):
            return self.work / file.relative_to(self._work)
        if not self._folder:
            self._require_open(file)
            return file
        shown = self._folder / f"{next(self._numbers)}{file.suffix}"
        self._shown[shown] = file
        shown.touch()
        _mount(file, shown, MS_BIND)
        return shown

    def outside(self, seen: Path) -> Path:
        """The file that QEMU sees at *seen*, by its name for everybody, which does not end with this process."""
        if seen.is_relative_to(self.work):
            return self._work / seen.relative_to(self.work)
        return self._shown.get(seen, seen)

    def give(self, file: Path) -> None:
        """Make the account the owner of *file*, so that QEMU may write it."""
        if self.account:
            entry = pwd.getpwnam(self.account)
            os.chown(file, entry.pw_uid, entry.pw_gid)

    def take_back(self, file: Path) -> None:
        """Own *file* again, once QEMU has ended."""
        if self.account and file.exists():
            os.chown(file, os.geteuid(), os.getegid())

    def close(self) -> None:
        """Forget the short name; mounts end with this process."""
        if self._link:
            self._link.unlink(missing_ok=True)

    def _require_open(self, file: Path) -> None:
        """Without a name space of our own, the account has to get to *file* by itself."""
        closed = closed_folder(file / "below" if file.is_dir() else file) if self.account else None
        if closed:
            raise HostError(
                f"QEMU runs as {self.account}, which cannot get to {file}",
                cause=f"The folder {closed} is closed to other accounts, and without CAP_SYS_ADMIN (a container, "
                "perhaps) root cannot show single files to QEMU",
                hint="Run the factory as an ordinary user",
                code="host.closed-folder",
            )

    def _short(self, work: Path) -> Path:
        """A name for *work* that suits libvirt: short for its sockets, and plain, for it lands in URIs and lists."""
        if _suits(work, 60):
            return work
        usable = [
            Path(each) for each in _short_places() if _suits(Path(each), 35) and os.access(each, os.W_OK | os.X_OK)
        ]
        if not usable:
            return work
        self._link = usable[0] / f"image-factory-{secrets.token_hex(4)}"
        self._link.symlink_to(work)
        return self._link


def reap_links(state: Path, *, dry_run: bool = False) -> list[str]:
    """Remove the short names that killed runs left: links of ours that lead to a folder of *state* that is gone.

    With *dry_run* it only says which.
    """
    removed = []
    for place in {Path(each) for each in _short_places() if each}:
        for link in place.glob("image-factory-*"):
            with contextlib.suppress(OSError):
                target = link.readlink()
                if link.lstat().st_uid == os.geteuid() and target.is_relative_to(state) and not target.exists():
                    if not dry_run:
                        link.unlink()
                    removed.append(f"{'would remove' if dry_run else 'removed'} {link}")
    return removed


def _short_places() -> tuple[str, ...]:
    return os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp", "/var/tmp"  # noqa: S108


def _suits(path: Path, length: int) -> bool:
    return path.is_absolute() and len(os.fsencode(path)) <= length and bool(PLAIN.fullmatch(str(path)))


def account() -> str:
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


_space: int | None = None  # a descriptor of our mount name space, once there is one
_entering = threading.Lock()


def _enter(token: str) -> Path | None:
    """A folder only this process and its children see, or None when this host does not allow name spaces."""
    global _space
    with _entering:
        if _space is None:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(CLONE_NEWNS) != 0:
                return None
            _mount(None, Path("/"), MS_REC | MS_PRIVATE)
            STAGE.mkdir(mode=0o755, exist_ok=True)
            _mount(Path("tmpfs"), STAGE, MS_NOSUID | MS_NODEV, "tmpfs", "mode=755,size=1m")
            _space = os.open(OWN_SPACE, os.O_RDONLY | os.O_CLOEXEC)
        elif not os.path.samestat(os.fstat(_space), OWN_SPACE.stat()):
            _join(_space)
    folder = STAGE / token
    folder.mkdir(mode=0o755)
    return folder


def _join(space: int) -> None:
    """Bring this thread into the name space: one belongs to the thread that made it, and to those it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder = Path.cwd()
    if libc.unshare(CLONE_FS) != 0 or libc.setns(space, CLONE_NEWNS) != 0:
        raise HostError(
            f"a second build cannot share what QEMU is shown: {os.strerror(ctypes.get_errno())}",
            hint="Build one recipe after the other",
            code="host.enclosure",
        )
    os.chdir(folder)


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
