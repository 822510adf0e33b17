"""What children are told of our environment: no credential, and the proxies only those that fetch."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from factory import mirror, run
from factory.console import Console
from factory.debian_bootstrap import bootstrap
from factory.errors import FactoryError
from factory.hypervisor.watcher import Watcher
from factory.renewal import package_news
from tests.recipe_files import load

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "marker-1",
    "AWS_SECRET_ACCESS_KEY": "marker-2",
    "AWS_SESSION_TOKEN": "marker-3",
    "MGC_API_KEY": "marker-4",
    "MGC_OBJ_KEY_SECRET": "marker-5",
    "FACTORY_S3_ENDPOINT": "https://marker-6.example",
    "CI_JOB_TOKEN": "marker-7",
    "VENDOR_UNHEARD_OF": "marker-8",
    "https_proxy": "http://user:marker-9@127.0.0.1:9",
    "HTTP_PROXY": "http://user:marker-10@127.0.0.1:9",
}
ENV = ["env", "-0"]
BECOME = "from factory.run import become; become(['env', '-0'], reason='to test')"


def ran() -> str:
    return run.run(ENV, reason="to test").stdout


def streamed() -> str:
    return run.stream(ENV, on_output=lambda _: None, reason="to test").stdout


def become() -> str:
    top = str(Path(run.__file__).parents[1])
    return subprocess.run([sys.executable, "-c", BECOME], cwd=top, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("way", [ran, streamed, become])
def test_a_child_is_told_no_credential(monkeypatch: pytest.MonkeyPatch, way: Callable[[], str]) -> None:
    for name, value in {**CREDENTIALS, "TMPDIR": "/var/tmp", "TERM": "vt100", "HOME": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    told = way()
    assert "marker-" not in told
    assert {"TMPDIR=/var/tmp", "TERM=vt100", "HOME=/nowhere"} <= set(told.split("\0"))  # what programs go by


@pytest.mark.real
def test_what_watches_over_machines_is_told_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    watcher = Watcher(tmp_path)
    try:
        assert Path(f"/proc/{watcher.pid}/environ").read_bytes() == b""
    finally:
        watcher.close()


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The addresses that programs ask of the proxy which this host's environment names; it has none of them."""
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in mirror.proxies_for_guest():
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("FACTORY_MIRROR", "http://archive.invalid/debian")
        yield asked
        server.shutdown()


@pytest.mark.real
def test_apt_is_told_the_proxy(proxied: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    with contextlib.suppress(FactoryError):
        package_news.news(load(tmp_path, "", {}, {}), "bookworm", [], [], Console.quiet())
    assert any(each.startswith("http://archive.invalid/debian/dists/") for each in proxied)


@pytest.mark.real
def test_mmdebstrap_is_told_the_proxy(proxied: list[str], tmp_path: Path) -> None:
    source = mirror.debian_mirror("bookworm")
    with contextlib.suppress(FactoryError):
        bootstrap("bookworm", source, ["apt"], tmp_path / "tree.tar", Console.quiet())
    assert any(each.startswith("http://archive.invalid/debian/dists/") for each in proxied)
    assert os.listdir(tmp_path)
