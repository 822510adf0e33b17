"""From a recipe's name to a :class:`Recipe`, or to every fault in it at once."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Map
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from factory.errors import Fault, RecipeError, UsageError
from factory.quoting import escape, quote
from factory.recipe.assertions import TESTS
from factory.recipe.cloud_init import typed
from factory.recipe.faults import fault_at, translate
from factory.recipe.kinds import nearest
from factory.recipe.model import Recipe
from factory.recipe.rules import RULES, Source
from factory.recipe.steps import STEPS
from factory.settings import expanded
from factory.yamlfile import load
from factory.yamltree import Items, Location, Mapping, line_of, plain

FOLDER = "recipes"
SUFFIXES = (".yaml", ".yml")
_NO_SETTINGS: Map[str, str] = {}


def load_recipe(name_or_path: str, *, settings: Map[str, str] = _NO_SETTINGS, root: Path | None = None) -> Recipe:
    """The recipe ``recipes/<name>.yaml`` below *root* (default: the working directory), or at a path.

    *settings* are the values of ``--set``. RecipeError has every fault; UsageError: there is no such recipe.
    """
    recipe, faults = _load(name_or_path, settings, root)
    if recipe is None or faults:
        raise RecipeError(faults)
    return recipe


def validate(names: Iterable[str], *, settings: Map[str, str] | None = None, root: Path | None = None) -> list[Fault]:
    """Every fault of every recipe in *names*, sorted; one that is not there is a fault, or a UsageError when alone.

    Without *settings*, variables that wait for a ``--set`` are no fault.
    """
    faults: list[Fault] = []
    asked = list(dict.fromkeys(names))
    for name in asked:
        try:
            faults += _load(name, settings, root)[1]
        except RecipeError as error:
            faults += error.faults
        except UsageError as error:
            if len(asked) == 1:
                raise
            faults.append(Fault(escape(name), 0, "", error.message, error.remedy))
    return sorted(faults)


def recipe_names(root: Path | None = None) -> list[str]:
    """The names of the recipes in ``recipes/`` below *root*."""
    folder = (root or Path.cwd()) / FOLDER
    return sorted({file.stem for suffix in SUFFIXES for file in folder.glob(f"[!.]*{suffix}") if file.is_file()})


def find_recipe(name_or_path: str, root: Path | None = None) -> Path:
    """The file of a recipe, absolute. UsageError with the nearest names when there is none."""
    top = root or Path.cwd()
    by_path = "/" in name_or_path or name_or_path.endswith(SUFFIXES)
    tried = expanded(name_or_path) if by_path else Path(FOLDER, name_or_path + SUFFIXES[0])
    path = top / tried
    try:
        if name_or_path and path.is_file() and path.suffix in SUFFIXES:
            return path.absolute()
        if not by_path and path.with_suffix(SUFFIXES[1]).is_file():
            return path.with_suffix(SUFFIXES[1]).absolute()
        beside = path.with_name(path.name + SUFFIXES[0]) if path.name else path
        hint = f"Did you mean {tried}{SUFFIXES[0]}?" if path.suffix not in SUFFIXES and beside.is_file() else ""
        special = path.exists() and not path.is_dir() and not path.is_file()
        ending = path.is_file() and path.suffix not in SUFFIXES
        dangling = path.is_symlink() and not path.exists()
        folder = path.is_dir() and path.suffix in SUFFIXES
        above = next((each for each in top.absolute().parents if not by_path and (each / tried).is_file()), None)
    except (OSError, ValueError, RuntimeError):
        hint, special, ending, dangling, folder, above = "", False, False, False, False, None
    if special or ending or dangling or folder:
        why = "is a folder" if folder else "is a symbolic link to a file that is not there" if dangling else ""
        why = why or ("is not a regular file" if special else "does not end with .yaml")
        raise UsageError(f"{quote(str(tried), 200)} {why}", hint="A recipe is a file such as recipes/nginx.yaml")
    known = recipe_names(root)
    if not hint and above:
        hint = f"It lies in {quote(str(above / FOLDER), 200)}: call the factory in the folder above that"
    elif not hint and known:
        near = nearest(Path(name_or_path).stem, known)
        hint = (f"Did you mean {near}? " if near else "") + f"The recipes here are: {', '.join(known)}"
    raise UsageError(
        f"There is no recipe {quote(name_or_path, 200)}",
        cause=f"The file {quote(str(tried), 200)} does not exist",
        hint=hint
        or f"Recipes are files in {FOLDER}/, and {quote(str(top), 200)} has none: call the factory in the folder that "
        "has them, or name the recipe's file by its path",
        code="usage.recipe-unknown",
    )


def _load(name_or_path: str, settings: Map[str, str] | None, root: Path | None) -> tuple[Recipe | None, list[Fault]]:
    file = find_recipe(name_or_path, root)
    top = (root or Path.cwd()).absolute()
    shown = escape(str(file.relative_to(top) if file.is_relative_to(top) else file))
    document = load(file, shown=shown)
    faults = list(document.faults)
    if not isinstance(document.root, Mapping):
        kind = "a list" if isinstance(document.root, Items) else "text"
        return None, [*faults, Fault(shown, 0, "", f"is {kind}, not a mapping", "start with schema: 1")]
    recipe: Recipe | None = None
    places: set[Location] = set()
    try:
        recipe = Recipe.model_validate(_data(document.root))
    except ValidationError as error:
        for location, fault in translate(error.errors(include_url=False), document.root, shown):
            places.add(location)
            faults.append(fault)
    source = Source(document.root, file, settings)
    for rule in RULES:
        # Where the model already found a fault, a rule has nothing to add.
        faults += [
            fault_at(shown, document.root, location, message, suggestion)
            for location, message, suggestion in rule(source)
            if location not in places
        ]
    if recipe is None or faults:
        return None, list(dict.fromkeys(faults))
    for section, entries in (("provision", recipe.provision), ("test", recipe.test)):
        for index, entry in enumerate(entries):
            entry.at(line_of(document.root, (section, index)))
    return recipe.placed(file, _values(recipe, settings or {})), []


def _values(recipe: Recipe, settings: Map[str, str]) -> dict[str, str]:
    defaults = {name: variable.default or "" for name, variable in recipe.variables.items()}
    return defaults | dict(settings)


def _data(root: Mapping) -> dict[str, Any]:
    """The document as the model takes it: entries without the keys that a rule complains about."""
    data: dict[str, Any] = plain(root)
    if "cloud_init" in data:
        data["cloud_init"] = typed(root.entries["cloud_init"])
    for section, entries in (("provision", STEPS), ("test", TESTS)):
        kinds = [entry.kind for entry in entries]
        items = data.get(section)
        if isinstance(items, list):
            data[section] = [_one_kind(item, kinds) for item in items]
    return data


def _one_kind(item: Any, kinds: list[str]) -> Any:
    known = next((kind for kind in kinds if isinstance(item, dict) and kind in item), "")
    if not known or len(item) == 1:
        return item
    others = {key: value for key, value in item.items() if key not in kinds}
    # `- copy:` with its fields at the same indent: one fault, and the fields are looked at all the same.
    return {known: others if item[known] == "" and others else item[known]}
