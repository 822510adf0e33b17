"""Any cloud that imports by URL: nothing is called; ``import.json`` says all that a person needs for it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from factory.errors import PublishError
from factory.files import write_whole
from factory.publish import Artefact, PresignedUrl, StoredObject, store_settings
from factory.publish.importer import Brought, Wishes
from factory.publish.keys import address, plain, readable
from factory.units import GIB

if TYPE_CHECKING:
    from factory.console import Console
    from factory.publish.transport import Transport

DOCUMENT = "import.json"


def prepare(artefact: Artefact, wishes: Wishes, transport: Transport, console: Console) -> GenericImport:
    """The description of *artefact* for a person. Sends nothing."""
    name, version, description = map(readable, (wishes.name, wishes.version, wishes.description))
    told = replace(wishes, name=name, version=version, description=description)
    return GenericImport(artefact, told, transport, console)


@dataclass
class GenericImport:
    """An import that a person does: the image is uploaded, a URL is signed, and all that is known of it is written."""

    artefact: Artefact
    wishes: Wishes
    transport: Transport
    console: Console

    @property
    def name(self) -> str:
        """The name that is proposed: the recipe's with its version, without characters that some cloud refuses."""
        parts = (self.artefact.name, self.wishes.version or self.artefact.version)
        proposed = re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(filter(None, parts))).strip("-")
        return self.wishes.name or proposed or plain(self.artefact.name)

    @property
    def firmware(self) -> str:
        """What ``--uefi`` asks for; else none: a person decides."""
        return "uefi" if self.wishes.uefi else ""

    def as_dict(self, url: str) -> dict[str, Any]:
        """What ``import.json`` says. *url* is the address of the object, without a signature.

        The firmware and, of an image file, the architecture are left out when nothing tells of them.
        """
        artefact, wishes = self.artefact, self.wishes
        least = artefact.requirements
        known: dict[str, Any] = {"architecture": artefact.architecture} if artefact.folder else {}
        if firmware := [self.firmware] if self.firmware else list(artefact.boots):
            known["firmware"] = firmware
        return {
            "schema": 1,
            "target": self.transport.target,
            "name": self.name,
            "version": wishes.version or artefact.version,
            "description": wishes.description or artefact.description,
            "format": artefact.format,
            **known,
            "size": artefact.size,
            "virtual_size": artefact.virtual_size,
            "sha256": artefact.sha256,
            "requirements": {
                "vcpus": wishes.vcpus or int(least.get("vcpus", 1)),
                "memory": wishes.memory * GIB or int(least.get("memory", GIB)),
                "disk": wishes.disk * GIB or max(int(least.get("disk", 0)), artefact.virtual_size),
            },
            "properties": dict(artefact.properties),
            "build_id": artefact.build_id,
            "object": url.partition("?")[0],
            "url": f"Sign one with: factory presign {artefact.build_id or readable(artefact.image.name)}"
            f" --target {self.transport.target}",
        }

    def describe(self, url: str) -> str:
        """The same as text."""
        return json.dumps(self.as_dict(url), indent=2, ensure_ascii=False)

    def check_place(self, url: str) -> None:
        """Raise PublishError unless *url* is one that a cloud fetches."""
        if urlsplit(url).scheme != "https":
            raise PublishError(
                "the image lies at an address that is not https",
                hint="Set FACTORY_S3_ENDPOINT to an https address",
                code="publish.bucket-place",
            )

    def before_upload(self) -> Brought | None:
        """Nobody to ask: the same bytes are not sent twice anyway."""
        return None

    def documents(self, stored: StoredObject) -> dict[str, bytes]:
        """``import.json``, to lie beside the image."""
        addressing = store_settings.of(self.transport).addressing
        data = self.as_dict(address(stored.endpoint, stored.bucket, stored.key, addressing)) | {
            "region": stored.region,
            "bucket": stored.bucket,
            "key": stored.key,
            "published": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return {DOCUMENT: (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()}

    def bring(self, stored: StoredObject, url: PresignedUrl) -> Brought:
        """Write ``import.json`` into the folder of the build, if there is one. Raises HostError."""
        if self.artefact.folder is not None:
            for name, data in self.documents(stored).items():
                write_whole(self.artefact.folder / name, data)
        self.console.say(
            f"The image is ready to be imported by URL until {url.expires:%Y-%m-%d %H:%M} UTC; {DOCUMENT} describes it."
        )
        return Brought(self.transport.target, self.name, f"s3://{stored.bucket}/{stored.key}", "uploaded", "uploaded")
