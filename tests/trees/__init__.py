"""The files of a small healthy guest of each family: what a good image of that distribution has, and no more.

Each module has ``files() -> dict[path, Content]`` with absolute paths (see :func:`tests.guest_tree.plant`).
"""

from __future__ import annotations

import importlib

from tests.guest_tree import Content

FAMILIES = ("debian", "rhel", "suse", "alpine")


def files(family: str) -> dict[str, Content]:
    """A new copy of the files of *family*."""
    found: dict[str, Content] = dict(importlib.import_module(f"tests.trees.{family}").files())
    return found
