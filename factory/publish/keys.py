"""What things are called in a bucket: keys, addresses and the metadata of an image. Sends nothing."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import quote

from factory import __version__
from factory.publish import Artefact, store_settings
from factory.publish.transport import Transport


def address_of(transport: Transport, artefact: Artefact, *, without_bucket: str = "") -> str:
    """Where the image would lie, as an address without its signature. Sends nothing and needs no credentials.

    Raises UsageError when a setting is missing or wrong; *without_bucket* stands for a bucket that is not named.
    """
    found = store_settings.of(transport, without_bucket=without_bucket)
    endpoint = found.endpoint or store_settings.amazon(found.region)
    key = folder_of(found.prefix, artefact) + plain(artefact.image.name)
    return address(endpoint, found.bucket, key, found.addressing)


def address(endpoint: str, bucket: str, key: str, addressing: str) -> str:
    """Where *key* lies, as an address without a signature; *addressing* is virtual, path or auto."""
    if store_settings.addressing_at(endpoint, bucket, addressing) == "virtual":
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
    return {name: quote(text, safe=" :/+.,@=", errors="replace") for name, text in facts.items() if text}


def plain(name: str) -> str:
    """*name* as one part of a key that needs no quoting anywhere; a digest of one that has nothing to keep."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    return kept or "image-" + hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def readable(text: str) -> str:
    """*text* as UTF-8 can hold it: a name of a file, or a word of the command line, may be other bytes."""
    return text.encode("utf-8", "replace").decode("utf-8")
