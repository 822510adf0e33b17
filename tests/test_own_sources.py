"""The factory's own sources: what works in a guest before it is scrubbed, and so decides what its layers hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from factory.own_sources import IN_THE_GUEST, PACKAGE

OF_NO_EFFECT_IN_THE_GUEST = {
    *("canaries.py", "console/__init__.py", "errors.py", "scrub/__init__.py"),  # told, looked for or done afterwards
    *("disk.py", "hypervisor/fresh.py", "hypervisor/machine.py", "preflight.py"),  # the machine's form is in the keys
    *("layers/__init__.py", "layers/layering.py"),  # LAYER_FORMAT stands for them
    *("files.py", "http.py", "login.py", "quoting.py", "settings.py"),  # how something is reached or read, not what
    "renewal/way_in.py",  # it only asks
    "apt_sources.py",  # which mirror is asked: what it gives counts for a day
    *("recipe/kinds.py", "recipe/model.py", "recipe/steps.py"),  # the values that they read are in the keys
}


def test_what_works_in_the_guest_is_all_in_the_keys_of_layers() -> None:
    named = {file for part in IN_THE_GUEST for file in files(part)}
    used = {other for file in named for other in imports(file)} - named
    assert {str(file.relative_to(PACKAGE)) for file in used} == OF_NO_EFFECT_IN_THE_GUEST


def files(part: str) -> list[Path]:
    place = PACKAGE / part
    found = [place] if place.is_file() else list(place.rglob("*.py"))
    assert found, f"{part} is not there"
    return found


def imports(file: Path) -> Iterator[Path]:
    """The files of the factory that *file* takes something from when it runs."""
    tree = ast.parse(file.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in for_types:
            for alias in node.names:
                if found := origin(node.module or "", alias.name):
                    yield found


def origin(module: str, name: str) -> Path | None:
    """Where *name* of *module* is written down; None when that is not a file of the factory."""
    top, *words = module.split(".")
    if top != PACKAGE.name:
        return None
    if file := source([*words, name]):
        return file
    file = source(words)
    if file and file.name == "__init__.py" and words:  # which may only hand it on
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
                return origin(node.module or "", name)
    return file if words else None


def source(words: list[str]) -> Path | None:
    place = PACKAGE.joinpath(*words)
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)
