"""What a target's YAML may say: the cloud's demands on an image file, and its rules. YAML scalars are texts."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from factory.findings import Severity

RULE_ID = r"^[A-Z][A-Z0-9]*(-[A-Z0-9]+)*$"


def size(text: object) -> object:
    """``20GB`` in bytes: clouds count in powers of ten or of two, and the file says which (GB, GiB)."""
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(i?)B?", text)
    if not match:
        raise ValueError(f"{text!r} is no size")
    factor: int = (1024 if match[3] else 1000) ** " KMGT".index(match[2] or " ")
    return int(match[1]) * factor


Bytes = Annotated[int, BeforeValidator(size), Field(ge=0)]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Data):
    """One rule of a target: which check, with which parameters, how grave, why, and what mends it.

    *fix* may hold ``{subject}``, which becomes the finding's subject, quoted for a shell. *covers* are other names of
    the same rule. Texts of *parameters* are as written in the YAML; a check turns them into numbers.
    """

    id: Annotated[str, Field(pattern=RULE_ID)]
    check: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="a module of factory/checks")]
    title: Annotated[str, Field(min_length=8, description="what holds when the rule is kept")]
    severity: Severity
    why: Annotated[str, Field(min_length=8)]
    fix: Annotated[str, Field(min_length=8, description="the command that mends it, or what to do")]
    source: Annotated[str, Field(min_length=4)]
    verified_on: Date
    parameters: dict[str, Any] = {}
    covers: tuple[str, ...] = ()


class Change(_Data):
    """What a target changes of a rule that it shares with the others; what is not named stays."""

    severity: Severity | None = None
    parameters: dict[str, Any] | None = None  # merged over the rule's own
    why: str | None = None
    fix: str | None = None
    source: str | None = None
    verified_on: Date | None = None


class Limits(_Data):
    """Sizes in bytes; 0 is no limit."""

    file_size: Bytes = 0
    virtual_size: Bytes = 0
    size_multiple: Bytes = 0  # of the virtual disk


class Target(_Data):
    """A cloud's demands on the image. The first of *formats* is what a build makes."""

    name: str
    title: str
    source: str
    verified_on: Date
    formats: Annotated[tuple[str, ...], Field(min_length=1)]
    containers: tuple[Literal["oci", "tar.gz", "ova"], ...] = ()  # archives that it takes
    compression: str = "zlib"
    architectures: tuple[str, ...] = ("x86_64",)
    firmware: tuple[Literal["bios", "uefi"], ...] = ("bios", "uefi")
    datasources: tuple[str, ...] = ()
    firewall: Literal["disabled", "enabled", "any"] = "any"
    limits: Limits = Limits()
    transport: dict[str, Any] = {}  # how images get there: read by publishing
    rules: dict[str, Any] = {}  # a Change, ``off``, or a whole Rule of this cloud alone

    @property
    def format(self) -> str:
        """The format that a build makes for it."""
        return self.formats[0]

    @property
    def file_size(self) -> int:
        """The largest image file that it takes, in bytes; 0 is no limit."""
        return self.limits.file_size

    @property
    def virtual_size(self) -> int:
        """The largest disk that it takes, in bytes; 0 is no limit."""
        return self.limits.virtual_size
