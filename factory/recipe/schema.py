"""The JSON Schema of a recipe for editors, made from the model.

It takes what one may write: ``4GiB`` or a number of bytes, ``1.10`` without quotes, a bare value for an entry. What
needs a look at files or at two fields, only ``factory validate`` can say.
"""

from __future__ import annotations

from typing import Any

from factory.recipe.kinds import Duration, Size
from factory.recipe.model import Recipe
from factory.units import format_duration, format_size

ID = "https://json-schema.org/draft/2020-12/schema"
_SHOWN = {Size(0, 0).schema()["pattern"]: format_size, Duration(0, 0).schema()["pattern"]: format_duration}


def recipe_schema() -> dict[str, Any]:
    """The schema, as data for JSON."""
    schema = _tidy(Recipe.model_json_schema(by_alias=True))
    return {"$schema": ID, **schema, "title": "Recipe of the image factory"}


def _tidy(node: Any) -> Any:
    """*node* without pydantic's titles and without null, which no recipe writes; free keys only where they fit."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            tidied[key] = {name: _tidy(item) for name, item in value.items()}
        elif key in ("default", "examples", "enum"):
            tidied[key] = value
        elif key != "title":
            tidied[key] = _tidy(value)
    if "patternProperties" in tidied:
        tidied["additionalProperties"] = False
    choices: list[Any] = tidied.get("anyOf", [])
    if {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del tidied["anyOf"]
        tidied = {**(rest[0] if len(rest) == 1 else {"anyOf": rest}), **tidied}
    return _as_written(tidied)


def _as_written(node: dict[str, Any]) -> dict[str, Any]:
    """*node* with its default as one writes it: ``4GiB``; a default that says nothing, or elsewhere, is left out."""
    if node.get("default") in (None, "", [], {}) or "$ref" in node:
        node.pop("default", None)
    show = _SHOWN.get(str(node.get("pattern")))
    if show and "default" in node:
        node["default"] = show(node["default"])
    return node
