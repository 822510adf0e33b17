"""The guest, as the factory talks to it: over SSH with a pinned host key; the only module that imports paramiko."""

from __future__ import annotations

import contextlib
import io
import logging
import shlex
import socket
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from factory.errors import BuildError, MachineError
from factory.guest.stream import Feed, drain

if TYPE_CHECKING:
    import paramiko

OPENING = 30.0  # seconds
MARK = "ANSWER-FOLLOWS"


@dataclass(frozen=True)
class Result:
    """A command that ended in the guest: exit status (-1: a signal killed it), what it printed, seconds."""

    command: str
    status: int
    stdout: str
    stderr: str
    seconds: float


class GuestRefused(Exception):
    """The guest answered, and will not let us in: it is of no use to try again soon."""


class Guest:
    """A session with one guest. Close it, or use it in a ``with``."""

    def __init__(self, client: paramiko.SSHClient, user: str, opening: float = OPENING) -> None:
        """*opening* is how many seconds it may take to open a channel for a command."""
        self._client = client
        self.user = user
        self._opening = opening

    @classmethod
    def connect(cls, port: int, user: str, private_key: str, host_key: str | None, *, timeout: float = 10.0) -> Guest:
        """One attempt at 127.0.0.1:*port*.

        *private_key* is OpenSSH text; *host_key* the public line the guest must show, or None when the caller
        compares it itself (a boot test, whose guest makes its own). Raises OSError while nothing answers, GuestRefused
        when the guest answers and says no, MachineError when it shows another host key: then nothing was sent to it.
        """
        import paramiko

        # Its threads log a traceback for each attempt that nobody answers yet.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)
        key = paramiko.Ed25519Key.from_private_key(io.StringIO(private_key))
        client = paramiko.SSHClient()
        if host_key:
            kind, data = host_key.split()[:2]
            expected = paramiko.Ed25519Key(data=_unbase64(data))
            client.get_host_keys().add(f"[127.0.0.1]:{port}", kind, expected)
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
        else:
            client.set_missing_host_key_policy(cast("paramiko.MissingHostKeyPolicy", _Note()))
        try:
            client.connect(
                "127.0.0.1",
                port=port,
                username=user,
                pkey=key,
                timeout=timeout,
                banner_timeout=timeout,
                auth_timeout=timeout,
                allow_agent=False,
                look_for_keys=False,
            )
        except paramiko.BadHostKeyException as error:
            client.close()
            raise MachineError(
                "the guest shows a host key that this build did not give it",
                cause="Something else answers on the port, or cloud-init ignored the seed",
                hint="Look at the console log for cloud-init's lines",
                code="machine.host-key",
            ) from error
        except paramiko.AuthenticationException as error:
            client.close()
            raise GuestRefused(str(error)) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            client.close()
            raise OSError(str(error)) from error
        transport = client.get_transport()
        if transport:
            transport.set_keepalive(15)
        return cls(client, user, max(OPENING, 3 * timeout))  # a guest that greets slowly opens slowly

    @property
    def host_key(self) -> str:
        """The key the guest showed, as ``type base64``."""
        transport = self._client.get_transport()
        if transport is None:
            return ""
        key = transport.get_remote_server_key()
        return f"{key.get_name()} {key.get_base64()}"

    def run(
        self,
        command: str,
        *,
        before: str = "",
        timeout: float = 600.0,
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
        stdin: bytes | Callable[[BinaryIO], None] = b"",
        check: bool = True,
        alive: Callable[[], bool] = lambda: True,
    ) -> Result:
        """Run a shell *command*; *timeout* in seconds; each line of output goes to *on_line* as it comes.

        Standard input holds *stdin* (bytes, or a function that writes them to a file) and is then closed, so a command
        that asks for input sees its end. *before* is a command that goes before it and is not shown.
        Raises BuildError when *check* and the status is not 0, MachineError when the connection or the machine dies or
        the time is up (its ``__cause__`` is then a TimeoutError), and whatever the function *stdin* raises.
        """
        import paramiko

        start = time.monotonic()
        exports = "".join(f"export {name}={shlex.quote(value)}; " for name, value in (environment or {}).items())
        try:
            channel = self._open()
            try:
                channel.exec_command(before + exports + command)
                feed = Feed(channel, stdin)
                feed.start()
                stdout, stderr = drain(channel, start + timeout, on_line, alive)
                status = channel.recv_exit_status()
                self._require_whole(channel, status)
            finally:
                channel.close()
        except TimeoutError as error:
            raise MachineError(
                f"a command in the guest did not end within {timeout:.0f} s",
                cause=f"It was: {command[:200]}",
                hint="It waits for something, or the guest is very slow: see the console log",
                code="machine.command-timeout",
            ) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise MachineError(
                "the connection to the guest broke",
                cause=f"While it ran: {command[:200]}",
                hint="Look at the end of the console log: a panic, or a guest out of memory",
                code="machine.connection-lost",
            ) from error
        feed.join(10)
        if feed.error is not None:  # of the one who wrote, not of the guest: the command had half of its input
            raise feed.error
        result = Result(command, status, stdout, stderr, time.monotonic() - start)
        if check and status != 0:
            raise BuildError(
                f"a command in the guest ended with status {status}: {command[:200]}",
                cause=(stderr.strip() or stdout.strip()).splitlines()[-1] if (stderr or stdout).strip() else "",
                output=(stdout + stderr)[-3000:],
                code="build.guest-command",
            )
        return result

    def read(
        self, command: str, *, stdin: bytes = b"", timeout: float = 600.0, alive: Callable[[], bool] = lambda: True
    ) -> str:
        """What a shell *command* prints, whatever its status; not what the guest's start files print before it.

        bash reads its start files for a command over SSH too. Raises MachineError as :meth:`run` does.
        """
        done = self.run(f"printf '%s\\n' {MARK}; {command}", stdin=stdin, check=False, timeout=timeout, alive=alive)
        return done.stdout.partition(f"{MARK}\n")[2]

    def _require_whole(self, channel: paramiko.Channel, status: int) -> None:
        """Without a status, tell a command that a signal killed from one whose end was never heard. Raises OSError."""
        if status != -1:
            return
        time.sleep(0.3)  # the thread that reads the connection closes its channels first, and then says that it is off
        transport = self._client.get_transport()
        if not channel.eof_received or transport is None or not transport.is_active():
            raise OSError("the connection was cut")

    def _open(self) -> paramiko.Channel:
        import paramiko

        transport = self._client.get_transport()
        if transport is None:
            raise OSError("not connected")
        try:
            return transport.open_session(timeout=self._opening)
        except paramiko.SSHException as error:
            raise OSError(str(error)) from error

    def put_bytes(self, data: bytes, path: str, mode: int = 0o644) -> None:
        """Write *data* to a new file *path* in the guest, which never is open to more than *mode* allows."""
        quoted = shlex.quote(path)
        self.run(f"umask 077 && rm -f {quoted} && cat > {quoted} && chmod {mode:o} {quoted}", stdin=data)

    def put_tar(
        self,
        write: Callable[[tarfile.TarFile], None],
        *,
        timeout: float = 600.0,
        alive: Callable[[], bool] = lambda: True,
    ) -> Result:
        """Unpack, at the root of the guest, the archive that *write* fills; it is never held in memory as a whole.

        Folders that are there already keep their owner and mode, and links to folders (/lib, /bin) stay links. What
        *write* raises is raised here.
        """

        def stream(pipe: BinaryIO) -> None:
            with tarfile.open(fileobj=pipe, mode="w|", bufsize=1 << 18, format=tarfile.PAX_FORMAT) as archive:
                write(archive)

        command = "tar -x -p -C / --no-overwrite-dir --keep-directory-symlink -f -"
        return self.run(command, stdin=stream, timeout=timeout, check=False, alive=alive)

    def close(self) -> None:
        """End the session."""
        self._client.close()

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def offered_methods(port: int, user: str, *, timeout: float = 30.0) -> list[str]:
    """How the guest would let *user* log in: what it answers to an attempt without any credential."""
    import paramiko

    with contextlib.closing(socket.create_connection(("127.0.0.1", port), timeout=timeout)) as connection:
        transport = paramiko.Transport(connection)
        try:
            transport.start_client(timeout=timeout)
            transport.auth_none(user)
        except paramiko.BadAuthenticationType as error:
            return list(error.allowed_types)
        except paramiko.SSHException as error:
            raise OSError(str(error)) from error
        finally:
            transport.close()
    return ["none"]


class _Note:
    """Accepts a host key that nobody can know before: the boot test compares it afterwards with every other."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Nothing is stored: a second connection of the same test is pinned to what the first one saw."""


def _unbase64(text: str) -> bytes:
    import base64

    return base64.b64decode(text)
