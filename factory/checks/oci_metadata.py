"""The metadata of an .oci archive: fields, types and words as OCI reads them; it silently ignores what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from factory.checks import Looked, NotApplicable, Note, Problem, Rule

SUBJECT = "image_metadata.json"
WORDS = {
    "firmware": ("BIOS", "UEFI_64"),
    "networkType": ("PARAVIRTUALIZED", "VFIO", "E1000", "ACCELERATEDPV"),
    "bootVolumeType": ("PARAVIRTUALIZED", "ISCSI", "SCSI", "IDE", "VFIO", "NVME"),
    "remoteDataVolumeType": ("PARAVIRTUALIZED", "ISCSI", "SCSI", "IDE", "VFIO", "NVME"),
    "localDataVolumeType": ("PARAVIRTUALIZED", "ISCSI", "SCSI", "IDE", "VFIO", "NVME"),
    "launchOptionsSource": ("PARAVIRTUALIZED", "NATIVE", "CUSTOM", "EMULATED", "ACCELERATEDPV"),
}
TYPES = {"pvAttachmentVersion": int, "pvEncryptionInTransitEnabled": bool, "consistentVolumeNamingEnabled": bool}


def read(data: bytes) -> dict[str, Any]:
    """The metadata as a mapping. Raises ValueError when it is none."""
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def launch_options(looked: Looked) -> dict[str, Any]:
    """The externalLaunchOptions of an archive's metadata; empty where none can be read."""
    try:
        data = read(looked.archive.metadata) if looked.archive and looked.archive.metadata is not None else {}
    except (ValueError, RecursionError):
        return {}
    options = data.get("externalLaunchOptions")
    return options if isinstance(options, dict) else {}


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if looked.archive is None or looked.archive.metadata is None:
        raise NotApplicable("there is no image_metadata.json")
    try:
        data = read(looked.archive.metadata)
    except (ValueError, RecursionError) as error:
        yield Problem(SUBJECT, f"{SUBJECT} cannot be read: {error}")
        return
    version = data.get("version")
    if type(version) is not int or version != 2:
        yield Problem(SUBJECT, f"version is {json.dumps(version)}, not the number 2")
    options = data.get("externalLaunchOptions")
    if not isinstance(options, dict):
        yield Problem(SUBJECT, "externalLaunchOptions is no object")
        options = {}
    else:
        for name, words in WORDS.items():
            if options.get(name) not in words:
                yield Problem(SUBJECT, f"{name} is {json.dumps(options.get(name))}, none of {', '.join(words)}")
        for name, kind in TYPES.items():
            if type(options.get(name)) is not kind:
                yield Problem(SUBJECT, f"{name} is {json.dumps(options.get(name))}, no {kind.__name__}")
    capabilities = data.get("imageCapabilityData")
    if capabilities is not None and not _is_json_text(capabilities):
        yield Problem(SUBJECT, "imageCapabilityData is neither null nor JSON in a string")
    more = data.get("additionalMetadata")
    shapes = more.get("shapeCompatibilities") if isinstance(more, dict) else None
    if not isinstance(shapes, list):
        yield Problem(SUBJECT, "additionalMetadata.shapeCompatibilities is no list")


def _is_json_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False
