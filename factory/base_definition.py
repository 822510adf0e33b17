"""Definitions of base images: the entries of ``bases/catalogue.yaml``, and disk images of this host."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from factory.errors import UsageError
from factory.yamlfile import load_plain

FORMAT = 1  # part of every cache key: raise it when all bases must be made again
FOLDER = Path(__file__).with_name("bases")
CATALOGUE = FOLDER / "catalogue.yaml"
DAY = 24 * 3600
MAX_AGE = 7 * DAY  # seconds
SCRATCH_SIZE = 2 * 1024**3  # bytes of the virtual disk of a base that is made here; a build's overlay is larger
NOT_THE_IMAGE = {"title", "verified", "max_age", "pin", "keyrings", "key_package", "path"}
"""Fields that do not decide what the image is, and so are not part of the cache key."""


@dataclass(frozen=True)
class Definition:
    """What a base is. *max_age* is in seconds, None for never; *pin* is the sha256 that the recipe insists on."""

    name: str
    kind: str
    title: str = ""
    architecture: str = "x86_64"
    distribution: str = ""
    release: str = ""
    suite: str = ""
    default_user: str = ""
    boot: tuple[str, ...] = ()
    max_age: float | None = MAX_AGE
    url: str = ""
    sha256: str = ""
    sha512: str = ""
    checksums: str = ""
    signature: str = ""
    image: str = ""
    fingerprint: str = ""
    keyrings: tuple[str, ...] = ()
    key_package: str = ""
    verified: str = ""
    path: Path | None = None
    pin: str = ""

    @property
    def size(self) -> int:
        """Bytes of its virtual disk, 0 when that is not known before the base is there."""
        return SCRATCH_SIZE if self.kind == "scratch" else 0

    @property
    def key(self) -> str:
        """The name of this definition in the cache: its own name and what decides the image."""
        module = kind_module(self.kind)
        meaning = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in NOT_THE_IMAGE}
        more = module.identity(self) if hasattr(module, "identity") else []
        text = json.dumps([FORMAT, getattr(module, "FORMAT", 1), meaning, more], sort_keys=True)
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip("-.")[:60] or "file"
        return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def kinds() -> list[str]:
    """The kinds of base: the modules of this folder."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def names() -> list[str]:
    """The names in the catalogue, in its order."""
    return [definition.name for definition in catalogue()]


@functools.cache
def catalogue() -> tuple[Definition, ...]:
    """All entries of the catalogue."""
    entries = load_plain(CATALOGUE)["bases"]
    return tuple(_definition(name, entry) for name, entry in entries.items())


def resolve(reference: str, recipe_folder: Path | None = None) -> Definition:
    """The definition that a recipe's ``base:`` means: a name, ``name@sha256:<digest>``, or a path to a disk image.

    A relative path is looked for in *recipe_folder*, in the folder above it (where the recipe itself lies), and in
    the current folder. Raises UsageError, with the nearest names when the name is unknown.
    """
    name, marked, pin = reference.partition("@sha256:")
    if marked or ("@" in name and "/" not in name):
        name = name.partition("@")[0] if not marked else name
        pin = pin.lower()
    if (marked or name != reference) and not re.fullmatch(r"[0-9a-f]{64}", pin):
        raise UsageError(
            f"the base {reference!r} is pinned in a way that is not known",
            hint=f"Write {name or 'NAME'}@sha256: and 64 hex digits; 'factory bases list' shows them",
            code="base.pin",
        )
    known = {definition.name: definition for definition in catalogue()}
    if name in known:
        return replace(known[name], pin=pin)
    if "/" in name or Path(name).suffix in (".qcow2", ".img", ".raw") or name.startswith("~"):
        path = _find(name, recipe_folder)
        return Definition(name=name, kind="file", title=str(path), path=path, max_age=None, pin=pin)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    raise UsageError(
        f"there is no base {name!r}",
        cause=f"Perhaps {' or '.join(near)} was meant" if near else "",
        hint=f"Known are {', '.join(known)}; a path to a disk image has a / in it",
        code="base.unknown",
    )


def kind_module(kind: str) -> ModuleType:
    """The module that makes bases of this *kind*; heavy libraries come with it."""
    if kind not in kinds():
        raise UsageError(f"there is no kind of base {kind!r}", hint=f"Known are {', '.join(kinds())}", code="base.kind")
    return importlib.import_module(f"factory.bases.{kind}")


def _find(name: str, recipe_folder: Path | None) -> Path:
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - an unknown ~user stays as it is, and nothing is raised
    folders = [recipe_folder, recipe_folder.parent] if recipe_folder else []
    places = [folder / path for folder in (*folders, Path.cwd())] if not path.is_absolute() else [path]
    for place in places:
        if os.path.isfile(place):  # noqa: PTH113 - unlike Path.is_file, no name makes it raise
            return place.resolve()
    raise UsageError(
        f"the base {name} is not there",
        cause="Looked for " + ", ".join(dict.fromkeys(str(place) for place in places)),
        hint="Check the path; a base of the catalogue is named without a / ('factory bases list')",
        code="usage.no-such-file",
    )


def _definition(name: str, entry: Mapping[str, Any]) -> Definition:
    """An entry of the catalogue. Raises UsageError on anything unknown, so that a typo in it cannot hide."""
    values = dict(entry)
    age_text = values.pop("max_age", None)
    if unknown := values.keys() - {item.name for item in fields(Definition)} | values.keys() & {"name", "path", "pin"}:
        raise UsageError(f"{CATALOGUE.name}: {name} has an unknown {', '.join(sorted(unknown))}", code="base.catalogue")
    for listed in ("boot", "keyrings"):
        values[listed] = tuple(values.get(listed, ()))
    if age_text is not None:
        days = re.fullmatch(r"(\d+) days?", age_text)
        if not days and age_text != "never":
            raise UsageError(f"{CATALOGUE.name}: {name}: max_age is 'never' or '7 days'", code="base.catalogue")
        values["max_age"] = int(days[1]) * DAY if days else None
    return Definition(name=name, **values)


def age(seconds: float) -> str:
    """*seconds* in words: ``40 minutes``, ``5 hours``, ``9 days``."""
    for size, unit in ((DAY, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return "less than a minute"
