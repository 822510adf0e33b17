"""The request that makes a custom image in Magalu Cloud: its fields, their limits, and the same as an ``mgc`` command.

The limits of name and description are in the cloud's documents only, not in its schema, so they are kept here, before
anything is sent. https://docs.magalu.cloud/docs/computing/virtual-machine/how-to/import-custom-images/overview
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from factory.errors import UsageError
from factory.publish import Artefact
from factory.publish.importer import Wishes
from factory.publish.mgc_place import Place
from factory.quoting import quote
from factory.units import GIB, format_size

NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
LONGEST_NAME, LONGEST_DESCRIPTION = 255, 200  # characters
LONGEST_VERSION = 255  # the documents name no limit
LARGEST = 2**31 - 1  # of a requirement
ARCHITECTURES = {"x86_64": "x86/64"}
"""Our names of what it takes, and its own."""


@dataclass(frozen=True)
class Requirements:
    """The least machine: *ram* and *disk* in the cloud's GB, which are GiB."""

    vcpu: int = 1
    ram: int = 1
    disk: int = 1

    def as_dict(self) -> dict[str, int]:
        """As it is sent."""
        return {"vcpu": self.vcpu, "ram": self.ram, "disk": self.disk}


@dataclass(frozen=True)
class ImageRequest:
    """A custom image, all but the URL of its file."""

    name: str
    requirements: Requirements
    description: str = ""
    version: str = ""
    uefi: bool = False
    architecture: str = "x86/64"
    platform: str = "linux"
    license: str = "unlicensed"

    def body(self, url: str) -> dict[str, Any]:
        """What is sent, with *url* as the place of the file. A field that is empty is left out."""
        optional = {name: value for name in ("version", "description") if (value := getattr(self, name))}
        return {
            "name": self.name,
            "url": url,
            "platform": self.platform,
            "license": self.license,
            "architecture": self.architecture,
            "uefi": self.uefi,
            "requirements": self.requirements.as_dict(),
            **optional,
        }

    def command(self, url: str, where: Place) -> list[str]:
        """The same request as an ``mgc`` command line."""
        options = {
            "--name": self.name,
            "--url": url,
            "--platform": self.platform,
            "--license": self.license,
            "--architecture": self.architecture,
        }
        if self.version:
            options["--version"] = self.version
        if self.description:
            options["--description"] = self.description
        options |= {f"--requirements.{name}": str(value) for name, value in self.requirements.as_dict().items()}
        options |= {"--region": where.region.name} if where.region else {"--server-url": where.url}
        words = [word for option in options.items() for word in option]
        return ["mgc", "vm", "images", "custom", "create", *words, *(["--uefi"] if self.uefi else [])]


def request_for(artefact: Artefact, wishes: Wishes, recommended: Requirements | None = None) -> ImageRequest:
    """The request for *artefact*: what the command line says, else what the build says (*recommended*), else the least.

    Raises UsageError with everything that the cloud would refuse, before anything is sent.
    """
    least = recommended or Requirements(disk=gigabytes(artefact.virtual_size) or 1)
    request = ImageRequest(
        name=wishes.name or default_name(artefact),
        requirements=Requirements(wishes.vcpus or least.vcpu, wishes.memory or least.ram, wishes.disk or least.disk),
        description=wishes.description or shortened(artefact.description),
        version=wishes.version or artefact.version,
        uefi=wishes.uefi or (artefact.uefi and not artefact.bios),
        architecture=ARCHITECTURES.get(artefact.architecture, artefact.architecture),
    )
    faults = list(_faults(request, artefact))
    if faults:
        raise UsageError(
            "Magalu Cloud would refuse this image: " + "; ".join(faults),
            cause="Nothing was sent",
            hint="'factory publish --help' shows the options that set these fields",
            code="usage.publish",
        )
    return request


def gigabytes(size: int) -> int:
    """*size* in bytes as the cloud counts: whole GB (of 2^30 bytes), rounded up."""
    return -(-size // GIB)


def shortened(description: str) -> str:
    """A recipe's *description*, cut at the cloud's limit: a recipe may say more than this cloud takes."""
    text = " ".join(description.split())
    return text if len(text) <= LONGEST_DESCRIPTION else text[: LONGEST_DESCRIPTION - 3].rstrip() + "..."


def default_name(artefact: Artefact) -> str:
    """``<name>-<version>``, dots and whatever else the cloud takes in no name as dashes; empty if nothing is left."""
    joined = "-".join(part for part in (artefact.name, artefact.version) if part)
    if not re.search(r"[A-Za-z0-9]", joined):
        return ""
    return re.sub(r"[^A-Za-z0-9_-]", "-", joined)[:LONGEST_NAME]


def _faults(request: ImageRequest, artefact: Artefact) -> Iterator[str]:
    if not request.name:
        yield "the image has no name with letters or digits that the cloud takes (write --name NAME)"
    elif not NAME.fullmatch(request.name):
        better = re.sub(r"[^A-Za-z0-9_-]", "-", request.name)[:LONGEST_NAME]
        yield (
            f"the name {quote(request.name)} may have 1 to {LONGEST_NAME} letters, digits, '-' and '_' only"
            + (f" (write {quote(better)})" if better else "")
        )
    if len(request.description) > LONGEST_DESCRIPTION:
        yield f"the description has {len(request.description)} characters, and {LONGEST_DESCRIPTION} are the most"
    for what, text, longest in (
        ("description", request.description, LONGEST_DESCRIPTION),
        ("version", request.version, LONGEST_VERSION),
    ):
        if not text.isprintable() or (text and not text.strip()):
            yield f"the {what} {quote(text)} holds characters that cannot be shown, or nothing but blanks"
        if what == "version" and len(text) > longest:
            yield f"the version has {len(text)} characters, and {longest} are the most"
    for name, value in request.requirements.as_dict().items():
        if not 0 < value <= LARGEST:
            yield f"the requirement {name} is {value}, and must be a whole number from 1 on"
    if request.architecture not in ARCHITECTURES.values():
        yield f"the architecture is {quote(artefact.architecture)}, and only x86_64 is taken"
    if artefact.format != "qcow2":
        yield f"the file is {artefact.format}, and only qcow2 is taken"
    if artefact.virtual_size > request.requirements.disk * GIB:
        yield (
            f"the disk of the image is {format_size(artefact.virtual_size)}, and the requirement is "
            f"{request.requirements.disk} GB (write --disk {gigabytes(artefact.virtual_size)})"
        )


def masked(url: str) -> str:
    """*url* with its query, which is the permission, hidden."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + ("?***" if parts.query else "")
