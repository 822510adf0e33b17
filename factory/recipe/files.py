"""The recipe's own files: found, kept inside its folder, and listed piece by piece for copying and for the digest.

Links are followed, and must stay inside the recipe's folder; what a copy takes from a file is its content and whether
its owner may execute it, so the result does not depend on the umask of a checkout.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from factory.quoting import escape, quote
from factory.recipe.kinds import did_you_mean
from factory.recipe.template import places

MAX_PIECES = 20_000
MAX_TEMPLATE = 4 << 20


class FileFault(Exception):
    """A file of the recipe that is missing or cannot be used; *message* continues the field's name."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


@dataclass(frozen=True)
class Piece:
    """One file or folder to copy: *path* is relative to what is copied, empty for the thing itself."""

    path: str
    source: Path  # where it really is, links resolved
    folder: bool
    mode: int  # 0o755 for folders and for what its owner may execute, else 0o644


def locate(folder: Path, name: str) -> Path:
    """The file or folder *name* of the recipe folder *folder*, links resolved. FileFault when it cannot be used."""
    path = folder / name
    try:
        real = Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:
        if path.is_symlink():
            raise FileFault(f"{quote(name)} is a link to nothing") from None
        raise FileFault(f"there is no {quote(name)} in {escape(folder.name)}/", _nearest(folder, name)) from None
    except OSError as error:
        raise FileFault(f"{quote(name)} cannot be read: {error.strerror}") from None
    if not real.is_relative_to(os.path.realpath(folder)):
        raise FileFault(f"{quote(name)} leads out of the recipe's folder", "put a copy of the file there")
    return real


def pieces(folder: Path, name: str) -> list[Piece]:
    """The file *name*, or the folder *name* and all in it, sorted by path. FileFault for what cannot be copied."""
    found: list[Piece] = []
    for piece in _walk(folder, name, ""):
        found.append(piece)
        if len(found) > MAX_PIECES:
            raise FileFault(f"{quote(name)} holds more than {MAX_PIECES} files", "pack it into an archive")
    return sorted(found, key=lambda piece: piece.path)


def read_regular(folder: Path, name: str, limit: int = MAX_TEMPLATE) -> bytes:
    """The content of the regular file *name*, at most *limit* bytes. FileFault otherwise."""
    path = locate(folder, name)
    if not path.is_file():
        raise FileFault(f"{quote(name)} is not a regular file")
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise FileFault(f"{quote(name)} cannot be read: {error.strerror}") from None
    if len(data) > limit:
        raise FileFault(f"{quote(name)} is larger than {limit >> 20} MiB")
    return data


def template_text(folder: Path, name: str) -> str:
    """The text of the template *name*. FileFault when it is not UTF-8 or larger than 4 MiB."""
    try:
        return read_regular(folder, name).decode("utf-8")
    except UnicodeDecodeError:
        raise FileFault(f"{quote(name)} is not UTF-8 text, so it cannot be a template") from None


def unknown_places(folder: Path, name: str, known: set[str]) -> Iterator[FileFault]:
    """A fault for each word between ``@`` in the template *name*, or in a file of that folder, that is not *known*.

    Each word once, where it first stands.
    """
    seen = set(known)
    for piece in pieces(folder, name):
        if piece.folder:
            continue
        shown = f"{name.rstrip('/')}/{piece.path}" if piece.path else name
        for word, line in places(template_text(folder, shown)):
            if word not in seen:
                seen.add(word)
                suggestion = did_you_mean(word, known) or "declare it under variables"
                yield FileFault(f"line {line} of {quote(shown)} has @{word}@, but no variable is called so", suggestion)


def _walk(folder: Path, name: str, path: str) -> Iterator[Piece]:
    shown = f"{name.rstrip('/')}/{path}" if path else name
    real = locate(folder, shown)
    try:
        status = real.stat()
        if stat.S_ISREG(status.st_mode):
            if not os.access(real, os.R_OK):
                raise FileFault(f"{quote(shown)} cannot be read: Permission denied")
            yield Piece(path, real, False, 0o755 if status.st_mode & stat.S_IXUSR else 0o644)
            return
        if not stat.S_ISDIR(status.st_mode):
            raise FileFault(f"{quote(shown)} is neither a file nor a folder")
        if path and (folder / shown).is_symlink():
            # Following it could go round in circles; a copy of the link could point anywhere in the guest.
            raise FileFault(f"{quote(shown)} is a link to a folder, which is not copied", "put a copy there")
        yield Piece(path, real, True, 0o755)
        for child in os.listdir(real):
            if not child.isprintable():
                raise FileFault(f"{quote(shown)} holds a file with a name that is not text: {quote(child)}")
            yield from _walk(folder, name, f"{path}/{child}" if path else child)
    except OSError as error:
        raise FileFault(f"{quote(shown)} cannot be read: {error.strerror}") from None


def _nearest(folder: Path, name: str) -> str:
    """The file in the recipe's folder whose path looks most like *name*."""
    known: list[str] = []
    for top, _, files in os.walk(folder):
        known += [str(Path(top, file).relative_to(folder)) for file in files]
        if len(known) > 500:
            break
    if not folder.is_dir():
        return f"the recipe's own files lie in {escape(folder.name)}/ beside it, and there is no such folder"
    return did_you_mean(name, known)
