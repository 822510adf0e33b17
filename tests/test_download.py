"""Downloads, from a real HTTPS server that misbehaves in the ways that servers do."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from factory import http
from factory.bases import Base, Definition, download, obtain
from factory.cache import Cache
from factory.checksums import Checksum, choose, dearmor, parse, verified
from factory.console import Console
from factory.errors import BaseError, FactoryError, HostError, UsageError
from tests.https_server import Server

real = pytest.mark.real


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


# -- what is refused -------------------------------------------------------------------------------------------------


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


# -- checksum files --------------------------------------------------------------------------------------------------

A, B = "a" * 64, "b" * 128


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{A}  x.img", [Checksum("x.img", "sha256", A)]),
        (f"{A} *x.img", [Checksum("x.img", "sha256", A)]),
        (f"{A.upper()}  ./x.img", [Checksum("x.img", "sha256", A)]),
        (f"{B}  name with blanks.img", [Checksum("name with blanks.img", "sha512", B)]),
        (f"SHA256 (x.img) = {A}", [Checksum("x.img", "sha256", A)]),
        (f"SHA512 (x (1).img) = {B}", [Checksum("x (1).img", "sha512", B)]),
        (f"SHA2-256 (x.img) = {A}", [Checksum("x.img", "sha256", A)]),
        (A, [Checksum("*", "sha256", A)]),
        (f"SHA256 (x.img) = {B}", []),
        ("d41d8cd98f00b204e9800998ecf8427e  x.img", []),
        ("MD5 (x.img) = d41d8cd98f00b204e9800998ecf8427e", []),
        ("# x.img: 100 bytes", []),
        ("", []),
    ],
)
def test_lines_of_checksum_files(line: str, expected: list[Checksum]) -> None:
    assert parse(f"# comment\r\n{line}\r\n") == expected


def test_the_highest_version_of_a_pattern() -> None:
    text = "\n".join(f"SHA256 (R-9.{minor}-2026.x.qcow2) = {minor:064x}" for minor in (9, 10, 8))
    assert choose(parse(text), "R-9.*.qcow2", source="s").name == "R-9.10-2026.x.qcow2"


def test_a_name_must_match_whole() -> None:
    checksums = parse(f"{A}  other-x.img\n{A}  x.img.torrent\n{A}  folder/x.img\n")
    with pytest.raises(BaseError, match="lists no SHA-256"):
        choose(checksums, "x.img", source="s")


def test_the_stronger_of_two_algorithms() -> None:
    assert choose(parse(f"{A}  x\n{B}  x\n"), "x", source="s").algorithm == "sha512"


def test_a_list_that_contradicts_itself() -> None:
    assert choose(parse(f"{A}  x\n{A}  x\n"), "x", source="s").digest == A
    with pytest.raises(BaseError, match="two different"):
        choose(parse(f"{A}  x\n{'c' * 64}  x\n"), "x", source="s")


def test_a_lone_digest_counts_for_a_name_but_not_for_a_pattern() -> None:
    assert choose(parse(A), "x.img", source="s").name == "x.img"
    with pytest.raises(BaseError):
        choose(parse(A), "x*.img", source="s")


# -- signatures ------------------------------------------------------------------------------------------------------


class Signer:
    """An OpenPGP key made by gpg in a folder of its own."""

    def __init__(self, folder: Path, *, options: tuple[str, ...] = (), expires: str = "never") -> None:
        self.home = folder
        self.home.mkdir(mode=0o700)
        self.options = options
        self.run("--quick-generate-key", "Test <test@example.org>", "ed25519", "sign", expires)
        listed = self.run("--list-keys", "--with-colons").decode().splitlines()
        self.fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
        self.armored = folder / "key.asc"
        self.armored.write_bytes(self.run("--armor", "--export"))
        self.binary = folder / "key.gpg"
        self.binary.write_bytes(self.run("--export"))

    def run(self, *words: str, stdin: bytes = b"") -> bytes:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--pinentry-mode", "loopback"]
        argv += ["--passphrase", "", *self.options, *words]
        return subprocess.run(argv, input=stdin, capture_output=True, check=True).stdout

    def detached(self, text: bytes) -> bytes:
        return self.run("--armor", "--detach-sign", stdin=text)

    def inline(self, text: bytes) -> bytes:
        return self.run("--clear-sign", stdin=text)

    def end(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True)


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Signer, Signer]]:
    """Two keys; gpg's sockets need a short path."""
    if not shutil.which("gpg") or not shutil.which("gpgv"):
        pytest.skip("gpg and gpgv are not installed")
    folder = tmp_path_factory.mktemp("pgp")
    made = Signer(folder / "a"), Signer(folder / "b")
    yield made
    for signer in made:
        signer.end()


