"""Fingerprints of OpenPGP public keys, armoured or binary, without gpg: enough to see that a key is the one promised.

Only the packet framing (RFC 4880 and RFC 9580, section 4) and the version 4 fingerprint are read: SHA-1 over the
primary key's packet. Whether a signature is good is for apt in the guest to say.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

_ARMOUR = re.compile(rb"-----BEGIN PGP ([A-Z ]+)-----\s*?\n(.*?)-----END PGP \1-----", re.DOTALL)
_SECRET_KEY, _PUBLIC_KEY = 5, 6


def fingerprints(data: bytes) -> list[str]:
    """The fingerprints (40 upper-case hex digits) of the primary keys in *data*. ValueError says why there are none."""
    found = []
    for block in _blocks(data):
        for tag, body in _packets(block):
            if tag == _SECRET_KEY:
                raise ValueError("is a private key; export the public one")
            if tag == _PUBLIC_KEY and body[:1] == b"\x04":
                framed = b"\x99" + len(body).to_bytes(2, "big") + body
                found.append(hashlib.sha1(framed, usedforsecurity=False).hexdigest().upper())
    if not found:
        raise ValueError("holds no OpenPGP public key of version 4")
    return found


def _blocks(data: bytes) -> Iterator[bytes]:
    armoured = False
    for kind, text in _ARMOUR.findall(data):
        armoured = True
        if kind == b"PRIVATE KEY BLOCK":
            raise ValueError("is a private key; export the public one")
        _, _, encoded = text.replace(b"\r", b"").partition(b"\n\n")
        lines = [line for line in (encoded or text).split() if not line.startswith(b"=")]
        try:
            yield base64.b64decode(b"".join(lines), validate=True)
        except binascii.Error:
            raise ValueError("is damaged: its base64 cannot be read") from None
    if not armoured:
        yield data


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, body) of each packet. Partial and indeterminate lengths, never used for keys, count as damage."""
    position = 0
    while position < len(data):
        header = data[position]
        if not header & 0x80:
            raise ValueError("is no OpenPGP key")
        if header & 0x40:
            tag, first = header & 0x3F, data[position + 1 : position + 2]
            octets = 1 if first < b"\xc0" else 2 if first < b"\xe0" else 5 if first == b"\xff" else 0
            lead = 1 if octets == 5 else 0
            length = int.from_bytes(data[position + 1 + lead : position + 1 + octets], "big")
            length -= 0xC000 - 192 if octets == 2 else 0
        else:
            tag, octets = header >> 2 & 0x0F, (1, 2, 4, 0)[header & 3]
            length = int.from_bytes(data[position + 1 : position + 1 + octets], "big")
        start = position + 1 + octets
        if not octets or length < 0 or start + length > len(data):
            raise ValueError("is damaged: it ends in the middle of a packet")
        yield tag, data[start : start + length]
        position = start + length
