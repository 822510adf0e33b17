"""Checksum files of distributions, and the OpenPGP signatures on them.

Two forms are read: ``<hex>  <name>`` (coreutils) and ``SHA256 (<name>) = <hex>`` (BSD); anything weaker than SHA-256 is
ignored. Signatures are checked by gpgv, which trusts exactly the keyrings it is given, and the signer's fingerprint
must be the expected one: a keyring that also holds other keys does not widen what is accepted.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from factory.errors import BaseError, HostError
from factory.run import run

DIGITS = {"sha256": 64, "sha512": 128}
WEAK_DIGESTS = {"1", "2", "3"}  # OpenPGP's numbers of MD5, SHA-1 and RIPEMD-160
ARMOR = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\s*?\r?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)


@dataclass(frozen=True)
class Checksum:
    """What a file must be: its *name*, the *algorithm* (sha256 or sha512) and the *digest* in lower-case hex."""

    name: str
    algorithm: str
    digest: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.digest}"


def parse(text: str) -> list[Checksum]:
    """Every line that gives a SHA-256 or SHA-512, in order. A lone digest without a name counts for the name ``*``."""
    found = []
    for line in map(str.strip, text.splitlines()):
        if gnu := re.fullmatch(r"([0-9a-fA-F]{64}|[0-9a-fA-F]{128})(?: [ *]|\s+)(\S.*)", line):
            digest, name = gnu[1], gnu[2]
        elif bsd := re.fullmatch(r"SHA(?:2-)?(256|512) \((.+)\) ?= ?([0-9a-fA-F]+)", line):
            digest, name = bsd[3], bsd[2]
            if len(digest) != DIGITS[f"sha{bsd[1]}"]:
                continue
        elif re.fullmatch(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{128}", line):
            digest, name = line, "*"
        else:
            continue
        algorithm = "sha256" if len(digest) == DIGITS["sha256"] else "sha512"
        found.append(Checksum(name.removeprefix("./"), algorithm, digest.lower()))
    return found


def choose(checksums: Sequence[Checksum], pattern: str, *, source: str) -> Checksum:
    """The checksum of the file whose name matches *pattern* (as in a shell); of several names, the highest version.

    Raises BaseError when *source* lists none, or contradicts itself.
    """
    named = [item for item in checksums if fnmatch.fnmatchcase(item.name, pattern) and "/" not in item.name]
    if not named and len(checksums) == 1 and checksums[0].name == "*" and not set("*?[") & set(pattern):
        named = [Checksum(pattern, checksums[0].algorithm, checksums[0].digest)]
    if not named:
        raise BaseError(
            f"{source} lists no SHA-256 or SHA-512 of {pattern}",
            hint="The distribution has renamed its image, or is publishing a new one: try again later",
            code="base.checksum-missing",
        )
    newest = max((item.name for item in named), key=_version)
    of_newest = {item for item in named if item.name == newest}
    strongest = max(item.algorithm for item in of_newest)
    chosen = [item for item in of_newest if item.algorithm == strongest]
    if len(chosen) > 1:
        raise BaseError(f"{source} lists two different checksums of {newest}", code="base.checksum-ambiguous")
    return chosen[0]


def verified(
    content: bytes,
    signature: bytes | None,
    *,
    keyrings: Sequence[Path],
    fingerprint: str,
    package: str,
    work: Path,
    source: str,
) -> str:
    """The signed text in *content*; *signature* is detached, or None when *content* is clear-signed itself.

    *keyrings* are tried as far as they are there; *fingerprint* is that of the primary key; *package* has the key,
    for the hint. Raises HostError when no key is at hand, BaseError when the signature is bad or somebody else's.
    """
    present = [path for path in keyrings if path.is_file()]
    if not present:
        raise _no_key(source, fingerprint, package)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        argv: list[str | Path] = ["gpgv", "--homedir", folder, "--status-fd", "1"]
        for number, path in enumerate(present):
            copy = folder / f"{number}.gpg"
            copy.write_bytes(dearmor(path.read_bytes()))
            argv += ["--keyring", copy]
        signed, text = folder / "signed", folder / "text"
        signed.write_bytes(content)
        if signature is None:
            argv += ["--output", text, "--", signed]
        else:
            detached = folder / "signature"
            detached.write_bytes(signature)
            argv += ["--", detached, signed]
        done = run(argv, reason="to check the signature of a download", package="gpgv", allowed=(0, 1, 2), timeout=60)
        status = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("[GNUPG:] ")]
        # A detached file may carry more signatures, by keys that are not here; a clear-signed text stands alone.
        refused = signature is None and done.status != 0
        _judge(status, refused, fingerprint=fingerprint, package=package, source=source, output=done.stderr)
        # Only what the signature covers counts: a clear-signed file may have more above and below.
        return (text.read_bytes() if signature is None else content).decode("utf-8", "replace")


def _judge(status: list[list[str]], refused: bool, *, fingerprint: str, package: str, source: str, output: str) -> None:
    """Raise unless gpgv's own lines, *status*, tell of a good signature by the expected key, and it did not refuse."""
    signatures: list[list[list[str]]] = [[]]
    for line in filter(None, status):
        if line[0] == "NEWSIG":
            signatures.append([])
        signatures[-1].append(line)
    signers = [signer for signature in signatures if (signer := _good_signer(signature))]
    if fingerprint.upper() in signers and not refused:
        return
    words = {line[0] for line in status if line}
    if "EXPKEYSIG" in words:
        raise HostError(
            f"the key that signed {source} has expired in this host's copy",
            cause=f"Its fingerprint is {fingerprint}",
            hint=f"Install a newer {package}, or put a newer copy of the key into {key_folder()}",
            code="host.key-expired",
        )
    if "NO_PUBKEY" in words and not signers and "BADSIG" not in words:
        raise _no_key(source, fingerprint, package, output)
    others = [signer for signer in signers if signer != fingerprint.upper()]
    raise BaseError(
        f"the signature on {source} is refused",
        cause=f"It was made by {', '.join(others)}, and {fingerprint} was expected" if others else "gpgv calls it bad",
        hint="Try again; if it stays so, the server or the way to it is not to be trusted",
        output=output,
        code="base.signature",
    )