def signed(
    server: Server, image: bytes, signer: Signer, *, inline: bool = False, by: Signer | None = None
) -> Definition:
    """A definition whose checksum file *by* (the signer itself) has signed."""
    text = f"{sha256(image)} *x.qcow2\n".encode()
    server.files |= {"/d/x.qcow2": image, "/d/SUMS": text}
    if inline:
        server.files["/d/SUMS"] = (by or signer).inline(text)
    else:
        server.files["/d/SUMS.gpg"] = (by or signer).detached(text)
    return Definition(
        name="x",
        kind="download",
        url=server.url("/d/x.qcow2"),
        checksums=server.url("/d/SUMS"),
        signature="inline" if inline else server.url("/d/SUMS.gpg"),
        fingerprint=signer.fingerprint,
        keyrings=("/absent.gpg", str(signer.armored)),
        key_package="some-keyring",
    )


@real
@pytest.mark.parametrize("inline", [False, True])
def test_a_signed_checksum_file(server: Server, image: bytes, signers: tuple[Signer, Signer], inline: bool) -> None:
    base = get(signed(server, image, signers[0], inline=inline))
    assert base.path.read_bytes() == image
    assert base.facts["vouched"] == signers[0].fingerprint


@real
def test_a_signed_file_names_the_image(server: Server, image: bytes, signers: tuple[Signer, Signer]) -> None:
    wanted = replace(signed(server, image, signers[0]), url="", image="x*.qcow2")
    assert get(wanted).facts["url"] == server.url("/d/x.qcow2")


@real
def test_a_stale_image_that_is_still_the_newest_is_not_fetched_again(
    server: Server, image: bytes, signers: tuple[Signer, Signer]
) -> None:
    wanted = replace(signed(server, image, signers[0]), max_age=0)
    first = get(wanted)
    second = get(wanted)
    assert second.path == first.path
    assert second.created > first.created
    assert "still the newest" in second.why
    assert len(server.asked("/d/x.qcow2")) == 1
    newer = image + b"\0" * 512
    third = get(replace(signed(server, newer, signers[0]), max_age=0))
    assert third.path.read_bytes() == newer
    assert get(replace(wanted, pin=first.sha256)).path == first.path  # the older one can still be had


@real
@pytest.mark.parametrize("inline", [False, True])
def test_a_changed_checksum_file(server: Server, image: bytes, signers: tuple[Signer, Signer], inline: bool) -> None:
    wanted = signed(server, image, signers[0], inline=inline)
    server.files["/d/SUMS"] = server.files["/d/SUMS"].replace(sha256(image).encode(), b"0" * 64)
    with pytest.raises(BaseError, match=r"signature on .* is refused") as caught:
        get(wanted)
    assert caught.value.code == "base.signature"
    assert server.asked("/d/x.qcow2") == []


@real
def test_what_stands_around_a_signed_text_does_not_count(
    server: Server, image: bytes, signers: tuple[Signer, Signer]
) -> None:
    wanted = signed(server, image, signers[0], inline=True)
    evil = f"{'0' * 64} *x.qcow2\n".encode()
    server.files["/d/SUMS"] = evil + server.files["/d/SUMS"] + evil
    try:
        assert get(wanted).sha256 == sha256(image)
    except BaseError as error:  # newer versions of gpgv refuse such a file as a whole
        assert error.code == "base.signature"


