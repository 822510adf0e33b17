"""Fingerprints of OpenPGP keys, compared with what gpg said and says."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.openpgp import fingerprints
from tests.recipe_files import FINGERPRINT, PUBLIC_KEY

BINARY = base64.b64decode("".join(PUBLIC_KEY.split("\n\n")[1].split("=zD4t")[0].split()))
KEYRINGS = sorted(Path("/usr/share/keyrings").glob("*.gpg"))


def test_armoured_binary_and_windows_lines_are_the_same_key() -> None:
    assert fingerprints(PUBLIC_KEY.encode()) == [FINGERPRINT]
    assert fingerprints(PUBLIC_KEY.replace("\n", "\r\n").encode()) == [FINGERPRINT]
    assert fingerprints(BINARY) == [FINGERPRINT]
    assert fingerprints(PUBLIC_KEY.encode() * 2) == [FINGERPRINT, FINGERPRINT]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "holds no OpenPGP public key"),
        (b"<html>404</html>", "is no OpenPGP key"),
        (BINARY[:40], "in the middle of a packet"),
        (PUBLIC_KEY.replace("mDME", "m!ME").encode(), "base64"),
        (PUBLIC_KEY.replace("PUBLIC", "PRIVATE").encode(), "is a private key"),
        (b"\x94\x01\x04", "is a private key"),
    ],
)
def test_what_is_no_public_key_says_so(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fingerprints(data)


@given(st.binary(max_size=300), st.integers(0, len(BINARY)))
def test_damage_never_raises_anything_else(noise: bytes, cut: int) -> None:
    for data in (noise, b"\x98" + noise, BINARY[:cut] + noise):
        try:
            fingerprints(data)
        except ValueError:
            continue


@pytest.mark.skipif(not shutil.which("gpg") or not KEYRINGS, reason="gpg or a distribution's keyring is missing")
def test_every_keyring_of_this_host_reads_as_gpg_reads_it(tmp_path: Path) -> None:
    for keyring in KEYRINGS:
        argv = ["gpg", "--homedir", str(tmp_path), "--batch", "--with-colons", "--show-keys", str(keyring)]
        lines = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
        primary = [block.split("\nfpr:")[1].split("\n")[0] for block in "\n".join(lines).split("pub:")[1:]]
        expected = [line.split(":")[8] for line in primary]
        if expected:
            assert fingerprints(keyring.read_bytes()) == expected, keyring
