"""The digest: where the build recorded the file's sha256, it is still that of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from factory import disk
from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.inspection import Unreadable


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    path = looked.archive.path if looked.archive is not None else looked.file.path
    recorded = {**_sums(path), **_manifest(path)}
    if not recorded:
        raise NotApplicable("no SHA256SUMS and no manifest.json beside the file name it")
    if looked.sha256 is None:
        raise Unreadable(f"the file has {path.stat().st_size} bytes, and one of that size is not read for its digest")
    found = looked.sha256 or disk.sha256(path)
    for source, digest in recorded.items():
        if digest != found:
            yield Problem("image", f"{source} says sha256 {digest}, and the file has {found}")
    yield Note(f"sha256 {found}, as {' and '.join(recorded)} say")


def _sums(path: Path) -> dict[str, str]:
    try:
        lines = (path.parent / "SHA256SUMS").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    named = [words[0] for line in lines if (words := line.split()) and words[-1].lstrip("*") == path.name]
    return {"SHA256SUMS": named[0]} if named else {}


def _manifest(path: Path) -> dict[str, str]:
    try:
        image = json.loads((path.parent / "manifest.json").read_text("utf-8"))["image"]
        return {"manifest.json": str(image["sha256"])} if image["file"] == path.name else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
