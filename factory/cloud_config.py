"""cloud-init's own settings as an image holds them: cloud.cfg with everything in cloud.cfg.d laid over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from factory import yamlfile
from factory.errors import RecipeError
from factory.leftovers import matching, text

if TYPE_CHECKING:
    from factory.inspection import Image

BASE = "/etc/cloud/cloud.cfg"
FOLDER = "/etc/cloud/cloud.cfg.d"
_TRUE = ("true", "1", "on", "yes")


def merged(image: Image) -> tuple[dict[str, Any], list[str]]:
    """The settings, every scalar as text, and what is wrong with files that could not be understood.

    As cloud-init does, a later file (by name) wins, mappings are merged, and lists are replaced as a whole.
    """
    settings: dict[str, Any] = {}
    faults = []
    for path in [BASE, *(path for path, _ in matching(image, f"{FOLDER}/*.cfg"))]:
        content = text(image, path)
        if content is None or not _lines(content):
            continue
        try:
            found = yamlfile.foreign(content, path)
        except RecipeError as error:
            faults.append(str(error.faults[0]))
            continue
        if isinstance(found, dict):
            settings = _over(settings, found)
        else:
            faults.append(f"{path} holds no mapping")
    return settings, faults


def true(settings: dict[str, Any], key: str) -> bool:
    """Whether *key* is set to what YAML calls true."""
    return str(settings.get(key, "")).lower() in _TRUE


def modules(settings: dict[str, Any], stage: str) -> set[str]:
    """The names of the modules of a stage such as ``cloud_init_modules``, with ``_`` for ``-``."""
    listed = settings.get(stage)
    names = (
        [item[0] if isinstance(item, list) and item else item for item in listed] if isinstance(listed, list) else []
    )
    return {name.replace("-", "_") for name in names if isinstance(name, str)}


def _lines(content: str) -> list[str]:
    return [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _over(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for key, value in high.items():
        old = result.get(key)
        result[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
