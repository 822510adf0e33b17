"""The guest over SSH, against real servers on loopback: who is let in, what runs, what comes back, what breaks."""

from __future__ import annotations

import hashlib
import io
import os
import shlex
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import paramiko
import pytest
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from factory.errors import BuildError, MachineError
from factory.guest import Guest, GuestRefused, offered_methods
from factory.seed import new_keypair
from tests.ssh_guest import SshGuest, ssh_guest

pytestmark = pytest.mark.real

HOSTILE = [
    "a'b\"c",
    "$(touch /tmp/pwned) `touch /tmp/pwned` ${HOME}",
    "two\nlines\n",
    "\\ \t* ? ~",
    "ünïcödé 🐧",
    "-n",
    "",
]
MB = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshGuest]:
    with ssh_guest(tmp_path_factory.mktemp("ssh") / "guest") as running:
        yield running


@pytest.fixture
def guest(server: SshGuest) -> Iterator[Guest]:
    with server.connect() as connected:
        yield connected


# -- who is let in


def test_the_pinned_key_is_accepted(server: SshGuest, guest: Guest) -> None:
    assert guest.run("id -un").stdout == "root\n"
    assert guest.host_key == " ".join(server.host_key.public_openssh.split()[:2])


def test_another_host_key_ends_it_before_anything_is_sent(server: SshGuest) -> None:
    before = len(server.log())
    with pytest.raises(MachineError) as caught:
        server.connect(host_key=new_keypair("another"))
    assert caught.value.code == "machine.host-key"
    time.sleep(0.2)
    # Of the connections that ended meanwhile, ours is the one that had not even named a user.
    ended = [line for line in server.log()[before:].splitlines() if "Exit (root)" not in line]
    assert [line for line in ended if "Exit before auth from" in line]
    assert not [line for line in ended if "attempt" in line or "succeeded" in line]


def test_a_host_key_of_another_type_is_as_wrong(tmp_path: Path) -> None:
    with ssh_guest(tmp_path / "guest", host_key_type="ecdsa") as other, pytest.raises(MachineError) as caught:
        other.connect()
    assert caught.value.code == "machine.host-key"


def test_a_wrong_login_key_is_refused_and_nothing_else_is_tried(server: SshGuest) -> None:
    before = len(server.log())
    with pytest.raises(GuestRefused):
        server.connect(login=new_keypair("stranger"))
    with pytest.raises(GuestRefused):
        server.connect(user="nobody-of-that-name")
    assert "password" not in server.log()[before:].lower()


def test_an_unknown_host_key_is_noted_when_none_was_given(server: SshGuest) -> None:
    with Guest.connect(server.port, "root", server.login.private_openssh, None) as connected:
        assert connected.host_key == " ".join(server.host_key.public_openssh.split()[:2])


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n" + b"\0" * 64])
def test_what_is_no_ssh_server_is_tried_again_later(server: SshGuest, answer: bytes | None) -> None:
    with _listener(answer) as port, pytest.raises(OSError):  # OSError is "not yet"
        Guest.connect(port, "root", server.login.private_openssh, server.host_key.public_openssh, timeout=1)


def test_nobody_listens(server: SshGuest) -> None:
    with _listener(None) as port:
        pass
    with pytest.raises(OSError):
        Guest.connect(port, "root", server.login.private_openssh, server.host_key.public_openssh, timeout=1)
    with pytest.raises(OSError):
        offered_methods(port, "root", timeout=1)


def test_the_offered_methods_are_what_the_server_offers(server: SshGuest, tmp_path: Path) -> None:
    assert offered_methods(server.port, "root") == ["publickey"]
    with ssh_guest(tmp_path / "guest", passwords=True) as open_one:
        assert "password" in offered_methods(open_one.port, "root")


# -- what runs, and what comes back


def test_status_and_streams_are_told_apart(guest: Guest) -> None:
    result = guest.run("echo out; echo err >&2; exit 3", check=False)
    assert (result.status, result.stdout, result.stderr) == (3, "out\n", "err\n")
    with pytest.raises(BuildError) as caught:
        guest.run("echo first >&2; echo last >&2; exit 3")
    assert (caught.value.code, caught.value.cause) == ("build.guest-command", "last")


def test_lines_come_while_it_runs(guest: Guest) -> None:
    seen: list[tuple[float, str]] = []
    guest.run(
        r"echo one; sleep 1; printf 'two\r\n'; echo three >&2; printf 'four \377'",
        on_line=lambda line: seen.append((time.monotonic(), line)),
    )
    assert sorted(line for _, line in seen) == ["four \ufffd", "one", "three", "two"]
    assert seen[1][0] - seen[0][0] > 0.7


def test_standard_input_is_closed(guest: Guest) -> None:
    start = time.monotonic()
    assert guest.run('read answer; echo "status $?"', timeout=20).stdout == "status 1\n"
    assert time.monotonic() - start < 5


