"""Deletes private keys that packages made while they were installed, where something makes them again.

Whoever has the image has the key of every machine made from it. Cockpit, MySQL and Fedora's Apache make a new one when
they start. Nothing makes Debian's "snakeoil" key again, and services that name it (PostgreSQL, Apache, Postfix) fail or
serve no TLS without it, so it stays and is reported as a warning. A recipe that installs ``ssl-cert`` should delete it
and make it at the first boot: ``make-ssl-cert generate-default-snakeoil`` in a unit of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factory.leftovers import Leftover, matching, remaining

if TYPE_CHECKING:
    from factory.inspection import Image
    from factory.scrub import Facts

SUMMARY = "Private keys of packages, which all machines would share"
ORDER = 180

_MADE_AGAIN = (
    "/etc/cockpit/ws-certs.d/0-self-signed*",
    "/var/lib/mysql/*-key.pem",
    "/var/lib/mysql/*-cert.pem",
    "/var/lib/mysql/ca.pem",
    "/var/lib/mysql/private_key.pem",
    "/var/lib/mysql/public_key.pem",
    "/etc/pki/tls/private/localhost.key",
    "/etc/pki/tls/certs/localhost.crt",
)
_KEPT = ("/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/webmin/miniserv.pem", "/etc/dovecot/private/dovecot.pem")


def apply(_: Facts) -> str:
    """Keys of the recipe have other names, and stay."""
    return f"""
    remove {" ".join(_MADE_AGAIN)}
"""


def verify(image: Image, _: Facts) -> Iterator[Leftover]:
    """Symbolic links to one of the files are not counted twice."""
    yield from remaining(image, *_MADE_AGAIN)
    for path, found in matching(image, *_KEPT):
        if found.kind == "file" and found.size:
            yield Leftover(path, f"a private key that every machine will have ({found.size} bytes)", "warn")
