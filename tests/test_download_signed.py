"""Downloads whose list of checksums is signed, by real keys of gpg."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from factory import bases
from factory.bases import Definition
from factory.checksums import dearmor, verified
from factory.console import Console
from factory.errors import BaseError, HostError
from factory.renewal import unchanged
from tests.download_site import get, image, server, sha256
from tests.https_server import Server
from tests.recipe_files import HEAD, write
from tests.test_unchanged import MORE, built, plan_of

__all__ = ["image", "server"]
real = pytest.mark.real


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
def test_a_nightly_run_asks_whether_an_old_base_is_still_the_newest(
    server: Server, image: bytes, signers: tuple[Signer, Signer], tmp_path: Path
) -> None:
    write(tmp_path, HEAD + MORE)
    plan = replace(plan_of(tmp_path), base=replace(signed(server, image, signers[0]), max_age=0))
    made = get(plan.base)
    folder = built(tmp_path, plan, age=80 * 86400)

    def look(*, accept_stale: bool = False) -> tuple[Path | None, str]:
        found = unchanged.look(plan, tmp_path / "out", "full", Console.quiet(), accept_stale=accept_stale)
        return (found.image.folder if found.image else None), found.why

    assert look()[0] == folder
    renewed = bases.cached(plan.base)
    assert renewed and renewed.created > made.created and renewed.sha256 == made.sha256
    signed(server, image + bytes(512), signers[0])
    assert look() == (None, "the base has changed since the last build")
    assert look(accept_stale=True)[0] == folder
    server.files.clear()
    nothing, why = look()
    assert nothing is None and why.startswith("it cannot be told whether the base changed (")


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
