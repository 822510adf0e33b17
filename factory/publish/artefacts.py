"""What is published: the image of a build with what its manifest says, or any image file."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from factory import disk, given_file, image_format, images
from factory.disk import Progress
from factory.errors import FactoryError, ImageRefused, PublishError, UsageError
from factory.files import touching
from factory.manifest import FINDINGS, MANIFEST, Manifest, read_manifest
from factory.publish import Artefact
from factory.publish.keys import readable

DOCUMENTS = (MANIFEST, FINDINGS, "SHA256SUMS")


def find(name: str, output: Path) -> Path:
    """The file, or the folder of the build, that *name* means: a path, a build id, or a recipe's name.

    The image in the folder of a build means that build.
    Raises UsageError when there is none; of a name that was meant as a file it says so.
    """
    path = Path(name)
    with contextlib.suppress(OSError, ValueError):  # which are told below
        if path.is_file():
            found = given_file.require(path)
            return path.parent if _is_of_a_build(found) else found
    try:
        return images.folder(name, output)
    except UsageError as error:
        if not given_file.looks_like_one(name):
            error.message += ", and no such file"
            raise
    return given_file.require(path)


def _is_of_a_build(image: Path) -> bool:
    """Whether the manifest beside *image* is of it: what a build says of its image counts by any name of it."""
    with contextlib.suppress(FactoryError):
        return (image.parent / MANIFEST).is_file() and read_manifest(image.parent).image.file == image.name
    return False


def of(place: Path, failure: type[FactoryError] = ImageRefused) -> Artefact:
    """The artefact at *place*, an image file or the folder of a build, without reading its bytes.

    The sha256 of an image file is empty until :func:`read`. A file that is no disk image, or one that refers to other
    files, is raised as *failure*.
    """
    return of_manifest(read_manifest(place), place) if place.is_dir() else _of_image(place, failure)


def read(artefact: Artefact, stage: Progress | None = None) -> Artefact:
    """*artefact* with the sha256 of its bytes. Raises PublishError when it is not the image that was tested."""
    with touching(artefact.image, "Reading an image"):
        modified = artefact.image.stat().st_mtime_ns
    digest = disk.sha256(artefact.image, stage)
    if artefact.sha256 and digest != artefact.sha256:
        raise PublishError(
            f"{artefact.image} is not the file that was built and tested",
            cause="Its sha256 differs from the one in manifest.json",
            hint="Build it again",
            code="publish.image-changed",
        )
    return replace(artefact, sha256=digest, modified=modified)


def of_manifest(document: Manifest, folder: Path) -> Artefact:
    """The image that *document* tells of, in *folder*; its bytes are not looked at."""
    boots = [boot.firmware for boot in document.boots]
    return Artefact(
        image=folder / document.image.file,
        sha256=document.image.sha256,
        size=document.image.size,
        name=document.recipe.name,
        version=document.recipe.version,
        format=document.image.format,
        virtual_size=document.image.virtual_size,
        architecture=document.architecture,
        build_id=document.build_id,
        digest=document.recipe.digest,
        description=document.recipe.description,
        uefi=not boots or "uefi" in boots,
        bios=not boots or "bios" in boots,
        boots=tuple(sorted(set(boots))),
        properties=document.properties,
        requirements=document.requirements,
        folder=folder,
    )


def _of_image(image: Path, failure: type[FactoryError]) -> Artefact:
    found = image_format.detect(image, failure=failure)
    return Artefact(
        image=image,
        sha256="",
        size=image.stat().st_size,
        name=readable(image.stem),
        format=found.name,
        virtual_size=found.virtual_size,
    )


def documents(artefact: Artefact) -> dict[str, bytes]:
    """What lies beside the image in the folder of its build, and goes with it; nothing for a bare image."""
    if artefact.folder is None:
        return {}
    with touching(artefact.folder, "Reading a build"):
        return {name: (artefact.folder / name).read_bytes() for name in DOCUMENTS if (artefact.folder / name).is_file()}
