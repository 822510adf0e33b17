"""Entries by the Boot Loader Specification: ``loader/entries/*.conf``, as GRUB's blscfg and systemd-boot read them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.inspection import Absent

if TYPE_CHECKING:
    from factory.inspection import Image

LIMIT = 1 << 16  # bytes of one entry


@dataclass(frozen=True)
class BlsEntry:
    """One file. *lines* has the line of each key; paths are as written, from the top of the partition."""

    path: str
    partition: int | None
    id: str
    title: str
    version: str
    linux: str
    initrds: tuple[str, ...]
    options: tuple[str, ...]
    lines: Mapping[str, int]


def entries(
    image: Image, folder: str, partition: int | None, variables: Mapping[str, str] | None = None
) -> list[BlsEntry]:
    """The entries in *folder*, in the order of the menu. With *variables*, as GRUB: ``$name`` is expanded."""
    try:
        names = [name for name in image.listdir(folder, partition=partition) if name.endswith(".conf")]
    except Absent:
        return []
    found = []
    for name in names:
        try:
            text = os.fsdecode(image.read(f"{folder}/{name}", partition=partition, limit=LIMIT))
        except Absent:
            continue  # a link to nothing
        found.append(_entry(f"{folder}/{name}", partition, name.removesuffix(".conf"), text, variables))
    return sorted(found, key=lambda entry: version_key(entry.id), reverse=True)


def version_key(text: str) -> list[tuple[int, int, str]]:
    """Sorts as rpm and systemd compare versions: numbers as numbers, and above words; ``~`` below everything."""
    parts = re.findall(r"~|\d+|[A-Za-z]+", text)
    return [
        (-1, 0, "") if part == "~" else (2, int(part), "") if part.isdigit() else (1, 0, part) for part in parts
    ] + [(0, 0, "")]


def _entry(path: str, partition: int | None, name: str, text: str, variables: Mapping[str, str] | None) -> BlsEntry:
    values: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key, _, value = line.strip().partition(" ")
        key, _, more = key.partition("\t")
        if not key or key.startswith("#"):
            continue
        value = f"{more} {value}".strip()
        if variables is not None:
            value = re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], ""), value)
        values.setdefault(key, []).append(value)
        lines.setdefault(key, number)
    return BlsEntry(
        path=path,
        partition=partition,
        id=name,
        title=" ".join(values.get("title", [])),
        version=" ".join(values.get("version", [])),
        linux=(values.get("linux") or values.get("efi") or values.get("uki") or [""])[-1],
        initrds=tuple(word for value in values.get("initrd", []) for word in value.split()),
        options=tuple(word for value in values.get("options", []) for word in value.split()),
        lines=lines,
    )