def test_input_that_nobody_reads_does_no_harm(guest: Guest) -> None:
    assert guest.run("exit 7", stdin=b"x" * MB, check=False, timeout=20).status == 7


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_are_only_data(guest: Guest, server: SshGuest, value: str) -> None:
    assert guest.run('printf %s "$V"', environment={"V": value}).stdout == value
    assert guest.run(f"printf %s {shlex.quote(value)}").stdout == value
    assert not server.path("/tmp/pwned").exists()


def test_fifty_megabytes_go_both_ways_at_once_in_bounded_memory(guest: Guest) -> None:
    line = b"0123456789abcde" * 100 + b"\n"
    count = 50 * MB // len(line)
    sent, came = hashlib.sha256(), hashlib.sha256()

    def feed(pipe: BinaryIO) -> None:
        for _ in range(count):
            pipe.write(line)
            sent.update(line)

    with _peak_memory() as peak:
        result = guest.run("cat", stdin=feed, on_line=lambda text: came.update(f"{text}\n".encode()), timeout=100)
    assert came.digest() == sent.digest()
    assert len(result.stdout) < 5 * MB
    assert peak() < 40 * MB


def test_much_input_in_one_piece_is_quick(guest: Guest) -> None:
    start = time.monotonic()
    assert guest.run("wc -c", stdin=b"x" * 50 * MB, timeout=100).stdout.strip() == str(50 * MB)
    assert time.monotonic() - start < 8  # it once copied the rest for each packet, and took 13


def test_a_line_without_end_does_not_fill_the_memory(guest: Guest) -> None:
    lines: list[str] = []
    with _peak_memory() as peak:
        guest.run("head -c 20000000 /dev/zero | tr '\\0' x; echo; echo short", on_line=lines.append, timeout=60)
    assert len(lines) == 2
    assert set(lines[0]) == {"x"} and lines[1] == "short"
    assert peak() < 40 * MB


def test_a_process_left_behind_does_not_hold_us(guest: Guest) -> None:
    start = time.monotonic()
    assert guest.run("(sleep 60) & echo done", timeout=50).stdout == "done\n"
    assert time.monotonic() - start < 10


def test_output_closed_long_before_the_end_costs_no_processor(guest: Guest) -> None:
    before = time.process_time()
    assert guest.run("exec >&- 2>&-; sleep 2; exit 4", check=False).status == 4
    assert time.process_time() - before < 0.7


# -- what breaks


def test_the_time_is_up(guest: Guest) -> None:
    start = time.monotonic()
    with pytest.raises(MachineError) as caught:
        guest.run("sleep 60", timeout=1)
    assert caught.value.code == "machine.command-timeout"
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert time.monotonic() - start < 5
    assert guest.run("echo still here").stdout == "still here\n"


def test_the_time_is_up_for_a_command_that_never_stops_talking(guest: Guest) -> None:
    start = time.monotonic()
    with pytest.raises(MachineError) as caught:
        guest.run("yes", timeout=1, on_line=lambda _: None)
    assert caught.value.code == "machine.command-timeout"
    assert time.monotonic() - start < 5


def test_a_signal_is_not_a_broken_connection(guest: Guest) -> None:
    assert guest.run("kill -9 $$", check=False).status == -1
    assert guest.run("echo still here").stdout == "still here\n"


def test_a_connection_that_is_cut(server: SshGuest) -> None:
    with server.connect() as connected:
        start = time.monotonic()
        with pytest.raises(MachineError) as caught:
            connected.run("echo before; kill -9 $PPID; sleep 60", timeout=50)
        assert caught.value.code == "machine.connection-lost"
        assert time.monotonic() - start < 10
        with pytest.raises(MachineError) as caught:
            connected.run("true")
        assert caught.value.code == "machine.connection-lost"


def test_a_machine_that_has_ended_is_noticed_although_its_connection_stands(guest: Guest) -> None:
    start = time.monotonic()
    with pytest.raises(MachineError) as caught:
        guest.run("sleep 60", alive=lambda: False)
    assert caught.value.code == "machine.connection-lost"
    assert time.monotonic() - start < 8


def test_words_that_come_behind_the_status_are_heard() -> None:
    """OpenSSH's server sends the status as soon as the process ends: output still in its pipe comes after it."""
    with _late_talker() as (port, key, host_key), Guest.connect(port, "root", key, host_key) as connected:
        assert connected.run("anything").stdout == "first\n" + "x" * 100_000 + "\nlast\n"


def test_a_server_that_keeps_the_output_open_does_not_hold_us() -> None:
    """So does OpenSSH's server, as long as a process that was left behind could still write."""
    with _late_talker() as (port, key, host_key), Guest.connect(port, "root", key, host_key) as connected:
        start = time.monotonic()
        assert connected.run("hold", timeout=50).stdout == "first\n"
        assert time.monotonic() - start < 8