def _good_signer(signature: list[list[str]]) -> str:
    """The primary key's fingerprint, when gpgv's lines on one signature call it good and its digest is not weak."""
    lines = {line[0]: line for line in signature}
    valid = lines.get("VALIDSIG", [])
    if "GOODSIG" not in lines or "BADSIG" in lines or len(valid) < 11 or valid[8] in WEAK_DIGESTS:
        return ""
    return valid[10].upper()


def key_folder() -> Path:
    """Where a user can put keys that no package of the host has."""
    from factory import settings

    return settings.config_file().parent / "keys"


def dearmor(key: bytes) -> bytes:
    """The binary form of an OpenPGP key, which is all that gpgv reads; binary keys stay as they are."""
    blocks = ARMOR.findall(key)
    if not blocks:
        return key
    try:
        return b"".join(base64.b64decode(_armor_body(block), validate=True) for block in blocks)
    except binascii.Error as error:
        raise HostError(
            "a key file is damaged", cause=str(error), hint="Fetch it again", code="host.key-damaged"
        ) from error


def _armor_body(block: bytes) -> bytes:
    lines = block.replace(b"\r", b"").split(b"\n")
    if b"" in lines:  # headers such as ``Comment:`` end with an empty line
        lines = lines[lines.index(b"") + 1 :]
    return b"".join(line.strip() for line in lines if not line.startswith(b"="))  # the line with ``=`` is a CRC


def _version(name: str) -> list[tuple[int, str]]:
    """A key that sorts names by the numbers in them."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _no_key(source: str, fingerprint: str, package: str, output: str = "") -> HostError:
    return HostError(
        f"the key that signs {source} is not on this host",
        cause=f"Its fingerprint is {fingerprint}",
        hint=f"Install {package}, or put the key into {key_folder()}",
        output=output,
        code="host.key-missing",
    )
