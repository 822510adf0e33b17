"""How an image reaches a target: the section ``transport`` of the target's YAML, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from factory import targets

LONGEST_LIFE = 604800  # seconds; signature version 4 knows no longer one

HANDING_OVER = 60  # seconds from signing a URL until the target has it


@dataclass(frozen=True)
class Transport:
    """Where a target's images are put and what its URLs have to keep to. Lives are in seconds."""

    target: str
    importer: str  # the module of this package that brings the image in
    endpoint: str = ""  # may hold {region}; empty: the one of the settings, else Amazon's own
    region: str = ""
    endpoint_regions: Mapping[str, str] = field(default_factory=dict)  # regions that have another name in the endpoint
    addressing: str = "auto"  # path, virtual or auto
    key_id_variable: str = ""  # of the environment; these two beat boto3's chain
    secret_variable: str = ""
    least_life: int = 1  # what the target demands of a URL
    longest_life: int = LONGEST_LIFE  # what its store signs

    @property
    def least_asked(self) -> int:
        """What a publication asks for at least: some of a URL's life is over when the target looks at it."""
        return self.least_life + HANDING_OVER if self.least_life > 1 else 1


def load(target: str) -> Transport:
    """The transport of *target*; one without such a section takes the image from any URL. Raises UsageError."""
    from factory.yamlfile import load_plain

    targets.load(target)  # says so when there is none
    data: dict[str, Any] = load_plain(targets.FOLDER / f"{target}.yaml").get("transport", {})
    life, credentials = data.get("url_life", {}), data.get("credentials", {})
    return Transport(
        target=target,
        importer=data.get("importer", "generic"),
        endpoint=data.get("endpoint", ""),
        region=data.get("region", ""),
        endpoint_regions=data.get("endpoint_regions", {}),
        addressing=data.get("addressing", "auto"),
        key_id_variable=credentials.get("key_id", ""),
        secret_variable=credentials.get("secret", ""),
        least_life=int(life.get("least", "1")),
        longest_life=int(life.get("longest", str(LONGEST_LIFE))),
    )
