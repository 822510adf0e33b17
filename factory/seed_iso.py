"""A small ISO 9660 image with Rock Ridge and Joliet names: the form in which a guest gets its seed."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from factory.errors import BuildError
from factory.files import touching

if TYPE_CHECKING:
    import pycdlib


def write_iso(path: Path, label: str, files: Mapping[str, str]) -> None:
    """Write *files* (path inside -> text) to an ISO at *path* with the volume *label*; its mode is 0600.

    An older file is replaced in one step; a write that fails leaves nothing and raises HostError, or BuildError for
    what no ISO can hold. The same seed gives the same bytes but for the time stamps, which pycdlib takes from the
    clock.
    """
    import pycdlib
    from pycdlib.pycdlibexception import PyCdlibException

    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    iso = pycdlib.PyCdlib()
    try:
        iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=label)
        _fill(iso, files)
        with touching(path, "Writing a seed"):
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                iso.write_fp(stream)
            os.replace(beside, path)
    except PyCdlibException as error:
        raise BuildError(f"The seed {path} cannot be written", cause=str(error), code="seed.write") from error
    finally:
        beside.unlink(missing_ok=True)
    iso.close()


def _fill(iso: pycdlib.PyCdlib, files: Mapping[str, str]) -> None:
    """Add *files* with their folders; only root may read them in the guest."""
    made: dict[str, str] = {"": ""}  # path inside -> its ISO 9660 path

    def folder(path: str) -> str:
        if path not in made:
            above, _, name = path.rpartition("/")
            made[path] = f"{folder(above)}/{_iso_name(name)}"
            iso.add_directory(made[path], rr_name=name, joliet_path=f"/{path}", file_mode=0o040500)
        return made[path]

    for path, text in files.items():
        above, _, name = path.rpartition("/")
        data = text.encode("utf-8")
        iso_path = f"{folder(above)}/{_iso_name(name)}.;1"
        iso.add_fp(BytesIO(data), len(data), iso_path, rr_name=name, joliet_path=f"/{path}", file_mode=0o100400)


def _iso_name(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())
