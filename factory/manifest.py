"""What a build says of itself: ``manifest.json`` and ``findings.json``, as models, as JSON Schema and as files.

Both carry ``schema: 1``. Fields may be added within a schema number, none is renamed or removed; readers ignore what
they do not know. No secret and no presigned URL ever enters them: the writer looks, and refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from factory.errors import BuildError, UsageError
from factory.files import write_whole
from factory.findings import Digest, Findings, Model, Summary
from factory.redact import Redactor

if TYPE_CHECKING:
    from factory.console.stage import StageRecord

Document = TypeVar("Document", bound=Model)

MANIFEST, FINDINGS = "manifest.json", "findings.json"

Moment = Annotated[
    AwareDatetime,
    AfterValidator(lambda moment: moment.astimezone(UTC)),
    Field(description="UTC, ISO 8601"),
]

# What makes a URL a bearer secret: the signatures of S3 (both versions), OCI, GCS and Azure, and a password in it.
_BEARER = re.compile(
    r"[?&;](?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId|sig)="
    r"|https?://[^/\s@:]+:[^/\s@]+@"
    r"|objectstorage\.[^/\s]+/p/",
    re.IGNORECASE,
)


class RecipeEntry(Model):
    """The recipe: *digest* is over its meaning and the content of all its files, *file* its name in the checkout."""

    name: str
    version: str
    digest: Digest
    file: str = ""
    description: str = ""


class BaseEntry(Model):
    """The base image, with the digest that its name was resolved to."""

    name: str
    digest: Digest
    kind: str = Field(description="scratch, download or file")
    created: Moment | None = None
    distribution: str = ""
    kernel: str = ""
    older_packages: tuple[str, ...] = Field((), description="versions of the release that the mirror lacked")


class StageEntry(Model):
    """One stage: *path* is its name below those of its parents, *why* the reason of the cache hit or miss."""

    name: str
    path: str
    key: str = Field("", description="what its result depends on, as a digest; empty when it is not cached")
    cache: Literal["hit", "miss", "none"] = "none"
    why: str = ""
    expires: Moment | None = Field(None, description="when what it fetched is too old; null: never, or not told")
    start: Moment
    end: Moment
    seconds: NonNegativeFloat
    state: Literal["ok", "failed", "cached", "skipped"]

    @classmethod
    def of(
        cls,
        record: StageRecord,
        *,
        key: str = "",
        cache: Literal["hit", "miss", "none"] = "none",
        why: str = "",
        expires: float | None = None,
    ) -> StageEntry:
        """The entry of a stage of the console's timeline; its note is the *why* when none is given.

        *expires* is in seconds since 1970.
        """
        return cls.model_validate(
            {
                "name": record.name,
                "path": record.path,
                "key": key,
                "cache": "hit" if record.state == "cached" and cache == "none" else cache,
                "why": why or record.note,
                "expires": None if expires is None else datetime.fromtimestamp(expires, UTC),
                "start": record.start,
                "end": record.end,
                "seconds": record.seconds,
                "state": record.state,
            }
        )


class PackageEntry(Model):
    """A package that is installed in the image."""

    name: str
    version: str
    architecture: str = ""


class ImageEntry(Model):
    """The artefact: *file* is its name in the build directory, sizes are in bytes."""

    file: str = Field(pattern=r"^[^/]+$")
    format: str
    size: NonNegativeInt = Field(description="bytes of the file")
    virtual_size: NonNegativeInt = Field(description="bytes of the disk that a guest sees")
    sha256: Digest
    compression: str = Field("", description="zlib, zstd, or empty for none")


class BootEntry(Model):
    """One boot test of the image; all times are in seconds."""

    name: str
    firmware: Literal["bios", "uefi"]
    bus: str = Field(description="how the disk is attached: virtio-blk, virtio-scsi, ...")
    datasource: str = Field(description="what fed cloud-init: NoCloud, ConfigDrive, ...")
    seconds: NonNegativeFloat = Field(description="the whole boot test")
    state: Literal["ok", "failed"] = "ok"
    login_seconds: NonNegativeFloat | None = Field(None, description="from power-on to the first login")
    reboot_seconds: NonNegativeFloat | None = Field(
        None, description="from the reboot to the next login, if there was one"
    )
    accelerator: str = ""
    console: str = Field("", description="the file with what the guest's serial console printed")


class PublicationEntry(Model):
    """Where the image was published, without any URL that would let it be fetched."""

    target: str
    name: str = Field("", description="the name of the image in the cloud")
    id: str = Field("", description="the cloud's id of it; empty when it was uploaded only")
    status: str = Field("", description="the cloud's word for how far it is")
    how: str = Field("", description="imported, adopted (an earlier run began it), skipped (it was there) or uploaded")
    api: str = ""
    endpoint: str = Field("", description="the object storage; empty when nothing had to be uploaded")
    bucket: str = ""
    key: str = ""
    sha256: Digest
    moment: Moment


class ChecksEntry(Model):
    """What the recipe lets the checks pass, so that a publication to another target lets the same pass."""

    ignore: dict[str, str] = Field(default_factory=dict, description="rules that may be broken, each with the reason")
    allow_users: tuple[str, ...] = Field((), description="accounts beside the distribution's own")
    required_disk: NonNegativeInt = Field(0, description="bytes of disk that an instance has at least; 0: not told")


class Manifest(Model):
    """``manifest.json``: how an image came to be."""

    schema_: Literal[1] = Field(1, alias="schema")
    factory: str = Field(description="version of the factory")
    build_id: str = Field(pattern=r"^\d{8}T\d{6}Z-[0-9a-f]{8}$")
    key: str = Field(
        "", description="what was asked for, as a digest: the recipe with its files and variables, targets"
    )
    architecture: str
    recipe: RecipeEntry
    base: BaseEntry
    started: Moment
    ended: Moment
    accelerator: str = Field(description="kvm or tcg")
    tools: dict[str, str] = Field(default_factory=dict, description="versions of the programs and libraries used")
    stages: tuple[StageEntry, ...] = ()
    packages: tuple[PackageEntry, ...] = ()
    image: ImageEntry
    targets: tuple[str, ...] = ()
    requirements: dict[str, NonNegativeInt] = Field(
        default_factory=dict, description="the least a machine needs: vcpus, and memory and disk in bytes"
    )
    checks: ChecksEntry | None = Field(None, description="what the recipe lets the checks pass; null: not told")
    findings: Summary = Field(default_factory=lambda: Summary.model_validate({}))
    boots: tuple[BootEntry, ...] = ()
    boot_test: Literal["full", "quick", "none"] = Field("none", description="how much was booted")
    properties: dict[str, str] = Field(
        default_factory=dict, description="what the recipe says of itself, for catalogues"
    )
    publication: PublicationEntry | None = Field(None, description="where it was published last; null when nowhere")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ended < self.started:
            raise ValueError("it ended before it started")
        return self


def json_schema(document: Literal["manifest", "findings"]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document, for editors and readers.

    It allows unknown fields, because a later factory may add some.
    """
    model: type[Model] = Manifest if document == "manifest" else Findings
    schema: dict[str, Any] = _open(model.model_json_schema(by_alias=True, mode="serialization"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _open(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: _open(value) for key, value in schema.items() if not (key == "additionalProperties" and value is False)
        }
    return [_open(value) for value in schema] if isinstance(schema, list) else schema


def text(document: Manifest | Findings) -> str:
    """The document as JSON, indented, with a last newline."""
    return json.dumps(document.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def write(path: Path, document: Manifest | Findings, *, secrets: Iterable[str] = ()) -> None:
    """Write *document* to *path*, whole or not at all.

    Raises BuildError when one of *secrets*, or a URL that carries its own permission, stands in it, and HostError when
    the file cannot be written.
    """
    redactor = Redactor()
    for secret in secrets:
        redactor.add(secret)
    for field, value in _texts(document.model_dump(mode="json"), ""):
        secret_shows = redactor(value) != value
        if secret_shows or _BEARER.search(value):
            kind = "a secret" if secret_shows else "a URL that carries its own permission"
            raise BuildError(
                f"{path.name} would hold {kind}, in its field {field}",
                cause="What a step printed, or what the recipe says of itself, repeats it",
                hint="Keep it out of names, descriptions and properties; declare such a variable with 'secret: true'",
                code="manifest.secret",
            )
    write_whole(path, text(document).encode("utf-8", "replace"))


def _texts(value: Any, field: str) -> Iterator[tuple[str, str]]:
    """Every text in a document, with the path of its field; a name comes before what it names, so it never shows."""
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"{field} (a name)", key
            yield from _texts(inner, f"{field}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{field}[{number}]")


def read_manifest(path: Path) -> Manifest:
    """The manifest in the file *path*, or in the build directory *path*. Raises UsageError when it is none."""
    return _read(path / MANIFEST if path.is_dir() else path, Manifest)


def read_findings(path: Path) -> Findings:
    """The findings in the file *path*, or in the build directory *path*. Raises UsageError when they are none."""
    return _read(path / FINDINGS if path.is_dir() else path, Findings)


def _read(path: Path, model: type[Document]) -> Document:
    try:
        return model.model_validate_json(path.read_bytes(), extra="ignore")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read",
            cause=error.strerror or "",
            hint="Name a build directory",
            code="manifest.unreadable",
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path} is not a {model.__name__.lower()} file of this factory",
            cause=f"{place}: {first['msg']}" if place else first["msg"],
            hint="It was changed by hand, is incomplete, or comes from a newer factory",
            code="manifest.invalid",
        ) from error