# -- files


@pytest.mark.parametrize("name", ["plain", "with space", "quote'\"s", "$(touch pwned)", "new\nline", "ünï"])
def test_put_bytes(guest: Guest, server: SshGuest, name: str) -> None:
    data = bytes(range(256)) * 10
    guest.put_bytes(data, f"/tmp/{name}", 0o640)
    assert server.path(f"/tmp/{name}").read_bytes() == data
    assert server.path(f"/tmp/{name}").stat().st_mode & 0o777 == 0o640
    assert not server.path("/root/pwned").exists()


def test_a_secret_never_lies_in_a_file_that_others_may_read(guest: Guest, server: SshGuest) -> None:
    guest.put_bytes(b"public", "/tmp/file", 0o644)
    with server.path("/tmp/file").open("rb") as opened_before:
        guest.put_bytes(b"secret", "/tmp/file", 0o600)
        assert opened_before.read() == b"public"  # whoever had it open sees the old one
    assert server.path("/tmp/file").read_bytes() == b"secret"
    assert server.path("/tmp/file").stat().st_mode & 0o777 == 0o600
    with pytest.raises(BuildError):
        guest.put_bytes(b"x", "/no/such/folder/file")


def test_put_tar(guest: Guest, server: SshGuest) -> None:
    server.path("/tmp/there").mkdir()
    server.path("/tmp/there").chmod(0o700)
    big = os.urandom(20 * MB)

    def write(archive: tarfile.TarFile) -> None:
        _add(archive, "tmp/there", folder=True, mode=0o755)
        _add(archive, "tmp/there/big", big, mode=0o4750)
        _add(archive, "tmp/new/deep/üñ\n'", b"x", mode=0o604)

    with _peak_memory() as peak:
        assert guest.put_tar(write).status == 0
    assert server.path("/tmp/there/big").read_bytes() == big
    assert server.path("/tmp/there/big").stat().st_mode & 0o7777 == 0o4750
    assert server.path("/tmp/there").stat().st_mode & 0o777 == 0o700  # it was there already
    assert server.path("/tmp/new/deep/üñ\n'").stat().st_mode & 0o777 == 0o604
    assert peak() < 40 * MB


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), RuntimeError("defect"), BuildError("ours")])
def test_an_error_of_the_one_who_writes_an_archive_is_not_lost(guest: Guest, error: Exception) -> None:
    def write(archive: tarfile.TarFile) -> None:
        _add(archive, "tmp/first", b"x" * 100)
        raise error

    with pytest.raises(type(error)) as caught:
        guest.put_tar(write)
    assert caught.value is error


def test_tar_says_what_it_cannot_do(guest: Guest) -> None:
    result = guest.put_tar(lambda archive: _add(archive, "etc/passwd/file", b"x"))
    assert result.status != 0
    assert "etc/passwd" in result.stderr


# -- what the tests need


def _add(archive: tarfile.TarFile, name: str, data: bytes = b"", *, folder: bool = False, mode: int = 0o644) -> None:
    header = tarfile.TarInfo(name)
    header.mode, header.size = mode, len(data)
    header.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
    archive.addfile(header, io.BytesIO(data))


@contextmanager
def _peak_memory() -> Iterator[Any]:
    """How many bytes of memory this process took at most, above what it had at first."""

    def field(name: str) -> int:
        text = Path("/proc/self/status").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith(name))) * 1024

    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = field("VmRSS:")
    yield lambda: field("VmHWM:") - before


@contextmanager
def _listener(answer: bytes | None) -> Iterator[int]:
    """A port where each connection gets *answer* and is closed; None: nothing is ever said."""
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                kept.append(connection)
                if answer is not None:
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for connection in kept:
        connection.close()


class _LateTalker(paramiko.ServerInterface):
    """Sends the exit status first and then what the command printed."""

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return AUTH_SUCCESSFUL

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._talk, args=(channel, command), daemon=True).start()
        return True

    def _talk(self, channel: paramiko.Channel, command: bytes) -> None:
        time.sleep(0.1)
        channel.sendall(b"first\n")
        channel.send_exit_status(0)
        if command == b"hold":
            return
        time.sleep(0.6)
        channel.sendall(b"x" * 100_000 + b"\nlast\n")
        channel.shutdown_write()
        channel.close()


@contextmanager
def _late_talker() -> Iterator[tuple[int, str, str]]:
    login, host = new_keypair("login"), new_keypair("host")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            transport = paramiko.Transport(listening.accept()[0])
            transport.add_server_key(paramiko.Ed25519Key.from_private_key(io.StringIO(host.private_openssh)))
            transport.start_server(server=_LateTalker())

        threading.Thread(target=serve, daemon=True).start()
        yield int(listening.getsockname()[1]), login.private_openssh, host.public_openssh
