"""What things are called in a bucket: keys, addresses and the metadata of an image. Sends nothing."""

from __future__ import annotations

import re
from urllib.parse import quote

from factory import __version__
from factory.errors import UsageError
from factory.publish import Artefact, store_settings
from factory.publish.transport import Transport


def address_of(transport: Transport, artefact: Artefact, *, without_bucket: str = "") -> str:
    """Where the image would lie, as an address without its signature. Sends nothing and needs no credentials.

    Raises UsageError when a setting is missing or wrong; *without_bucket* stands for a bucket that is not named.
    """
    found = store_settings.of(transport, without_bucket=without_bucket)
    endpoint = found.endpoint or f"https://s3.{found.region or 'us-east-1'}.amazonaws.com"
    key = folder_of(found.prefix, artefact) + plain(artefact.image.name)
    return address(endpoint, found.bucket, key, found.addressing)


def address(endpoint: str, bucket: str, key: str, addressing: str) -> str:
    """Where *key* lies, as an address without a signature; *addressing* is virtual, path or auto."""
    if addressing == "virtual":
        scheme, _, host = endpoint.partition("://")
        return f"{scheme}://{bucket}.{host}/{key}"
    return f"{endpoint}/{bucket}/{key}"


def folder_of(prefix: str, artefact: Artefact) -> str:
    """The beginning of all keys of *artefact*; it ends with a slash."""
    name, version = plain(artefact.name), plain(artefact.version or "unversioned")
    return f"{prefix}{name}/{version}/{artefact.sha256[:16]}/"


def metadata_of(artefact: Artefact) -> dict[str, str]:
    """What the object says of itself; plain ASCII, because it travels in headers."""
    facts = {
        "sha256": artefact.sha256,
        "recipe": artefact.name,
        "version": artefact.version,
        "digest": artefact.digest,
        "build-id": artefact.build_id,
        "factory": __version__,
    }
    return {name: quote(text, safe=" :/+.,@=") for name, text in facts.items() if text}


def plain(name: str) -> str:
    """*name* as one part of a key that needs no quoting anywhere."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    if not kept:
        raise UsageError(
            f"{name!r} cannot be part of an object's key",
            hint="Give it a name with letters or digits",
            code="usage.object-name",
        )
    return kept
