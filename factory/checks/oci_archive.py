"""The .oci archive: a tar of one qcow2 and image_metadata.json, and nothing that leaves its folder."""

from __future__ import annotations

from collections.abc import Iterator

from factory.archive import METADATA
from factory.checks import Looked, NotApplicable, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    archive = looked.archive
    if archive is None or archive.kind != "oci":
        raise NotApplicable("it is no .oci archive")
    for fault in archive.faults:
        yield Problem("image", fault)
    disks = [name for name in archive.disks if name.lower().endswith(".qcow2")]
    if len(disks) != 1:
        yield Problem("image", f"it holds {len(disks)} qcow2 images, not one")
    if METADATA not in archive.names:
        yield Problem("image", f"it holds no {METADATA}")
    for name in archive.names:
        if name not in (METADATA, *disks):
            yield Problem("image", f"it holds {name} beside the image and its metadata")
    yield Note(f"{' and '.join(archive.names)}")
