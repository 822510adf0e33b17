"""Downloads that are refused, each for its own reason and in its own words."""

from __future__ import annotations

import logging
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from factory import http
from factory.bases import Definition, download
from factory.cache import Cache
from factory.errors import BaseError, FactoryError, HostError, UsageError
from tests.download_site import definition, downloads, get, image, pinned, server, sha256
from tests.https_server import Server

__all__ = ["image", "server"]
real = pytest.mark.real


def test_a_wrong_checksum(server: Server) -> None:
    wanted = replace(pinned(server, b"something else"), sha256=sha256(b"promised"))
    with pytest.raises(BaseError, match="not what its checksum promises") as caught:
        get(wanted)
    assert caught.value.code == "base.checksum-mismatch"
    assert caught.value.status == 4
    assert sha256(b"promised") in caught.value.cause
    assert sha256(b"something else") in caught.value.cause
    assert downloads() == []
    assert Cache().entries() == []
    assert list(Cache().folder("work").iterdir()) == []


def test_a_server_that_is_busy_for_ever(server: Server) -> None:
    server.faults["/x.qcow2"] = ["503"] * 20
    with pytest.raises(BaseError, match="answered 503") as caught:
        get(pinned(server, b"x"))
    assert len(server.requests) == 1 + http.RETRIES
    assert "later" in caught.value.hint


def test_a_missing_file(server: Server) -> None:
    with pytest.raises(BaseError, match="answered 404") as caught:
        get(definition(server, sha256="0" * 64))
    assert caught.value.code == "http.status"
    assert len(server.requests) == 1


@pytest.mark.parametrize("target", ["http://localhost:1/x", "ftp://localhost/x", "file:///etc/passwd"])
def test_a_redirect_that_is_not_https(server: Server, target: str) -> None:
    server.faults["/x.qcow2"] = [f"->{target}"]
    with pytest.raises(BaseError, match="which is not https") as caught:
        get(pinned(server, b"x"))
    assert caught.value.code == "http.insecure-redirect"


def test_redirects_in_a_circle(server: Server) -> None:
    server.faults["/x.qcow2"] = [f"->{server.url('/x.qcow2')}"] * 100
    with pytest.raises(BaseError, match="circle"):
        get(pinned(server, b"x"))


@pytest.mark.parametrize("url", ["http://localhost/x.qcow2", "file:///x", "https:///x", "x.qcow2"])
def test_an_address_that_is_not_https(server: Server, url: str) -> None:
    with pytest.raises(BaseError, match="is no https address"):
        get(Definition(name="x", kind="download", url=url, sha256="0" * 64))


def test_a_certificate_that_nobody_vouches_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACTORY_CA_BUNDLE")
    with pytest.raises(BaseError, match="certificate of localhost is not trusted") as caught:
        get(pinned(server, b"x"))
    assert caught.value.code == "http.tls"
    assert "FACTORY_CA_BUNDLE" in caught.value.hint
    assert "self-signed" in caught.value.cause or "issuer" in caught.value.cause


def test_other_variables_do_not_replace_our_bundle(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")
    assert http.fetch(pinned(server, b"x").url, limit=10) == b"x"


def test_a_bundle_that_is_not_there(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_CA_BUNDLE", "/absent.pem")
    with pytest.raises(UsageError, match=r"FACTORY_CA_BUNDLE names /absent\.pem"):
        get(pinned(server, b"x"))


def test_nobody_listens(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "RETRIES", 1)
    with pytest.raises(BaseError, match="localhost cannot be reached") as caught:
        get(Definition(name="x", kind="download", url="https://localhost:9/x", sha256="0" * 64))
    assert caught.value.code == "http.unreachable"
    assert "refused" in caught.value.cause


def test_a_name_that_nobody_knows(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "RETRIES", 0)
    with pytest.raises(BaseError, match="cannot be reached") as caught:
        get(Definition(name="x", kind="download", url="https://absent.invalid/x", sha256="0" * 64))
    assert "0x" not in caught.value.cause


def test_a_proxy_that_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(http, "RETRIES", 0)
    with pytest.raises(BaseError) as caught:
        get(Definition(name="x", kind="download", url="https://images.example/x", sha256="0" * 64))
    assert caught.value.code == "http.proxy"
    assert "https_proxy" in caught.value.hint


@pytest.mark.parametrize("lengths", [True, False])
def test_a_file_that_is_too_large(server: Server, monkeypatch: pytest.MonkeyPatch, lengths: bool) -> None:
    server.lengths = lengths
    monkeypatch.setattr(download, "LARGEST", 1000)
    with pytest.raises(BaseError, match="larger than 1000 bytes"):
        get(pinned(server, b"x" * 5000))


def test_no_room(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SPARE", 1 << 60)
    with pytest.raises(HostError, match="there is no room") as caught:
        get(pinned(server, b"x"))
    assert caught.value.status == 3
    assert downloads() == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>please log in</html>", "no disk image"),
        (b"", "no disk image"),
        (b"\0" * 100_000, "no disk image"),
        (b"\0" * 32768 + b"\x01CD001\x01" + b"\0" * 40000, "an ISO image"),
    ],
)
def test_a_promised_file_that_is_no_disk(server: Server, content: bytes, words: str) -> None:
    with pytest.raises(BaseError, match=words):
        get(pinned(server, content))
    assert Cache().entries() == []


@real
def test_an_image_with_a_backing_file(server: Server, tmp_path: Path) -> None:
    made = tmp_path / "x.qcow2"
    argv = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", str(made), "1M"]
    subprocess.run(argv, check=True)
    with pytest.raises(BaseError, match="unsafe qcow2") as caught:
        get(pinned(server, made.read_bytes()))
    assert "backing" in caught.value.cause.lower()


def test_an_entry_that_nobody_vouches_for(server: Server) -> None:
    for changes in ({}, {"checksums": server.url("/S")}, {"checksums": server.url("/S"), "signature": "inline"}):
        with pytest.raises(BaseError, match="neither a pinned nor a signed") as caught:
            get(definition(server, **changes))
        assert caught.value.code == "base.unverifiable"
    assert server.requests == []


def test_passwords_and_queries_stay_out_of_errors(server: Server) -> None:
    url = server.url("/x").replace("https://", "https://user:secret@") + "?token=secret"
    with pytest.raises(BaseError) as caught:
        get(Definition(name="x", kind="download", url=url, sha256="0" * 64))
    assert "secret" not in str(caught.value) + caught.value.output


def test_small_files_have_a_limit(server: Server) -> None:
    server.files["/S"] = b"x" * 100
    assert http.fetch(server.url("/S"), limit=100) == b"x" * 100
    with pytest.raises(FactoryError, match="larger than 99"):
        http.fetch(server.url("/S"), limit=99)
    server.faults["/S"] = ["cut"] * 10
    with pytest.raises(FactoryError, match="could not be read to its end"):
        http.fetch(server.url("/S"), limit=100)


@real
def test_nothing_is_logged_past_the_console(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BaseError):
        get(pinned(server, b"\0" * 1000))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
