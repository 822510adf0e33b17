"""The JSON Schema for editors agrees with what the loader takes, and with what it refuses by its form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from factory.errors import UsageError
from factory.schemas import names, schema
from tests.recipe_files import HEAD, blocks

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
# What a schema cannot see: other fields, files, what the factory knows, and the text behind a number in YAML 1.1.
BEYOND = (
    "no such variable", "is secret", "belong together", "components are missing", "a flat repository", "there is no",
    "is no OpenPGP key", "private", "7A0070A08D46", "stands in line", "unknown target", "less than the image's disk",
    "network", "ends with /", "not UTF-8", "is empty", "is not a regular file", "nothing to run", "both run and script",
    "whole number of MiB", "must be from", "is longer", "control character", "must be one line", "has no value",
    "'default' is the user", "has no name", "with a password", "must be a list", "bytes", "too long for YAML",
    "less than the base",
)  # fmt: skip


@pytest.fixture(scope="module")
def checker() -> Any:
    made = schema("recipe")
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


class Yaml12(yaml.SafeLoader):
    """Scalars as an editor with YAML 1.2 reads them: `on` and `0o7` stay text, 0644 and 1.10 are numbers."""


Yaml12.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("bool", "^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", "^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", "-+0123456789."),
    ("null", "^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
):
    Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
@pytest.mark.parametrize("loader", [yaml.SafeLoader, Yaml12], ids=["yaml-1.1", "yaml-1.2"])
def test_the_recipes_here_conform(checker: Any, recipe: Path, loader: type[yaml.SafeLoader]) -> None:
    assert [error.message for error in checker.iter_errors(yaml.load(recipe.read_text(), Loader=loader))] == []


@pytest.mark.parametrize("more", blocks("recipe_right.txt"))
@pytest.mark.parametrize("loader", [yaml.SafeLoader, Yaml12, yaml.BaseLoader], ids=["yaml-1.1", "yaml-1.2", "text"])
def test_what_loads_conforms_in_every_editor(checker: Any, more: str, loader: type[yaml.SafeLoader]) -> None:
    if loader is yaml.SafeLoader:
        more = more.replace("on: off", "'on': off")  # there, the key would be the boolean
    data = yaml.load((HEAD + more).replace("empty: }", "}"), Loader=loader)
    assert [error.message for error in checker.iter_errors(data)] == []


# Python's "$" fits before a last newline, which JSON Schema's does not; a number may have any length.
SEEN = [
    text
    for text, _, said in (block.partition("=> ") for block in blocks("recipe_faults.txt"))
    if not any(word in said for word in BEYOND) and not re.search(r"\\n|9{9}", text)
]


@pytest.mark.parametrize("text", SEEN, ids=lambda text: text[:50])
def test_what_is_wrong_in_its_form_does_not_conform(checker: Any, text: str) -> None:
    assert not checker.is_valid(yaml.load(HEAD + text, Loader=yaml.BaseLoader))


def test_most_mistakes_show_in_an_editor() -> None:
    assert len(SEEN) > 60


def subschemas(node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, schema) of every field that *node* describes, at any depth."""
    for name, field in node.get("properties", {}).items():
        yield name, field
        yield from subschemas(field)
    inner = [*node.get("$defs", {}).values(), *node.get("anyOf", []), *node.get("oneOf", [])]
    inner += [*node.get("patternProperties", {}).values(), *([node["items"]] if "items" in node else [])]
    for schema_of in inner:
        yield from subschemas(schema_of)


def test_every_field_has_a_description() -> None:
    found = list(subschemas(schema("recipe")))
    assert len(found) > 50
    assert [name for name, field in found if not field.get("description")] == []


def test_defaults_are_shown_as_they_are_written() -> None:
    made = schema("recipe")
    assert made["properties"]["disk"]["default"] == "4GiB"
    assert made["$defs"]["Machine"]["properties"]["memory"]["default"] == "2GiB"
    shell = made["$defs"]["ShellStep"]["properties"]["shell"]["anyOf"][1]["properties"]
    assert shell["timeout"]["default"] == "1h"
    assert "default" not in shell["refresh"]


def test_the_schemas_there_are() -> None:
    assert names() == ["recipe", "manifest", "findings"]
    for name in names():
        jsonschema.Draft202012Validator.check_schema(schema(name))
    with pytest.raises(UsageError) as caught:
        schema("recipes")
    assert "recipe, manifest, findings" in caught.value.hint
