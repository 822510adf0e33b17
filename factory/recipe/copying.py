"""What a copy step puts into the guest, file by file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from factory.errors import Fault, RecipeError
from factory.recipe.files import FileFault, pieces
from factory.recipe.model import Recipe
from factory.recipe.steps import CopyStep
from factory.recipe.template import fill


@dataclass(frozen=True)
class Copied:
    """One file or folder in the guest. A folder that is there already keeps its owner and mode."""

    source: Path  # on this host, links resolved
    destination: str  # absolute, in the guest
    folder: bool
    mode: int
    template: bool

    def content(self, values: dict[str, str]) -> bytes:
        """The bytes of the file, with the *values* of variables in place when it is a template. OSError: unreadable."""
        data = self.source.read_bytes()
        return fill(data.decode("utf-8"), values).encode("utf-8") if self.template else data


def copied(recipe: Recipe, step: CopyStep) -> list[Copied]:
    """All that *step* copies, folders before what is in them. RecipeError when a file is gone since it was checked."""
    try:
        found = pieces(recipe.folder, step.source)
    except FileFault as fault:
        raise RecipeError([Fault(str(recipe.file), step.line, "", fault.message, fault.suggestion)]) from None
    top = step.destination.rstrip("/")
    return [
        Copied(
            piece.source,
            (f"{top}/{piece.path}" if piece.path else top) or "/",
            piece.folder,
            _mode(step.mode, piece.folder, piece.mode),
            step.template and not piece.folder,
        )
        for piece in found
    ]


def _mode(chosen: int | None, folder: bool, own: int) -> int:
    if chosen is None:
        return own
    return chosen | (chosen & 0o444) >> 2 if folder else chosen
