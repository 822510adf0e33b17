"""Where the store is and how it is spoken to: ``FACTORY_S3_*``, then the target's own."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from factory import http, settings
from factory.errors import UsageError
from factory.publish.transport import Transport

ADDRESSING = ("auto", "path", "virtual")
CHECKSUMS = ("when_required", "when_supported")
# What a store may hold, old buckets of Amazon and other stores included; the rest is the store's own to refuse.
_BUCKET = re.compile(r"(?!\.+$)(?!(?:\d+\.){3}\d+$)[a-zA-Z0-9._-]{3,255}")
_PREFIX = re.compile(r"([a-zA-Z0-9._-]+/)*")
_REGION = re.compile(r"[A-Za-z0-9-]+")
_HOST = re.compile(r"(?:(?!-)[a-zA-Z0-9-]{1,63}(?<!-)\.)*(?!-)[a-zA-Z0-9-]{1,63}(?<!-)\.?")
_AMAZON = re.compile(r"https://s3[.-](?:[a-z0-9.-]+\.)?amazonaws\.com(?:\.cn)?")
_IN_A_HOST = re.compile(r"(?!-)[a-z0-9-]{3,63}(?<!-)")  # buckets whose name may stand in that of the host
_FORM = (
    "It has to be https, a host and maybe a port, without a path, so that no one on the way reads or changes the image"
)


@dataclass(frozen=True)
class StoreSettings:
    """One bucket and the way to it. An empty *endpoint* is Amazon's own for the region."""

    endpoint: str
    region: str
    bucket: str
    prefix: str  # of every key; empty, or ends with a slash
    addressing: str
    storage_class: str  # empty for the store's default
    checksums: str
    ca_bundle: str | bool  # a file; True for what comes with the libraries
    key_id: str = ""  # empty: boto3's own chain
    secret: str = field(default="", repr=False)


def of(transport: Transport, *, without_bucket: str = "") -> StoreSettings:
    """The settings for *transport*. Raises UsageError for one that is missing or wrong.

    *without_bucket* stands for the bucket when none is named, where nothing will be sent.
    """
    region = settings.value("FACTORY_S3_REGION") or transport.region
    if region and not _REGION.fullmatch(region):
        raise _wrong("FACTORY_S3_REGION", region, "Write it as the store does, such as br-se1")
    endpoint = settings.value("FACTORY_S3_ENDPOINT") or _own_endpoint(transport, region)
    key_id, secret = _own_credentials(transport)
    return StoreSettings(
        endpoint=_endpoint(endpoint),
        region=region,
        bucket=_bucket(transport, without_bucket),
        prefix=_prefix(),
        addressing=_one_of("FACTORY_S3_ADDRESSING", ADDRESSING) or transport.addressing,
        storage_class=settings.value("FACTORY_S3_STORAGE_CLASS"),
        checksums=_one_of("FACTORY_S3_CHECKSUMS", CHECKSUMS),
        ca_bundle=_ca_bundle(),
        key_id=key_id,
        secret=secret,
    )


def addressing_at(endpoint: str, bucket: str, asked: str) -> str:
    """How *bucket* is addressed at *endpoint* when the settings say *asked*: path, virtual, or auto for path.

    Amazon's own stores have it in the host's name: left to itself, boto3 signs for a host of another region.
    """
    if asked == "path" or not _IN_A_HOST.fullmatch(bucket):
        return "path"
    return "virtual" if _AMAZON.fullmatch(endpoint) else asked


def amazon(region: str) -> str:
    """The address of Amazon's own store in *region*."""
    place = "" if region in ("", "us-east-1") else f"{region}."
    return f"https://s3.{place}amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def supplied(transport: Transport) -> dict[str, str]:
    """What *transport* has for settings that are not set, by their names; looks at none of the others."""
    found = {
        "FACTORY_S3_ENDPOINT": _own_endpoint(transport, settings.value("FACTORY_S3_REGION") or transport.region),
        "FACTORY_S3_REGION": transport.region,
        "FACTORY_S3_ADDRESSING": transport.addressing if transport.addressing != ADDRESSING[0] else "",
    }
    return {name: value for name, value in found.items() if value}


def _own_endpoint(transport: Transport, region: str) -> str:
    return transport.endpoint.format(region=transport.endpoint_regions.get(region, region))


