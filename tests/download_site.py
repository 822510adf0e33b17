"""A real HTTPS server to download from, and an image: what the tests of downloads share."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from factory import http
from factory.bases import Base, Definition, download, obtain
from factory.cache import Cache
from factory.console import Console
from tests.https_server import Server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that the factory trusts, and a cache and configuration of its own."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    running = Server(tmp_path)
    monkeypatch.setenv("FACTORY_CA_BUNDLE", str(running.ca_bundle))
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(http, "BACKOFF", 0.001)
    monkeypatch.setattr(download, "PAUSE", 0.001)
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    """A qcow2 image of about 3 MiB with incompressible content."""
    raw, made = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(disk_bytes())
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, made], check=True)
    return made.read_bytes()


def disk_bytes() -> bytes:
    """A raw disk with a partition table: a boot sector with one Linux partition, then noise."""
    sector = bytearray(512)
    sector[446:462] = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + (1).to_bytes(4, "little") + (6143).to_bytes(4, "little")
    sector[510:] = b"\x55\xaa"
    return bytes(sector) + os.urandom(6143 * 512)


def definition(server: Server, path: str = "/x.qcow2", **changes: str) -> Definition:
    found = Definition(name="x", kind="download", url=server.url(path), default_user="someone", boot=("bios",))
    return replace(found, **changes)  # type: ignore[arg-type]


def pinned(server: Server, content: bytes, path: str = "/x.qcow2") -> Definition:
    server.files[path] = content
    return definition(server, path, sha256=sha256(content), max_age=None)  # type: ignore[arg-type]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def get(wanted: Definition, *, update: bool = False, accept_stale: bool = False, offline: bool = False) -> Base:
    return obtain(wanted, console=Console.quiet(), update=update, accept_stale=accept_stale, offline=offline)


def downloads() -> list[str]:
    return sorted(path.name for path in Cache().folder("downloads").iterdir())
