"""Which Debian mirror to build from: FACTORY_MIRROR, else the one this host uses itself, else deb.debian.org.

A source of the host is taken only when it is the Debian archive and nothing else: a known suite with the component
``main``, no ``trusted=yes``, no password in the address, and either signed by the keys of debian-archive-keyring, or on
debian.org, or known to apt as ``Origin: Debian``. So a third party's repository, or a host that runs Ubuntu, changes
nothing.

FACTORY_MIRROR holds the address of the archive, and after a blank that of the security archive; the second may be left
out where it is the sibling of the first:

    FACTORY_MIRROR=https://mirror.example/debian               security: https://mirror.example/debian-security
    FACTORY_MIRROR="https://a.example/deb https://b.example/sec"
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from factory import settings
from factory.apt_sources import AptSource, read_sources
from factory.errors import HostError, UsageError

if TYPE_CHECKING:
    from factory.console import Console

ARCHIVE = "http://deb.debian.org/debian"  # signed, so plain http is as good; caching proxies need it
SECURITY = "http://deb.debian.org/debian-security"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
KEYRING_NAME = re.compile(r"debian-archive-[a-z0-9-]+\.(?:gpg|asc|pgp)")
SUITES = (*("bullseye", "bookworm", "trixie", "forky", "duke", "sid"), *("oldoldstable", "oldstable", "stable"))
UNMISTAKABLE = 12  # characters from which a password is no word that stands in images anyway
GATEWAY = "10.0.2.2"  # this host, seen from a guest with QEMU's user networking


@dataclass(frozen=True)
class Mirror:
    """Where Debian's packages come from: *uri* the archive, *security_uri* its security archive, *keyring* its keys.

    *source* says whose choice it was.
    """

    uri: str
    security_uri: str
    source: Literal["FACTORY_MIRROR", "host", "default"]
    keyring: Path = KEYRING


def debian_mirror(suite: str, *, console: Console | None = None, root: Path = Path("/")) -> Mirror:
    """The mirror for the Debian release *suite* (such as ``bookworm``); *root* is where the host's /etc is looked for.

    Raises UsageError when FACTORY_MIRROR is no address, HostError when this host lacks Debian's keys.
    """
    keyring = root / KEYRING.relative_to("/")
    if not keyring.is_file():
        raise HostError(
            f"{keyring} is not there, and it is needed to check what the Debian archive signs",
            hint="Run 'make setup', or install the package debian-archive-keyring",
            code="host.keyring-missing",
        )
    chosen = settings.setting("FACTORY_MIRROR")
    if chosen.value.strip():
        uri, security = _from_setting(chosen.value.split(), chosen.origin)
        if not security and console:
            console.warn(f"The security archive cannot be told from FACTORY_MIRROR ({uri}): {SECURITY} is used")
        return Mirror(uri, security or SECURITY, "FACTORY_MIRROR", keyring)
    usable = [source for source in read_sources(root) if _is_debian(source, root)]
    archive = _best(usable, suite, "")
    if not archive:
        return Mirror(ARCHIVE, SECURITY, "default", keyring)
    return Mirror(archive, _best(usable, suite, "-security") or SECURITY, "host", keyring)


def source_lines(suite: str, uri: str, security_uri: str) -> list[str]:
    """The lines of a sources.list for *suite*."""
    return [
        f"deb {uri} {suite} main",
        f"deb {uri} {suite}-updates main",
        f"deb {security_uri} {suite}-security main",
    ]


def guest_uri(uri: str) -> str:
    """*uri* as a guest reaches it: an address of this host itself becomes the gateway of QEMU's user networking."""
    parts = urlsplit(uri)
    if not _is_loopback(parts.hostname or ""):
        return uri
    login, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port else ""
    return urlunsplit((parts.scheme, f"{login}{at}{GATEWAY}{port}", parts.path, parts.query, parts.fragment))


def proxies_for_guest() -> dict[str, str]:
    """``http_proxy``, ``https_proxy`` and ``no_proxy`` of this process, as far as they are set, for use in the guest.

    A proxy on this host itself is reached through the gateway. The values can hold a password: they are secrets.
    """
    found = {}
    for name in ("http_proxy", "https_proxy"):
        value = _variable(name)
        if value:
            # curl and apt take ``host:port`` too; urlsplit needs the scheme.
            found[name] = guest_uri(value if "://" in value else f"http://{value}")
    no_proxy = _variable("no_proxy")
    if found:  # of this host itself no proxy knows anything
        found["no_proxy"] = ",".join(filter(None, (no_proxy, GATEWAY)))
    return found


