"""A recipe's own tests, run in a guest behind a real SSH server, against real servers on its loopback.

The guest has no systemd and no sudo: two scripts stand in for their commands, so that what is asked of them is seen.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from factory.boot_test import recipe_tests
from factory.boot_test.recipe_tests import run_tests
from factory.findings import Finding
from factory.recipe import Recipe, load_recipe
from tests.ssh_guest import FILES, SshGuest, ssh_guest

pytestmark = pytest.mark.real

GUEST = {
    "etc/passwd": FILES["etc/passwd"].replace("/root:/bin/sh", "/root:/opt/shell"),
    "etc/shells": "/opt/shell\n",
    "opt/shell": '#!/bin/sh\nPATH=/opt/bin:$PATH exec /bin/sh "$@"\n',
    "opt/bin/sudo": '#!/bin/sh\n[ "$1" = -n ] || exit 99\nshift\nexec "$@"\n',
    "opt/bin/systemctl": (
        '#!/bin/sh\necho "$*" >>/var/asked\n'
        '[ "$*" = "is-active good" ] && echo active && exit 0\n'
        '[ "$2" = late ] && [ "$(grep -c late /var/asked)" -ge 2 ] && echo active && exit 0\n'
        "echo inactive\nexit 3\n"
    ),
}


class Site(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        body = f"welcome to {self.path} for {self.headers['Host']} ünï\n".encode()
        self.send_response({"/": 200, "/moved": 301}.get(self.path, 404))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshGuest]:
    folder = tmp_path_factory.mktemp("tests") / "guest"
    with ssh_guest(folder, GUEST, executable=("opt/shell", "opt/bin/sudo", "opt/bin/systemctl")) as running:
        yield running


@pytest.fixture(scope="module")
def site() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def recipe_of(folder: Path, *tests: str) -> Recipe:
    file = folder / "recipes/case.yaml"
    file.parent.mkdir(parents=True)
    lines = "".join(f"  - {test}\n" for test in tests)
    file.write_text(f"schema: 1\nname: case\nversion: 1.0.0\nbase: debian-12\ntest:\n{lines}")
    return load_recipe(str(file))


class Alive:
    """As much of a machine as these tests need."""

    def require_alive(self) -> bool:
        return True


def run(guest: SshGuest, recipe: Recipe, scale: float = 1.0) -> list[Finding]:
    machine: Any = Alive()
    with guest.connect() as session:
        return run_tests(recipe, session, machine, "bios", scale)


@pytest.mark.parametrize(
    ("test", "good", "evidence"),
    [
        ("service: {name: good, timeout: 1s}", True, "active"),
        ("service: {name: bad, timeout: 1s}", False, "inactive"),
        ("service: {name: late, timeout: 20s}", True, "active"),
        ("http: {port: @PORT@, timeout: 1s}", True, "status 200"),
        ("http: {port: @PORT@, contains: welcome to / for localhost ünï, timeout: 1s}", True, "status 200"),
        ("http: {port: @PORT@, contains: nothing of the kind, timeout: 1s}", False, "lacks 'nothing of the kind'"),
        ("http: {port: @PORT@, path: /moved, status: 301, timeout: 1s}", True, "status 301"),
        ("http: {port: @PORT@, path: /none, timeout: 1s}", False, "status 404, wanted 200"),
        ("http: {port: 9, timeout: 1s}", False, "no answer"),
        ("port: {port: @PORT@, timeout: 1s}", True, "127.0.0.1 accepts"),
        ("port: {port: 9, timeout: 1s}", False, "refused"),
        ("command: {run: exit 0, timeout: 1s}", True, "status 0"),
        ("command: {run: exit 3, timeout: 1s}", False, "status 3, wanted 0"),
        ("command: {run: exit 3, status: 3, timeout: 1s}", True, "status 3"),
        ("command: {run: echo to stderr >&2, contains: stderr, timeout: 1s}", True, "status 0"),
        ("command: {run: echo one, contains: two, timeout: 1s}", False, "does not print 'two'"),
        ('command: {run: "echo \\"it\'s $HOME\\"; id -u | grep 0", contains: "it\'s /root", timeout: 1s}', True, ""),
        ("command: {run: read x, timeout: 1s}", False, "status 1"),  # nobody answers
    ],
)
def test_each_kind(guest: SshGuest, site: int, tmp_path: Path, test: str, good: bool, evidence: str) -> None:
    (finding,) = run(guest, recipe_of(tmp_path, test.replace("@PORT@", str(site))))
    assert (finding.status == "pass") is good, finding.evidence
    assert evidence in finding.evidence
    assert finding.rule == "TEST-1"
    assert finding.subject.startswith("boot bios: ")
    assert bool(finding.fix) is not good


def test_each_has_a_finding_of_its_own_and_none_stops_the_others(guest: SshGuest, tmp_path: Path) -> None:
    tests = [f"command: {{run: exit {status}, timeout: 1s}}" for status in (1, 0, 1)]
    findings = run(guest, recipe_of(tmp_path, *tests))
    assert [finding.rule for finding in findings] == ["TEST-1", "TEST-2", "TEST-3"]
    assert [finding.status for finding in findings] == ["fail", "pass", "fail"]
    assert "line 6" in findings[0].fix


@pytest.mark.parametrize(
    "test",
    [
        "http: {port: @PORT@, contains: nothing of the kind, timeout: 1s}",
        "http: {port: 9, timeout: 1s}",
        "service: {name: bad, timeout: 1s}",
        "command: {run: exit 1, timeout: 1s}",
    ],
)
@pytest.mark.parametrize("idle", [True, False])
def test_a_slow_guest_has_longer_as_long_as_it_is_busy(
    guest: SshGuest, site: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: str, idle: bool
) -> None:
    monkeypatch.setattr(recipe_tests, "_idle", lambda *_: idle)
    monkeypatch.setattr(recipe_tests, "SLOW_PAUSE", 2.0)
    start = time.monotonic()
    (finding,) = run(guest, recipe_of(tmp_path, test.replace("@PORT@", str(site))), scale=8.0)
    assert finding.status == "fail"
    assert (time.monotonic() - start < 5.5) is idle


def test_a_guest_is_idle_when_nothing_waits_for_its_processors() -> None:
    for text, idle in (
        ("0.31 0.52 0.48 1/90 512\n", True),
        ("0.90 0.1 0.1 2/90 512\n", False),
        ("", False),
        ("cat: /proc/loadavg: no\n", False),
    ):
        guest: Any = SimpleNamespace(read=lambda *_, text=text, **__: text)
        assert recipe_tests._idle(guest, cast(Any, Alive())) is idle


def test_tests_that_fail_wait_for_a_slow_guest_together(guest: SshGuest, tmp_path: Path) -> None:
    start = time.monotonic()
    findings = run(guest, recipe_of(tmp_path, *["port: {port: 9, timeout: 1s}"] * 4), scale=8.0)
    assert [finding.status for finding in findings] == ["fail"] * 4
    assert time.monotonic() - start < 20


def test_one_that_never_ends_fails_and_does_not_end_the_boot(
    guest: SshGuest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_tests, "PATIENCE", -4.0)  # a try gets 5 s and this
    tests = ["command: {run: sleep 60, timeout: 1s}", "command: {run: exit 0, timeout: 1s}"]
    start = time.monotonic()
    findings = run(guest, recipe_of(tmp_path, *tests))
    assert [finding.status for finding in findings] == ["fail", "pass"]
    assert "did not end" in findings[0].evidence
    assert time.monotonic() - start < 15


def test_a_service_on_ipv6_only_counts(guest: SshGuest, tmp_path: Path) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this host has no IPv6 loopback")
    with listener:
        (finding,) = run(guest, recipe_of(tmp_path, f"port: {{port: {listener.getsockname()[1]}, timeout: 1s}}"))
    assert finding.status == "pass"
    assert "::1 accepts" in finding.evidence
