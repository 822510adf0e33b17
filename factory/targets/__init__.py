"""Targets: what each cloud takes, as data: one YAML file a cloud."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from factory.errors import UsageError

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Target:
    """A cloud's demands on the image file. Sizes in bytes; 0 is no limit."""

    name: str
    title: str
    format: str
    compression: str
    file_size: int
    virtual_size: int
    source: str


def names() -> list[str]:
    """The targets there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Target:
    """The target *name*; raises UsageError when there is none."""
    from factory.yamlfile import load_plain

    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        raise UsageError(
            f"there is no target {name!r}",
            cause=f"Did you mean {near[0]}?" if near else "",
            hint=f"Known are {', '.join(names())}",
            code="usage.target",
        )
    data = load_plain(FOLDER / f"{name}.yaml")
    limits = data.get("limits", {})
    return Target(
        name=name,
        title=data["title"],
        format=data["format"],
        compression=data["compression"],
        file_size=_decimal_size(limits.get("file_size", "0")),
        virtual_size=_decimal_size(limits.get("virtual_size", "0")),
        source=data["source"],
    )


def _decimal_size(text: str) -> int:
    """``20GB`` in bytes: clouds count in powers of ten or of two, and the file says which (GB, GiB)."""
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(i?)B?", text)
    if not match:
        raise ValueError(f"{text!r} is no size")
    factor: int = (1024 if match[3] else 1000) ** " KMGT".index(match[2] or " ")
    return int(match[1]) * factor