def proxy_secrets() -> tuple[str, ...]:
    """What of the proxies' addresses no output, document or image may hold; none when no proxy asks who we are.

    A password counts with its user, as it stands in an address, and also alone when it is long enough to be no word.
    """
    found: set[str] = set()
    for login in proxy_logins():
        for form in (login, unquote(login)):
            alone = form.partition(":")[2] or form
            found |= {form} if ":" in form else set()
            found |= {alone} if len(alone) >= UNMISTAKABLE else set()
    return tuple(sorted(found))


def proxy_logins() -> tuple[str, ...]:
    """The ``user:password`` of each proxy that has one in its address, as it is written there."""
    places = [_variable(name).rpartition("://")[2].partition("/")[0] for name in ("http_proxy", "https_proxy")]
    return tuple(place.rpartition("@")[0] for place in places if "@" in place)


def _variable(name: str) -> str:
    return (os.environ.get(name) or os.environ.get(name.upper()) or "").strip()


def _from_setting(words: list[str], origin: str) -> tuple[str, str]:
    """The archive and the security archive (empty: unknown) in the words of FACTORY_MIRROR."""
    for word in words:
        parts = _split(word)
        fault = ""
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            fault = f"{word!r} is no http or https address"
        elif parts.username or parts.password:
            fault = "it holds a password, which would have to go into the guest"
        elif parts.query or parts.fragment:
            fault = f"{word!r} has a ? or # in it"
        if fault:
            raise UsageError(
                f"FACTORY_MIRROR (set in {origin}) is refused: {fault}",
                hint=f"Write the address of a Debian archive, such as {ARCHIVE}",
                code="usage.setting",
            )
    if len(words) > 2:
        raise UsageError(
            f"FACTORY_MIRROR (set in {origin}) holds {len(words)} addresses",
            hint="Write the archive's, and after a blank that of the security archive",
            code="usage.setting",
        )
    archive, *rest = (word.rstrip("/") for word in words)
    return archive, rest[0] if rest else _sibling(archive)


def _sibling(archive: str) -> str:
    """The security archive beside *archive*, by the two layouts that are usual; empty when it has another."""
    found = re.fullmatch(r"(.+/)debian(/\d{8}T\d{6}Z)?", archive)  # the second: snapshot.debian.org
    return f"{found[1]}debian-security{found[2] or ''}" if found else ""


def _best(usable: Iterable[AptSource], suite: str, suffix: str) -> str:
    """The address that serves *suite*, else one of another release, for mirrors have them all; else empty."""
    others = ""
    for source in usable:
        if f"{suite}{suffix}" in source.suites:
            return source.uri
        if not others and any(f"{known}{suffix}" in source.suites for known in SUITES):
            others = source.uri
    return others


def _is_debian(source: AptSource, root: Path) -> bool:
    """Whether *source* is the Debian archive (or its security archive) itself, as far as this host can tell."""
    parts = _split(source.uri)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    if parts.username or parts.password or parts.query or source.unsafe or "main" not in source.components:
        return False
    if source.architectures and "amd64" not in source.architectures:
        return False
    if source.signed_by:
        return all(_is_debian_keyring(path) for path in source.signed_by)
    # deb.debian.org has other archives too, such as debian-ports, which other keys sign.
    folder = parts.path.rstrip("/").rpartition("/")[2]
    official = parts.hostname.endswith(".debian.org") and folder in ("debian", "debian-security")
    return official or parts.hostname == "security.debian.org" or _origin_is_debian(source, root)


def _is_debian_keyring(path: str) -> bool:
    return Path(path).parent in (
        Path("/usr/share/keyrings"),
        Path("/etc/apt/keyrings"),
        Path("/etc/apt/trusted.gpg.d"),
    ) and bool(KEYRING_NAME.fullmatch(Path(path).name))


def _origin_is_debian(source: AptSource, root: Path) -> bool:
    """Whether what apt last fetched from *source* calls itself Debian."""
    stem = re.sub(r"^https?://", "", source.uri).replace("_", "%5f").replace("/", "_")
    for suite in source.suites:
        for name in ("InRelease", "Release"):
            path = root / "var/lib/apt/lists" / f"{stem}_dists_{suite.replace('/', '_')}_{name}"
            try:
                head = path.read_text("utf-8", "replace")[:4000]
            except OSError:
                continue
            return bool(re.search(r"^Origin: Debian$", head, re.MULTILINE)) and bool(
                re.search(r"^Label: Debian(-Security)?$", head, re.MULTILINE)
            )
    return False


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises ValueError when it is no number
    except ValueError:
        return None
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
