"""The JSON Schemas that ``factory schema KIND`` prints: a table of what makes each."""

from __future__ import annotations

import importlib
from typing import Any

from factory.errors import UsageError
from factory.quoting import quote

SOURCES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "recipe": ("factory.recipe.schema", "recipe_schema", ()),
    "manifest": ("factory.manifest", "json_schema", ("manifest",)),
    "findings": ("factory.manifest", "json_schema", ("findings",)),
}
"""Of each schema the module, the function in it that makes it, and what to call it with; imported when asked for."""


def names() -> list[str]:
    """The schemas there are."""
    return list(SOURCES)


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema *name* (draft 2020-12), as data for JSON. UsageError when there is none of that name."""
    if name not in SOURCES:
        raise UsageError(
            f"there is no schema {quote(name)}", hint=f"There are: {', '.join(SOURCES)}", code="usage.schema-unknown"
        )
    module, function, arguments = SOURCES[name]
    made: dict[str, Any] = getattr(importlib.import_module(module), function)(*arguments)
    return made
