"""Where Magalu Cloud's API is, whose key opens it, and which buckets it can read."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from factory import settings
from factory.errors import PublishError, UsageError
from factory.http import loopback

API = "https://api.magalu.cloud/{segment}/compute"
OWN_DOMAINS = ("magalu.cloud",)
KEY_VARIABLE = "MGC_API_KEY"


@dataclass(frozen=True)
class Region:
    """*segment* is its word in the API's URL, *store* the host of its object storage."""

    name: str
    segment: str
    store: str


REGIONS = (
    Region("br-se1", "br-se1", "br-se1.magaluobjects.com"),
    Region("br-ne1", "br-ne1", "br-ne1.magaluobjects.com"),
    Region("br-mgl1", "br-se-1", "br-se-1.magaluobjects.com"),
)


@dataclass(frozen=True)
class Place:
    """The API: *url* is everything before ``/v1``; *region* is None when it is not Magalu's own."""

    url: str
    region: Region | None

    @property
    def images(self) -> str:
        """The address of the custom images."""
        return f"{self.url}/v1/images/custom"


def place() -> Place:
    """The API by ``FACTORY_MGC_API_URL``, else Magalu's own in the region of the bucket. Raises UsageError."""
    chosen = settings.setting("FACTORY_MGC_API_URL")
    if not chosen.value:
        region = _region_of_the_store()
        return Place(API.format(segment=region.segment), region)
    url = chosen.value.rstrip("/")
    fault = ""
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.scheme not in ("https", "http") or parts.port == 0:
            fault = "it is no address such as https://api.magalu.cloud/br-se1/compute"
        elif parts.scheme == "http" and not loopback(url):
            fault = "it is not https, and not a loopback address"
        elif parts.username or parts.password or parts.query or parts.fragment:
            fault = "a password, '?' and '#' have no place in it"
        elif re.search(r"/v\d+(/|$)", parts.path):
            fault = "it must end before /v1"
    except ValueError:
        fault = "its host or its port cannot be read"
    if fault:
        raise UsageError(
            f"FACTORY_MGC_API_URL cannot be used: {fault}",
            cause=f"It was set in {chosen.origin}",
            hint="Write everything before /v1, such as https://api.magalu.cloud/br-se1/compute",
            code="usage.setting",
        )
    return Place(url, _region_of_the_api(url))


def told_where(where: Place) -> str:
    """Where the address of the API comes from, for people who see that it does not answer."""
    chosen = settings.setting("FACTORY_MGC_API_URL")
    if chosen.value:
        return f"Check FACTORY_MGC_API_URL, which is {where.url} (from {chosen.origin})"
    return f"FACTORY_MGC_API_URL is not set, so the API is {where.url}, by the region of the bucket"


def check_store(where: Place, url: str) -> None:
    """Raise PublishError unless the API at *where* can read an object at *url* (a presigned one, or its beginning).

    Magalu's own takes https and its own object storage in the same region; another API takes any https address.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.scheme != "https" or not host:
        raise PublishError(
            f"the image lies at {parts.scheme}://{host}, and Magalu Cloud fetches by https only",
            hint="Set FACTORY_S3_ENDPOINT to an https address",
            code="publish.bucket-place",
        )
    if where.region is None:
        return
    store = where.region.store
    if (host != store and not host.endswith(f".{store}")) or parts.port not in (None, 443):
        raise PublishError(
            f"the bucket is at {host}, and Magalu Cloud in {where.region.name} reads images from {store} only",
            cause="FACTORY_S3_ENDPOINT and FACTORY_S3_REGION name another place than the API",
            hint=f"Use a bucket of {where.region.name}, or set FACTORY_MGC_API_URL to the region of the bucket",
            code="publish.bucket-place",
        )


def api_key() -> str:
    """The key from ``MGC_API_KEY``, else ``api_key`` of the current profile of ``mgc``. Raises PublishError."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    file = profile_file()
    origin = KEY_VARIABLE
    if not key:
        origin = str(file)
        key = _from_profile(file)
    if not key:
        raise PublishError(
            "there is no key for Magalu Cloud's API",
            cause=f"{KEY_VARIABLE} is not set, and {file} has no api_key",
            hint=f"Make a key in the cloud's console and set {KEY_VARIABLE}",
            code="publish.no-api-key",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise PublishError(
            f"the key in {origin} cannot be one: it holds blanks or other characters that no key has",
            hint="Copy it again",
            code="publish.no-api-key",
        )
    return key


def profile_file() -> Path:
    """The credentials of the profile that ``mgc`` uses: ``~/.config/mgc/<profile>/auth.yaml``."""
    configured = os.environ.get("MGC_CONFIG_DIR", "")
    base = os.environ.get("XDG_CONFIG_HOME", "") or str(settings.expanded("~/.config"))
    folder = Path(configured) if configured else Path(base) / "mgc"
    name = os.environ.get("MGC_WORKSPACE", "")
    if not name:
        try:
            name = (folder / "current").read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            name = ""
    return folder / (name if re.fullmatch(r"[\w.-]*[\w-][\w.-]*", name) else "default") / "auth.yaml"


def _from_profile(file: Path) -> str:
    from factory.yamlfile import load_plain

    try:
        if not file.is_file():
            return ""
    except OSError:
        return ""
    key = load_plain(file).get("api_key", "")
    return key.strip() if isinstance(key, str) else ""


def _region_of_the_api(url: str) -> Region | None:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower().rstrip(".")
    if not any(host == domain or host.endswith(f".{domain}") for domain in OWN_DOMAINS):
        return None
    segment = parts.path.strip("/").partition("/")[0]
    region = next((each for each in REGIONS if each.segment == segment), None)
    if region is None:
        raise UsageError(
            f"FACTORY_MGC_API_URL names no region of Magalu Cloud that is known: {segment!r}",
            hint=f"Write {API.format(segment=REGIONS[0].segment)}; known are "
            + ", ".join(each.segment for each in REGIONS),
            code="usage.setting",
        )
    return region


def _region_of_the_store() -> Region:
    """By the endpoint's host, else by the region's name, else the first one."""
    endpoint, name = settings.setting("FACTORY_S3_ENDPOINT"), settings.setting("FACTORY_S3_REGION")
    try:
        host = (urlsplit(endpoint.value).hostname or "").lower()
    except ValueError:  # for the settings of the store to tell
        host = ""
    for region in REGIONS:
        if host == region.store or host.endswith(f".{region.store}"):
            return region
    if not name.value:
        return REGIONS[0]
    found = next((each for each in REGIONS if name.value in (each.name, each.segment)), None)
    if found is None:
        raise UsageError(
            f"FACTORY_S3_REGION is {name.value!r}, which is no region of Magalu Cloud",
            cause=f"It was set in {name.origin}",
            hint="Known are " + ", ".join(each.name for each in REGIONS) + "; or set FACTORY_MGC_API_URL",
            code="usage.setting",
        )
    return found
