"""What the tests of recipes share: a recipe that is right, and the faults of one that is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from factory.errors import Fault, RecipeError
from factory.recipe import Recipe, load_recipe

HEAD = "schema: 1\nname: web\nversion: 1.0.0\nbase: debian-12\n"
"""The four fields that every recipe needs; what a test adds begins on line 5."""

PUBLIC_KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawIsBBYJKwYBBAHaRw8BAQdAOJVwxMIJIZ91Uox/J41dtY1lKXP8k2mP/EdC
M7TUcZa0H1Rlc3QgYXJjaGl2ZSA8dGVzdEBleGFtcGxlLm9yZz6IkAQTFggAOBYh
BHoAcKCNRlaiafDWNeRPmO02mBo3BQJrAiwEAhsDBQsJCAcCBhUKCQgLAgQWAgMB
Ah4BAheAAAoJEORPmO02mBo3M2MA/iCUVPYJORlwkfNnAQN3knXkNSMectT2RbV6
cBcsGnddAQD2Q81BW4bctkc7ljVP9CgYkzAiKJkm6zRX40qdMtnAAw==
=zD4t
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "7A0070A08D4656A269F0D635E44F98ED36981A37"  # what gpg prints for it


def write(root: Path, text: str, files: Mapping[str, str | bytes] | None = None, name: str = "web") -> Path:
    """Write ``recipes/<name>.yaml`` below *root*, and *files* into the recipe's folder."""
    recipe = root / "recipes" / f"{name}.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(text, "utf-8")
    for path, content in (files or {}).items():
        file = recipe.with_suffix("") / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return recipe


def load(
    root: Path, more: str, files: Mapping[str, str | bytes] | None = None, settings: Mapping[str, str] | None = None
) -> Recipe:
    """The recipe made of HEAD and *more*."""
    write(root, HEAD + more, files)
    return load_recipe("web", settings=settings or {}, root=root)


def faults(
    root: Path, more: str, files: Mapping[str, str | bytes] | None = None, settings: Mapping[str, str] | None = None
) -> list[Fault]:
    """The faults of the recipe made of HEAD and *more*; none when it loads."""
    try:
        load(root, more, files, settings)
    except RecipeError as error:
        return list(error.faults)
    return []
