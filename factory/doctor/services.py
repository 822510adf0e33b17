"""The doctor's look at what is outside this host: clock, DNS, the archive, a metadata service, stores and clouds.

Every question is harmless, short, and asked at the same time as the others.
"""

from __future__ import annotations

import datetime
import functools
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.parse import urlsplit

from factory import http, mirror, settings, targets
from factory.doctor import configured
from factory.doctor.row import Check, guarded
from factory.errors import FactoryError
from factory.publish import transport

ANSWER = 5.0  # seconds that a service gets to answer
SKEW = 60.0  # seconds that the clock may be wrong before the doctor speaks of it
WRONG = 24 * 3600.0  # seconds from which signatures and certificates are refused for it
SUITE = "bookworm"
METADATA = ("169.254.169.254", 80)


def examine() -> list[Check]:
    """Every row, in a fixed order."""
    with ThreadPoolExecutor() as pool:
        return [check for checks in pool.map(guarded, (archive, metadata, object_storage, clouds)) for check in checks]


def archive() -> Iterator[Check]:
    """Whether the mirror's name resolves, it has the distribution, and its clock says what ours does."""
    chosen = mirror.debian_mirror(SUITE)
    parts = urlsplit(chosen.uri)
    host = parts.hostname or ""
    if urllib.request.getproxies().get(parts.scheme) and not urllib.request.proxy_bypass(host):
        yield Check("ok", "DNS", "left to the proxy")
    else:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            fix = "Look at /etc/resolv.conf, or name another archive in FACTORY_MIRROR"
            yield Check("fail", "DNS", f"{host} does not resolve: {error.strerror}", fix)
            return
        yield Check("ok", "DNS", f"{host} is {found[0][4][0]}")
    request = urllib.request.Request(f"{chosen.uri.rstrip('/')}/dists/{SUITE}/InRelease", method="HEAD")  # noqa: S310
    authorities = http.ca_bundle()  # True: those that come with Python
    cafile = None if isinstance(authorities, bool) else authorities
    context = ssl.create_default_context(cafile=cafile) if parts.scheme == "https" else None
    try:
        with urllib.request.urlopen(request, timeout=ANSWER, context=context) as answer:  # noqa: S310 - of FACTORY_MIRROR
            date = answer.headers.get("Date", "")
    except urllib.error.HTTPError as error:
        fix = "Name a complete Debian archive in FACTORY_MIRROR"
        yield Check("fail", "archive", f"{chosen.uri} answers {error.code} for {SUITE}", fix)
        return
    except (OSError, HTTPException) as error:
        fix = "Look at the network and http_proxy, or name another archive in FACTORY_MIRROR"
        yield Check("fail", "archive", f"{chosen.uri} did not answer: {error or type(error).__name__}", fix)
        return
    yield Check("ok", "archive", f"{chosen.uri} (from {chosen.source}) has {SUITE}")
    yield from clock(date, datetime.datetime.now(datetime.UTC), host)


def clock(date: str, now: datetime.datetime, host: str) -> Iterator[Check]:
    """How far our clock is from that of *host*, whose answer bore *date* (an HTTP header)."""
    try:
        skew = (now - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):
        yield Check("ok", "clock", f"{now:%Y-%m-%d %H:%M:%S} UTC; {host} told no time to compare it with")
        return
    if abs(skew) <= SKEW:
        yield Check("ok", "clock", f"{now:%Y-%m-%d %H:%M:%S} UTC, as {host} says")
        return
    found = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} {host}"
    fix = "Set it: 'timedatectl set-ntp true'. Signatures, certificates and uploads depend on it"
    yield Check("fail" if abs(skew) > WRONG else "warn", "clock", found, fix)


def metadata() -> Iterator[Check]:
    """Whether a cloud's metadata service answers here: then every guest with a network reaches it too."""
    try:
        with socket.create_connection(METADATA, timeout=1):
            pass
    except OSError:
        yield Check("ok", "metadata service", "none answers on this host")
        return
    fix = "Block 169.254.169.254 for the user that runs QEMU, or write 'machine: {network: none}' in the recipe"
    yield Check(
        "warn", "metadata service", "one answers here, and the guest of a build can ask it for credentials", fix
    )


def object_storage() -> Iterator[Check]:
    """Whether the bucket can be written to, by an upload that is aborted before it holds anything."""
    from factory.console import Console
    from factory.publish.store import open_store

    if not settings.value("FACTORY_S3_BUCKET"):
        if chosen := configured.publishing():
            fix = (
                "Set FACTORY_S3_BUCKET to a bucket that is there; docs/publish.md has an example for each kind of store"
            )
            yield Check("warn", "object storage", f"{chosen[0]} is set, but no bucket to publish to", fix)
        else:
            yield Check("ok", "object storage", "not set up (FACTORY_S3_BUCKET); only publishing needs it")
        return
    meant = configured.target()
    way = meant or transport.Transport(target="generic", importer="generic")
    bucket = settings.value("FACTORY_S3_BUCKET")
    try:
        open_store(way, Console.quiet(), patience=ANSWER).prove_writable()
    except FactoryError as error:
        if meant or settings.value("FACTORY_S3_ENDPOINT"):
            raise
        found = f"Nothing says whose store has the bucket {bucket}, so Amazon's was tried: {error.message}"
        fix = f"Set FACTORY_S3_ENDPOINT, or the key of the cloud that it belongs to. If it is Amazon's: {error.hint}"
        yield Check("warn", "object storage", found, fix, command=error.command)
        return
    yield Check("ok", "object storage", f"the bucket {bucket} can be written to")


def clouds() -> Iterator[Check]:
    """What each importer that can look finds: its function ``examine`` gives no row where it is not set up."""
    from factory.console import Console

    for name in sorted({transport.load(each).importer for each in targets.names()}):
        if look := getattr(configured.importer(name), "examine", None):
            yield from guarded(functools.partial(look, Console.quiet()), name=f"API of {name}")
