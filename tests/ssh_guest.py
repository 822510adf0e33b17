"""A guest without a machine: a real SSH server (dropbear) on loopback, and behind it root of a folder of this host.

The folder has its own /etc, /root, /run and /var, and the programs of this host, read-only; what a step does there
stays there. All processes of the guest live in a pid name space of their own and end with the server.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.guest import Guest
from factory.hypervisor.fresh import free_port
from factory.seed import KeyPair, new_keypair
from tests.guest_tree import ENTER, PROGRAMS

ROOT_USER = os.geteuid() == 0
OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n'
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\n",
    "etc/group": "root:x:0:\nwww-data:x:33:\nadm:x:4:\n",
    "etc/shells": "/bin/sh\n",
    "etc/os-release": OS_RELEASE,
}
SERVE = (
    'mount -t proc proc "$root/proc" 2>/dev/null || true\n'
    'mount -t tmpfs -o mode=755,noexec tmpfs "$root/run"\n'  # as systemd mounts it
    'exec chroot "$root" dropbear -F -E $KEYS_ONLY -p "127.0.0.1:$PORT" -P "" -r /etc/dropbear/key -W 1000000 2>>"$LOG"'
)


class SshGuest:
    """What a test needs to know of the guest: its *root* folder, its loopback *port*, its keys, the server's log."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.login = new_keypair("login")
        self.host_key = new_keypair("host")
        self.log_file = root.with_name(root.name + ".log")

    def connect(self, *, login: KeyPair | None = None, host_key: KeyPair | None = None, user: str = "root") -> Guest:
        """A session, as a build has it."""
        return Guest.connect(
            self.port,
            user,
            (login or self.login).private_openssh,
            (host_key or self.host_key).public_openssh,
            timeout=10,
        )

    def log(self) -> str:
        """What the server said."""
        return self.log_file.read_text(errors="replace")

    def path(self, name: str) -> Path:
        """Where the guest's file *name* (absolute) lies on this host; not for /run, /proc and /dev."""
        return self.root / name.lstrip("/")


def needs_server() -> None:
    """Skip the test, saying why, where such a guest cannot run."""
    for program in ("dropbear", "dropbearconvert", "unshare"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"{program} is not installed (run 'make setup')")
    tried = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no name spaces for this user: {tried.stderr.strip()}")


@contextlib.contextmanager
def ssh_guest(
    root: Path,
    files: dict[str, str] | None = None,
    *,
    executable: tuple[str, ...] = (),
    host_key_type: str = "ed25519",
    passwords: bool = False,
) -> Iterator[SshGuest]:
    """Run a guest below *root*, a new folder, with *files* in it (paths without a leading /).

    Those named in *executable* may be run. With another *host_key_type* it shows a key of its own; with *passwords* it
    would take one.
    """
    needs_server()
    guest = SshGuest(root)
    names = _plant(guest, FILES | (files or {}))
    for name in executable:
        guest.path(name).chmod(0o755)
    _make_host_key(guest, host_key_type)
    environment = os.environ | {"PORT": str(guest.port), "LOG": str(guest.log_file), "LC_ALL": "C.UTF-8"}
    environment["PATH"] = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    environment["KEYS_ONLY"] = "" if passwords else "-s"
    server = subprocess.Popen(
        [*_unshare(), "sh", "-c", f"{ENTER}\n{SERVE}", "guest", str(root), "no" if ROOT_USER else "yes", *names],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=guest.log_file.open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        _wait_for(guest, server)
        yield guest
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the guest's first process, and with it all others; unshare waits for it, so that nothing is left."""
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _plant(guest: SshGuest, files: dict[str, str]) -> list[str]:
    root = guest.root
    root.mkdir()
    root.chmod(0o755)
    for name in ("dev", "proc", "run", "tmp", "var/tmp", "var/www", "etc/dropbear", "root/.ssh"):
        (root / name).mkdir(parents=True)
    for name in ("root", "root/.ssh"):
        (root / name).chmod(0o700)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    with contextlib.suppress(FileNotFoundError):  # where /usr/bin/awk leads to
        shutil.copytree("/etc/alternatives", root / "etc/alternatives", symlinks=True)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "root/.ssh/authorized_keys").write_text(f"{guest.login.public_openssh}\n")
    (root / "root/.ssh/authorized_keys").chmod(0o600)
    names = []
    for name in PROGRAMS:
        host = Path("/") / name
        if host.is_symlink():
            (root / name).symlink_to(os.readlink(host))
        elif host.exists():
            (root / name).mkdir(parents=True, exist_ok=True)
            names.append(name)
    return names


def _make_host_key(guest: SshGuest, kind: str) -> None:
    folder = guest.path("/etc/dropbear")
    command: list[str | Path] = ["dropbearkey", "-t", kind, "-f", folder / "key"]
    if kind == "ed25519":
        (folder / "openssh").touch(mode=0o600)
        (folder / "openssh").write_text(guest.host_key.private_openssh)
        command = ["dropbearconvert", "openssh", "dropbear", folder / "openssh", folder / "key"]
    subprocess.run(command, check=True, capture_output=True)


def _unshare() -> list[str]:
    who = [] if ROOT_USER else ["--user", "--map-root-user", "--map-auto"]
    return ["unshare", *who, "--mount", "--pid", "--fork", "--kill-child"]


def _wait_for(guest: SshGuest, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", guest.port), timeout=2) as connection:
                assert connection.recv(8).startswith(b"SSH-2.0-")
                return
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, f"the server did not start: {guest.log()}"
            time.sleep(0.05)
