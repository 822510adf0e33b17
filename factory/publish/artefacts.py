"""What is published: the image of a build with what its manifest says, or any image file."""

from __future__ import annotations

from pathlib import Path

from factory import disk, images
from factory.disk import Progress
from factory.errors import PublishError
from factory.manifest import FINDINGS, MANIFEST, Manifest, read_manifest
from factory.publish import Artefact

DOCUMENTS = (MANIFEST, FINDINGS, "SHA256SUMS")


def find(name: str, output: Path) -> Path:
    """The file, or the folder of the build, that *name* means: a path, a build id, or a recipe's name."""
    path = Path(name)
    return path if path.is_file() else images.folder(name, output)


def of(place: Path, stage: Progress | None = None) -> Artefact:
    """The artefact at *place*: an image file, or the folder of a build. Its bytes are read once, for their digest."""
    return of_build(place, stage) if place.is_dir() else of_image(place, stage)


def known(name: str, output: Path) -> Artefact:
    """The artefact that *name* means; of a build by its manifest alone, without reading the image."""
    place = find(name, output)
    return of_manifest(read_manifest(place), place) if place.is_dir() else of_image(place)


def target_of(artefact: Artefact) -> str:
    """The target that a build was made for, if there is just one; else ``generic``."""
    targets = read_manifest(artefact.folder).targets if artefact.folder else ()
    return targets[0] if len(targets) == 1 else "generic"


def of_build(folder: Path, stage: Progress | None = None) -> Artefact:
    """The image of a build. Raises PublishError when it is not the one that was tested."""
    document = read_manifest(folder)
    image = folder / document.image.file
    digest = disk.sha256(image, stage)
    if digest != document.image.sha256:
        raise PublishError(
            f"{image} is not the file that was built and tested",
            cause="Its sha256 differs from the one in manifest.json",
            hint="Build it again",
            code="publish.image-changed",
        )
    return of_manifest(document, folder)


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
        properties=document.properties,
        requirements=document.requirements,
        folder=folder,
    )


def of_image(image: Path, stage: Progress | None = None) -> Artefact:
    """Any image file. Raises BuildError when it is none, or one that refers to other files."""
    image_format = disk.detect_format(image)
    return Artefact(
        image=image,
        sha256=disk.sha256(image, stage),
        size=image.stat().st_size,
        name=image.stem,
        format=image_format,
        virtual_size=disk.info(image, image_format).virtual_size,
    )


def documents(artefact: Artefact) -> dict[str, bytes]:
    """What lies beside the image in the folder of its build, and goes with it; nothing for a bare image."""
    if artefact.folder is None:
        return {}
    return {name: (artefact.folder / name).read_bytes() for name in DOCUMENTS if (artefact.folder / name).is_file()}