@real
def test_somebody_elses_signature(server: Server, image: bytes, signers: tuple[Signer, Signer]) -> None:
    ours, theirs = signers
    wanted = signed(server, image, ours, by=theirs)
    with pytest.raises(HostError) as absent:
        get(wanted)
    assert absent.value.code == "host.key-missing"
    with pytest.raises(BaseError, match="refused") as caught:  # a keyring with more keys accepts no more
        get(replace(wanted, keyrings=(str(ours.binary), str(theirs.binary))))
    assert theirs.fingerprint in caught.value.cause


@real
def test_one_good_signature_of_several_is_enough(server: Server, image: bytes, signers: tuple[Signer, Signer]) -> None:
    ours, theirs = signers
    wanted = signed(server, image, ours)
    text = server.files["/d/SUMS"]
    both = theirs.run("--detach-sign", stdin=text), ours.run("--detach-sign", stdin=text)
    server.files["/d/SUMS.gpg"] = b"".join(both)
    assert get(wanted).facts["vouched"] == ours.fingerprint  # the other key is not here
    server.files["/d/SUMS.gpg"] = b"".join((both[0], ours.run("--detach-sign", stdin=b"something else")))
    for keyrings in ((str(ours.binary),), (str(ours.binary), str(theirs.binary))):
        with pytest.raises(BaseError, match="refused"):
            get(replace(wanted, keyrings=keyrings), update=True)


@real
def test_a_weak_digest(server: Server, image: bytes, signers: tuple[Signer, Signer]) -> None:
    signer = signers[0]
    wanted = signed(server, image, signer)
    weak = signer.run(
        "--digest-algo", "SHA1", "--allow-weak-digest-algos", "--detach-sign", stdin=server.files["/d/SUMS"]
    )
    server.files["/d/SUMS.gpg"] = weak
    with pytest.raises(BaseError, match="refused"):
        get(wanted)


@real
def test_no_key_on_this_host(server: Server, image: bytes, signers: tuple[Signer, Signer], tmp_path: Path) -> None:
    wanted = replace(signed(server, image, signers[0]), keyrings=("/absent.gpg",))
    with pytest.raises(HostError, match="is not on this host") as caught:
        get(wanted)
    assert caught.value.status == 3
    assert "some-keyring" in caught.value.hint
    keys = tmp_path / "config/image-factory/keys"
    assert str(keys) in caught.value.hint
    keys.mkdir(parents=True)
    shutil.copy(signers[0].armored, keys / "mine.asc")
    assert get(wanted).path.read_bytes() == image


@real
def test_an_expired_key(server: Server, image: bytes, tmp_path: Path, signers: tuple[Signer, Signer]) -> None:
    signer = Signer(tmp_path / "old", options=("--faked-system-time", "20200101T000000"), expires="20200201T000000")
    try:
        with pytest.raises(HostError, match="has expired") as caught:
            get(signed(server, image, signer))
        assert "newer some-keyring" in caught.value.hint
    finally:
        signer.end()


@real
@pytest.mark.parametrize("signature", [b"", b"nonsense", b"\x00" * 100])
def test_a_signature_that_is_none(
    server: Server, image: bytes, signers: tuple[Signer, Signer], signature: bytes
) -> None:
    wanted = signed(server, image, signers[0])
    server.files["/d/SUMS.gpg"] = signature
    with pytest.raises(BaseError, match="refused"):
        get(wanted)


@real
def test_armored_and_binary_keys_are_the_same(signers: tuple[Signer, Signer]) -> None:
    binary = signers[0].binary.read_bytes()
    assert dearmor(signers[0].armored.read_bytes()) == binary
    assert dearmor(signers[0].armored.read_bytes().replace(b"\n", b"\r\n")) == binary
    with_header = signers[0].armored.read_bytes().replace(b"BLOCK-----\n\n", b"BLOCK-----\nComment: a = b\n\n", 1)
    assert dearmor(with_header) == binary
    assert dearmor(binary) == binary


def test_a_damaged_key(tmp_path: Path) -> None:
    key = tmp_path / "k.asc"
    key.write_bytes(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!\n-----END PGP PUBLIC KEY BLOCK-----\n")
    with pytest.raises(HostError, match="damaged"):
        verified(b"", b"", keyrings=[key], fingerprint="F", package="p", work=tmp_path, source="s")


@real
def test_nothing_is_logged_past_the_console(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BaseError):
        get(pinned(server, b"\0" * 1000))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


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
