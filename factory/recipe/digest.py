"""The digest of a recipe: what it means and the content of every file it uses.

Comments, the order of keys, ``4GiB`` or ``4096MiB``, a default that is written out: none of them changes it. A file's
content does, and whether it is executable. The values of secret variables never enter it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from factory.errors import Fault, RecipeError
from factory.recipe.files import FileFault, pieces
from factory.recipe.model import Recipe
from factory.recipe.steps import CopyStep, ShellStep


def digest(recipe: Recipe) -> str:
    """sha256 in 64 hex digits. RecipeError when a file that the recipe uses is gone."""
    meaning = recipe.model_dump(mode="json", by_alias=True)
    meaning["values"] = {name: value for name, value in recipe.values.items() if name not in recipe.secret_names}
    meaning["files"] = {name: file_digest(recipe, name, line) for name, line in sorted(used(recipe))}
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def used(recipe: Recipe) -> set[tuple[str, int]]:
    """Every file or folder that the recipe uses, with the line that names it (0 for a repository's key)."""
    names = {(repository.key, 0) for repository in recipe.repositories if repository.key}
    for step in recipe.provision:
        if isinstance(step, CopyStep):
            names.add((step.source, step.line))
        elif isinstance(step, ShellStep) and step.script:
            names.add((step.script, step.line))
    return names


def file_digest(recipe: Recipe, name: str, line: int = 0) -> str:
    """sha256 over the paths, modes and contents of the file or folder *name* in the recipe's folder."""
    total = hashlib.sha256()
    try:
        for piece in pieces(recipe.folder, name):
            content = "folder" if piece.folder else _content_digest(piece.source)
            total.update(json.dumps([piece.path, piece.mode, content]).encode() + b"\n")
    except FileFault as fault:
        raise RecipeError([Fault(str(recipe.file), line, "", fault.message, fault.suggestion)]) from None
    return total.hexdigest()


def _content_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileFault(f"{path.name} cannot be read: {error.strerror}") from None