def _endpoint(text: str) -> str:
    cause = ""
    try:
        parts = urlsplit(text)
        if text and (parts.scheme != "https" or not parts.hostname or parts.port == 0):
            cause = _FORM
        if parts.username or parts.path.strip("/") or parts.query or parts.fragment:
            cause = _FORM
        if not cause and not _is_host(parts.hostname or ""):
            cause = (
                "The name of its host may have letters, digits, '-' and '.' only: no '_', as some containers have, and "
                "one of another script is written with xn--"
            )
    except ValueError:
        cause = _FORM
    if cause:
        raise UsageError(
            f"FACTORY_S3_ENDPOINT, {http.shown(text)}, is no address of a store",
            cause=cause,
            hint="Write it as https://store.example:8333; the bucket goes into FACTORY_S3_BUCKET",
            code="usage.store",
        )
    return text.rstrip("/")


def _is_host(host: str) -> bool:
    """Whether *host* is empty, an address, or a name as boto3 takes it."""
    if ":" in host:
        ipaddress.ip_address(host)  # raises ValueError
        return True
    return not host or (len(host) <= 255 and _HOST.fullmatch(host) is not None)


def _bucket(transport: Transport, without: str) -> str:
    found = settings.setting("FACTORY_S3_BUCKET")
    if not found.value and without:
        return without
    if not found.value:
        raise UsageError(
            "no bucket is named to put the image in",
            cause=f"FACTORY_S3_BUCKET is not set, and target {transport.target} needs one",
            hint="Make a bucket with your cloud's own tools and set FACTORY_S3_BUCKET to its name",
            code="usage.store",
        )
    if not _BUCKET.fullmatch(found.value):
        raise _wrong(
            "FACTORY_S3_BUCKET",
            found.value,
            "Write the bucket's name alone: 3 to 255 letters, digits, '.', '_' and '-'",
        )
    return found.value


def _prefix() -> str:
    text = settings.value("FACTORY_S3_PREFIX").strip("/")
    prefix = f"{text}/" if text else ""
    if not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/")):
        raise _wrong("FACTORY_S3_PREFIX", text, "Write folders such as team/images")
    return prefix


def _one_of(name: str, allowed: tuple[str, ...]) -> str:
    text = settings.value(name)
    if text and text not in allowed:
        raise _wrong(name, text, f"It is one of {', '.join(allowed)}")
    return text


def _ca_bundle() -> str | bool:
    name, path = "FACTORY_S3_CA_BUNDLE", settings.value("FACTORY_S3_CA_BUNDLE")
    if path:
        path = str(settings.expanded(path))
    elif os.environ.get("AWS_CA_BUNDLE") and not settings.value("FACTORY_CA_BUNDLE"):
        name, path = "AWS_CA_BUNDLE", os.environ["AWS_CA_BUNDLE"]
    else:
        general = http.ca_bundle()
        if not isinstance(general, str) or general in http.SYSTEM_STORES:
            return general
        names = (name for name in http.CA_VARIABLES if os.environ.get(name) == general)
        name = "FACTORY_CA_BUNDLE" if settings.value("FACTORY_CA_BUNDLE") else next(names, "FACTORY_CA_BUNDLE")
        path = general
    _require_certificates(name, path)
    return path


def _require_certificates(name: str, path: str) -> None:
    """Raise UsageError unless the store's client can take certificates from *path*: else it tells of a bad network."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:  # of which ssl.SSLError is one
        cause = "There is no certificate in it" if isinstance(error, ssl.SSLError) else str(error)
        if Path(path).is_dir():
            cause = "It is a folder"
        elif isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
            cause = error.strerror or cause
        raise UsageError(
            f"{name} is {path!r}, from which no certificates for the store can be read",
            cause=cause,
            hint="Name a file with certificates in PEM form; FACTORY_S3_CA_BUNDLE names one for the store alone",
            code="usage.store",
        ) from error


def _own_credentials(transport: Transport) -> tuple[str, str]:
    names = [name for name in (transport.key_id_variable, transport.secret_variable) if name]
    values = [os.environ.get(name, "").strip() for name in names]
    if not any(values):
        return "", ""
    if not all(values):
        missing = names[values.index("")]
        raise UsageError(
            f"{missing} is not set, but its other half is",
            hint=f"Set both {' and '.join(names)}, or neither to use the AWS_* variables and profiles",
            code="usage.store",
        )
    return values[0], values[1]


def _wrong(name: str, value: str, hint: str) -> UsageError:
    origin = settings.setting(name).origin
    return UsageError(
        f"{name} is {value!r}, which cannot be right",
        cause=f"It comes from {origin}",
        hint=hint,
        code="usage.store",
    )
