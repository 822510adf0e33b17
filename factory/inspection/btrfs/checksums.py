"""The checksums that btrfs may use, and the hash of a name in a directory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import google_crc32c
import xxhash


@dataclass(frozen=True)
class Checksum:
    """One algorithm: its name, the *width* of a checksum in bytes, and the function."""

    name: str
    width: int
    of: Callable[[bytes], bytes]


def _crc32c(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "little")


def _xxhash64(data: bytes) -> bytes:
    return xxhash.xxh64_intdigest(data).to_bytes(8, "little")


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _blake2b(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


CHECKSUMS = {
    0: Checksum("crc32c", 4, _crc32c),
    1: Checksum("xxhash64", 8, _xxhash64),
    2: Checksum("sha256", 32, _sha256),
    3: Checksum("blake2b", 32, _blake2b),
}
"""By the number in the superblock."""


def name_hash(name: bytes) -> int:
    """The hash by which a directory finds *name*: CRC-32C that begins with ~1 and is not inverted at its end."""
    return int(google_crc32c.extend(1, name)) ^ 0xFFFFFFFF
