"""The images built here: the catalogue that ``factory images`` shows, read from the builds' manifests."""

from __future__ import annotations

import contextlib
import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.errors import FactoryError, UsageError
from factory.files import touching
from factory.given_file import near
from factory.manifest import Manifest, read_manifest

BUILD_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True)
class Image:
    """One build's output."""

    folder: Path
    manifest: Manifest
    latest: bool

    def row(self) -> list[str]:
        """The cells of the table."""
        document = self.manifest
        return [
            document.recipe.name,
            document.recipe.version,
            document.build_id,
            f"{document.image.size / 1e6:.0f} MB",
            ", ".join(boot.name for boot in document.boots) or "not booted",
            "latest" if self.latest else "",
        ]

    def as_dict(self) -> dict[str, Any]:
        """The same as data."""
        document = self.manifest
        return {
            "recipe": document.recipe.name,
            "version": document.recipe.version,
            "build_id": document.build_id,
            "directory": str(self.folder),
            "image": str(self.folder / document.image.file),
            "size": document.image.size,
            "sha256": document.image.sha256,
            "latest": self.latest,
        }


def builds(output: Path, recipe: str = "*") -> list[Image]:
    """Every whole build below *output* (of one *recipe*), by recipe and time; what cannot be read is left out."""
    found = []
    with touching(output, "Looking for builds"):
        folders = sorted(output.glob(f"{recipe}/*"))
    for folder in folders:
        if not BUILD_ID.fullmatch(folder.name) or folder.is_symlink():
            continue
        try:
            document = read_manifest(folder)
        except FactoryError:
            continue
        latest = (folder.parent / "latest").resolve() == folder.resolve()
        found.append(Image(folder, document, latest))
    return found


def show(build: str, output: Path) -> Manifest:
    """The manifest of *build*: a directory, a build id, or a recipe's name for its latest build."""
    return read_manifest(folder(build, output))


def folder(build: str, output: Path) -> Path:
    """The folder of *build*: a directory, a build id, or a recipe's name for its latest build."""
    with contextlib.suppress(OSError, ValueError):  # what cannot be the name of a file is no build either
        ids = f"*/{glob.escape(build)}"
        places = [Path(build), output / build / "latest", *output.glob(ids)] if build.strip("./") else []
        for place in places:
            if (place / "manifest.json").is_file():
                return place
    raise UsageError(
        f"there is no build {build!r} below {output}",
        cause=_near(build, output),
        hint="'factory images list' shows them",
        code="usage.no-such-build",
    )


def _near(build: str, output: Path) -> str:
    """What is there instead: a folder that is no build, or the recipe or build id that is nearest to *build*."""
    with contextlib.suppress(OSError, ValueError):
        if Path(build).is_dir():
            return f"{build} is a folder without a manifest.json"
        found = [path for path in output.glob("*/*") if BUILD_ID.fullmatch(path.name) and not path.is_symlink()]
        if mine := sorted(path.name for path in found if path.parent.name == build):
            return f"{output / build / 'latest'} leads to no build; the newest one there is {mine[-1]}"
        return near(build, {path.name for path in found} | {path.parent.name for path in found})
    return ""
