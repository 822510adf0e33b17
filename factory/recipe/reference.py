"""The reference of the recipe's fields as a table, made from the model so that it cannot drift from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from factory.recipe.assertions import TESTS
from factory.recipe.entries import Part
from factory.recipe.kinds import Kind
from factory.recipe.model import Checks, Machine, Recipe, Repository, Requirements, Variable
from factory.recipe.steps import STEPS

_BELOW: dict[str, list[tuple[str, type[Part]]]] = {
    "machine": [("machine", Machine)],
    "variables": [("variables.NAME", Variable)],
    "repositories": [("repositories[]", Repository)],
    "provision": [(f"provision[].{step.kind}", step) for step in STEPS],
    "test": [(f"test[].{test.kind}", test) for test in TESTS],
    "checks": [("checks", Checks)],
    "requirements": [("requirements", Requirements)],
}
# Text that means itself without quotes: no number, no boolean, nothing that YAML reads as a sign.
_SAFE = re.compile(
    r"(?!(?:true|false|yes|no|on|off|null)$)(?:[A-Za-z/][^\n#{}\[\],&*!|>'\"%@`]*|[0-9]+[A-Za-z]+)|[0-9]+(\.[0-9]+){2}"
)


def reference_markdown() -> str:
    """Every field of a recipe: name, default or "required", an example, and what it means. One Markdown table."""
    rows = ["| field | default | example | meaning |", "|---|---|---|---|"]
    rows += [_row(*field) for field in fields()]
    return "\n".join(rows) + "\n"


def fields() -> Iterator[tuple[str, type[Part], FieldInfo]]:
    """(name such as ``machine.cpus``, model, field) of every field, a section before what is in it."""
    for name, field in Recipe.model_fields.items():
        yield field.alias or name, Recipe, field
        for prefix, model in _BELOW.get(name, []):
            bare = getattr(model, "bare", False)
            for inner, inner_field in model.model_fields.items():
                yield prefix if bare else f"{prefix}.{inner_field.alias or inner}", model, inner_field


def _row(name: str, model: type[Part], field: FieldInfo) -> str:
    default = "required" if field.is_required() else _shown(field, field.default)
    if name == "requirements.disk":
        default = "`disk`"
    example = _code(flow(field.examples[0])) if field.examples else ""
    meaning = (field.description or "").replace("|", "\\|")
    entry, _, last = name.rpartition(".")
    if getattr(model, "main", "") == last and not getattr(model, "bare", False):
        meaning += f" `{entry.rpartition('.')[2]}: VALUE` alone means this one."
    return f"| `{name}` | {default} | {example} | {meaning} |"


def _shown(field: FieldInfo, value: Any) -> str:
    kind = next((item for item in field.metadata if isinstance(item, Kind)), None)
    if value in (None, "") or isinstance(value, list | dict | BaseModel):
        return ""
    return _code(kind.show(value) if kind else str(value))


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def flow(value: Any) -> str:
    """*value* as one would write it in one line of a recipe."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    text = str(value)
    plain = not isinstance(value, str) or (_SAFE.fullmatch(text) and ": " not in text)
    return text if plain else json.dumps(text)
