"""The model's complaints as faults: on their line, under their path, in words that say what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from factory.errors import Fault
from factory.quoting import escape, quote
from factory.recipe.assertions import TESTS
from factory.recipe.kinds import OURS, nearest, shape_of
from factory.recipe.model import Checks, Machine, Recipe, Repository, Requirements, Variable
from factory.recipe.steps import STEPS
from factory.yamltree import Location, Mapping, Node, find, line_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from factory.recipe.entries import Part

_SECTIONS: dict[str, type[Part]] = {"machine": Machine, "checks": Checks, "requirements": Requirements}
_KINDS: dict[str, dict[str, type[Part]]] = {
    "provision": {step.kind: step for step in STEPS},
    "test": {test.kind: test for test in TESTS},
}


def path_of(location: Location) -> str:
    """*location* as people read it: ``provision[2].copy.mode``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{escape(part)}" for part in location)
    return text.removeprefix(".")


def fault_at(file: str, root: Node, location: Location, message: str, suggestion: str = "") -> Fault:
    """A fault at *location* of the document *root*."""
    return Fault(file, line_of(root, location), path_of(location), escape(message), escape(suggestion))


def fields_of(model: type[Part]) -> list[str]:
    """The keys that *model* takes, as one writes them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def translate(errors: Iterable[ErrorDetails], root: Node, file: str) -> list[tuple[Location, Fault]]:
    """Each of pydantic's *errors* as a fault, with its location in the document *root*."""
    errors = list(errors)
    misspelt = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            parent = _resolve(root, error["loc"])[:-1]
            near = _nearest(parent, str(error["loc"][-1]), root)
            misspelt.add((parent, near))
    faults = []
    for error in errors:
        location = _resolve(root, error["loc"])
        # "nmae" is one mistake: that "name" is missing follows from it.
        if error["type"] == "missing" and (location, error["loc"][-1]) in misspelt:
            continue
        said = _sentence(error, location, root)
        if said:
            faults.append((location, fault_at(file, root, location, *said)))
    return faults


def _resolve(root: Node, loc: tuple[int | str, ...]) -> Location:
    """The part of pydantic's *loc* that exists in the document; it also names union members and key errors."""
    location: Location = ()
    for part in loc:
        if find(root, (*location, part)) is not None:
            location = (*location, part)
    return location


def _sentence(error: ErrorDetails, location: Location, root: Node) -> tuple[str, str] | None:
    """Message and suggestion; None when another fault already says it."""
    kind, given = error["type"], error["input"]
    if kind == OURS:
        return error["ctx"]["message"], error["ctx"]["suggestion"]
    if kind == "missing":
        return f"{quote(str(error['loc'][-1]))} is missing", _example(location, str(error["loc"][-1]))
    if kind == "extra_forbidden":
        return f"unknown key {quote(str(location[-1]))}", _advice(location[:-1], str(location[-1]), root)
    if kind.startswith("union_tag"):
        return None  # factory.recipe.rules says what is wrong with an entry as a whole
    if given == "" or given == []:
        return "has no value", "give it one, or remove the line"
    shown = quote(given) if isinstance(given, str) else shape_of(given)
    if kind == "list_type":
        return f"must be a list, not {shown}", f"write [{given}]" if _short(given) else ""
    if kind in ("dict_type", "model_type"):
        hint = f"write {{default: {given}}}" if location[0] == "variables" and _short(given) else ""
        return f"must be a mapping (key: value), not {shown}", hint
    return f"cannot be {shown}", ""


def _short(given: Any) -> bool:
    return isinstance(given, str) and len(given) < 30 and given.isprintable() and not set(given) & set("[]{},:#")


def model_at(location: Location) -> type[Part] | None:
    """The model of the mapping at *location*; None where keys are free."""
    match location:
        case ():
            return Recipe
        case (str(section),):
            return _SECTIONS.get(section)
        case ("variables", str()):
            return Variable
        case ("repositories", int()):
            return Repository
        case (str(section), int(), str(kind)):
            return _KINDS.get(section, {}).get(kind)
    return None


def _nearest(parent: Location, key: str, root: Node) -> str:
    """The field of the mapping at *parent* that *key* looks like and that is not written yet; empty if none."""
    model, node = model_at(parent), find(root, parent)
    written = node.entries if isinstance(node, Mapping) else {}
    known = [field for field in fields_of(model) if field not in written] if model else []
    return nearest(key, known)


def _advice(parent: Location, key: str, root: Node) -> str:
    """What to write in place of the unknown *key* in the mapping at *parent*."""
    near = _nearest(parent, key, root)
    if near:
        return f"did you mean {quote(near)}?"
    model = model_at(parent)
    fields = fields_of(model) if model else []
    near = nearest(key, fields)
    if near:
        return f"did you mean {quote(near)}? it is there already"
    if parent and key in fields_of(Recipe):
        return "it belongs to the recipe itself: indent it less"
    for section, section_model in _SECTIONS.items():
        if not parent and key in fields_of(section_model):
            return f"it belongs under {quote(section)}"
    return f"known here: {', '.join(fields)}"


def _example(parent: Location, key: str) -> str:
    """A line to write for the missing *key*."""
    model = model_at(parent)
    for name, field in model.model_fields.items() if model else ():
        if (field.alias or name) == key and field.examples and isinstance(field.examples[0], str):
            return f"such as {key}: {field.examples[0]}"
    return "write schema: 1" if key == "schema" else ""
