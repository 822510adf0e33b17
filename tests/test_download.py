"""Downloads, from a real HTTPS server that misbehaves in the ways that servers do."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from factory.bases import download, obtain
from factory.cache import Cache
from factory.console import Console
from factory.errors import BaseError
from tests.download_site import definition, disk_bytes, downloads, get, image, pinned, server, sha256
from tests.https_server import Server

__all__ = ["image", "server"]
real = pytest.mark.real


# -- the good case ---------------------------------------------------------------------------------------------------


@real
def test_a_pinned_image(server: Server, image: bytes) -> None:
    base = get(pinned(server, image))
    assert base.path.read_bytes() == image
    assert base.sha256 == sha256(image)
    assert not base.cached
    assert base.facts["checksum"] == f"sha256:{base.sha256}"
    assert base.facts["vouched"] == "pinned"
    assert base.facts["default_user"] == "someone"
    assert base.facts["format"] == "qcow2"
    assert base.facts["virtual_size"] == 3 << 20
    assert downloads() == []
    again = get(pinned(server, image))
    assert again.cached
    assert again.path == base.path
    assert len(server.requests) == 1


@real
def test_sha512(server: Server, image: bytes) -> None:
    server.files["/x.qcow2"] = image
    base = get(definition(server, sha512=hashlib.sha512(image).hexdigest()))
    assert str(base.facts["checksum"]).startswith("sha512:")


@real
def test_a_raw_image_becomes_qcow2(server: Server, tmp_path: Path) -> None:
    raw = disk_bytes()
    base = get(pinned(server, raw, "/x.img"))
    assert base.path.read_bytes()[:4] == b"QFI\xfb"
    assert base.facts["format"] == "raw"
    (tmp_path / "raw").write_bytes(raw)
    same = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(tmp_path / "raw"), str(base.path)]
    assert subprocess.run(same, check=False, capture_output=True).returncode == 0
    assert get(replace(pinned(server, raw, "/x.img"), pin=sha256(raw))).path == base.path  # known by either digest


@real
def test_progress_is_told(server: Server, image: bytes) -> None:
    console = Console.quiet()
    obtain(pinned(server, image), console=console)
    (record,) = [record for record in console.timeline() if record.name == "download"]
    assert record.bytes == len(image)
    assert record.state == "ok"


@real
def test_a_redirect_to_https_is_followed(server: Server, image: bytes) -> None:
    server.files["/real.qcow2"] = image
    server.faults["/x.qcow2"] = [f"->{server.url('/real.qcow2')}"]
    assert get(definition(server, sha256=sha256(image))).path.read_bytes() == image


# -- connections that break ------------------------------------------------------------------------------------------


@real
def test_a_cut_connection_is_resumed(server: Server, image: bytes) -> None:
    server.faults["/x.qcow2"] = ["cut", "cut"]
    assert get(pinned(server, image)).path.read_bytes() == image
    first, second, third = server.asked("/x.qcow2")
    assert first == ""
    assert second == f"bytes={len(image) // 2}-"
    assert third == f"bytes={len(image) // 2 + (len(image) - len(image) // 2) // 2}-"


@real
@pytest.mark.parametrize("etags", [True, False])
def test_a_later_run_goes_on_where_the_last_one_stopped(
    server: Server, image: bytes, monkeypatch: pytest.MonkeyPatch, etags: bool
) -> None:
    server.etags = etags
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.faults["/x.qcow2"] = ["cut", "500", "500", "500", "500", "500"]
    with pytest.raises(BaseError):
        get(pinned(server, image))
    assert any(name.endswith(".part") for name in downloads())
    server.faults.clear()
    server.requests.clear()
    assert get(pinned(server, image)).path.read_bytes() == image
    assert server.asked("/x.qcow2") == [f"bytes={len(image) // 2}-"]
    assert downloads() == []


@real
def test_a_server_that_ignores_ranges_sends_it_again(server: Server, image: bytes) -> None:
    server.ranges = False
    server.faults["/x.qcow2"] = ["cut"]
    assert get(pinned(server, image)).path.read_bytes() == image
    assert len(server.requests) == 2


@real
def test_a_file_that_changed_in_between_is_not_pieced_together(server: Server, image: bytes) -> None:
    wanted = pinned(server, image)
    server.files["/x.qcow2"] = os.urandom(len(image))
    server.faults["/x.qcow2"] = ["cut"]
    server.on_request = lambda path: server.files.update({path: image}) if len(server.requests) == 2 else None
    assert get(wanted).path.read_bytes() == image
    assert len(server.requests) == 2  # If-Range: the server sent the whole new file at once


@real
def test_a_wrong_piece_is_noticed_and_fetched_again_from_the_start(server: Server, image: bytes) -> None:
    server.etags = False  # and Last-Modified stays the same: nothing tells the two apart but the checksum
    wanted = pinned(server, image)
    server.files["/x.qcow2"] = os.urandom(len(image))
    server.faults["/x.qcow2"] = ["cut"]
    server.on_request = lambda path: server.files.update({path: image}) if len(server.requests) == 2 else None
    assert get(wanted).path.read_bytes() == image
    assert [bool(asked) for asked in server.asked("/x.qcow2")] == [False, True, False]


@real
def test_a_part_that_is_complete_already(server: Server, image: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = pinned(server, image)
    source = download.locate(wanted, Path())
    name = f"x-{hashlib.sha256(str(source).encode()).hexdigest()[:16]}"
    folder = Cache().folder("downloads")
    (folder / f"{name}.part").write_bytes(image)
    (folder / "x-0123456789abcdef.part").write_bytes(b"of an older image")
    (folder / "y-0123456789abcdef.part").write_bytes(b"of another base")
    (folder / "x-fedcba9876543210.part").write_bytes(b"perhaps of another process")
    os.utime(folder / "x-0123456789abcdef.part", (0, 0))
    assert get(wanted).path.read_bytes() == image
    assert server.asked("/x.qcow2") == [f"bytes={len(image)}-"]
    assert downloads() == ["x-fedcba9876543210.part", "y-0123456789abcdef.part"]


def test_a_part_that_is_too_long_is_thrown_away(server: Server) -> None:
    wanted = pinned(server, b"short")
    source = download.locate(wanted, Path())
    name = f"x-{hashlib.sha256(str(source).encode()).hexdigest()[:16]}"
    (Cache().folder("downloads") / f"{name}.part").write_bytes(b"much too long")
    with pytest.raises(BaseError, match="no disk image"):  # it arrived, and is what was promised
        get(wanted)
    assert len(server.requests) == 2


def test_a_connection_that_never_gets_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    wanted = pinned(server, b"x")  # half of it is nothing
    server.faults["/x.qcow2"] = ["cut"] * 10
    with pytest.raises(BaseError, match="breaks off again and again") as caught:
        get(wanted)
    assert caught.value.code == "base.download-interrupted"


@real
def test_a_busy_server_is_asked_again(server: Server, image: bytes) -> None:
    server.faults["/x.qcow2"] = ["500", "503", "429", "drop"]
    assert get(pinned(server, image)).path.read_bytes() == image


@real
def test_what_a_part_remembers_can_be_nonsense(server: Server, image: bytes) -> None:
    wanted = pinned(server, image)
    name = f"x-{hashlib.sha256(str(download.locate(wanted, Path())).encode()).hexdigest()[:16]}"
    folder = Cache().folder("downloads")
    for state in ("", "[]", json.dumps({"validator": '"other"'})):
        (folder / f"{name}.part").write_bytes(image[:1000])
        (folder / f"{name}.json").write_text(state)
        assert get(wanted, update=True).path.read_bytes() == image
        for entry in Cache().entries():
            Cache().remove(entry)
