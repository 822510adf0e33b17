"""The reference of all fields is whole, and says what holds."""

from __future__ import annotations

import re

import pytest
import yaml

from factory.recipe import CommandTest, CopyStep, PortTest, Recipe, Repository, ServiceTest, ShellStep
from factory.recipe.entries import Part
from factory.recipe.reference import fields, flow, reference_markdown
from factory.schemas import schema
from tests.recipe_files import FINGERPRINT
from tests.test_recipe_schema import subschemas

ROWS = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in reference_markdown().splitlines()[2:]]


def test_each_field_has_a_row_of_four_cells_with_a_meaning() -> None:
    assert all(len(row) == 4 and row[3] for row in ROWS)
    assert len({row[0] for row in ROWS}) == len(ROWS) == len(list(fields()))


def test_it_has_every_field_of_the_schema() -> None:
    named = {name for row in ROWS for name in re.findall(r"[a-z_]+", row[0])}
    assert {name for name, _ in subschemas(schema("recipe"))} == named


LEAST: dict[type[Part], dict[str, object]] = {
    Recipe: {"schema": 1, "name": "web", "version": "1", "base": "debian-12"},
    Repository: {"uri": "https://h/x", "suite": "s", "components": ["main"]},
    CopyStep: {"source": "a", "destination": "/a"},
    ServiceTest: {"name": "nginx"},
    CommandTest: {"run": "a"},
    PortTest: {"port": 80},
}
"""What each model needs beside the field that is looked at."""


@pytest.mark.parametrize("number", range(len(ROWS)), ids=lambda number: ROWS[number][0])
def test_the_example_and_the_default_of_each_field_are_valid(number: int) -> None:
    name, model, _ = list(fields())[number]
    assert ROWS[number][0] == f"`{name}`"
    for cell in ROWS[number][1:3]:
        if not cell.startswith("`") or (name, cell) == ("requirements.disk", "`disk`"):
            continue  # empty, "required", or a word about another field
        key = name.rpartition(".")[2].replace("provision[]", "packages")
        value = yaml.load(cell.strip("`"), Loader=yaml.BaseLoader)
        more: dict[str, object] = {"run": "a"} if model is ShellStep and key != "script" else {}
        if key in ("key", "fingerprint"):
            more |= {"key": "k.asc", "fingerprint": FINGERPRINT}
        model.model_validate({**LEAST.get(model, {}), **more, key: value})


def test_a_value_is_shown_as_one_writes_it() -> None:
    for value in (
        ["a", "b"],
        {"a": "b c"},
        "on",
        "0644",
        "10GiB",
        "1.0.0",
        "1.10",
        "yes",
        "a: b",
        "it's",
        5,
        "5",
        "[x",
    ):
        written = flow(value)
        read = yaml.load(f"x: {written}", Loader=yaml.SafeLoader)["x"]
        assert read == value, written
