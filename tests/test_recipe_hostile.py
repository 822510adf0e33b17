"""Whatever stands in a recipe, it loads or it is a fault: nothing else is ever raised, and no library speaks up."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.errors import RecipeError, UsageError
from factory.recipe import Recipe, load_recipe, validate
from factory.recipe.assertions import TESTS
from factory.recipe.entries import Part
from factory.recipe.faults import fields_of
from factory.recipe.model import Checks, Machine, Repository, Requirements, Variable
from factory.recipe.steps import STEPS
from tests.recipe_files import FILES, FULL, HEAD, write

FOREIGN = (
    "Input should",
    "validation error",
    "Extra inputs",
    "pydantic",
    "Field required",
    "Traceback",
    "discriminator",
)
MODELS: tuple[type[Part], ...] = (Recipe, Machine, Checks, Requirements, Repository, Variable, *STEPS, *TESTS)
KEYS = sorted({key for model in MODELS for key in fields_of(model)} | {entry.kind for entry in (*STEPS, *TESTS)})
WORDS = [
    "",
    "~",
    "on",
    "none",
    "1",
    "0",
    "-1",
    "4GiB",
    "0644",
    "a.sh",
    "../x",
    "/x",
    "debian-12",
    "mgc",
    "user",
    "24h",
    "-o",
]

texts = st.text(max_size=40) | st.sampled_from(WORDS)
keys = st.sampled_from(KEYS) | st.text(max_size=10)
trees = st.recursive(
    texts | st.integers() | st.booleans() | st.none() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=30,
)


def outcome(content: bytes, given_settings: dict[str, str], files: Mapping[str, str | bytes] = FILES) -> str:
    """Load *content* as a recipe. "ok", or the text of all faults; anything but our two errors gets out."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file = write(root, "", files)
        file.write_bytes(content)
        try:
            recipe = load_recipe("web", settings=given_settings, root=root)
        except (RecipeError, UsageError) as error:
            faults = getattr(error, "faults", ())
            said = "\n".join(str(fault) for fault in faults) or str(error)
            lines = len(content.decode("utf-8", "replace").splitlines()) + 1
            assert all(0 <= fault.line <= lines for fault in faults)
            assert all(fault.message and fault.file for fault in faults)
            assert all(str(fault).isprintable() for fault in faults), said
            assert not any(word in said for word in FOREIGN), said
            return said
        assert len(recipe.digest()) == 64
        assert all(entry.title.isprintable() and entry.line for entry in (*recipe.provision, *recipe.test))
        return "ok"


@given(st.binary(max_size=400))
def test_random_bytes(content: bytes) -> None:
    outcome(content, {})


@given(st.text(max_size=400))
@example("? ? ?")
@example("- - - -")
@example("!!")
@example("%YAML 1.1\n---\n")
@example("%TAG ! tag:x,2000:\n---\na: 1")
@example("{{{{")
@example("&a [*a]")
@example("a: |\n\tb")
@example("\ufeff\ufeff")
@example('"\\ud800\\udc00"')
def test_random_text(text: str) -> None:
    outcome(text.encode("utf-8", "surrogatepass"), {})


@given(st.dictionaries(keys, trees, max_size=8))
@settings(max_examples=150, deadline=None)
def test_random_trees(tree: dict[str, Any]) -> None:
    head: dict[str, Any] = {"schema": "1", "name": "web", "version": "1", "base": "debian-12"}
    try:
        text = yaml.safe_dump({**head, **tree}, allow_unicode=True)
    except yaml.YAMLError:
        return
    outcome(text.encode("utf-8", "surrogatepass"), {})


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_right_recipe_with_something_changed(data: st.DataObject) -> None:
    text = HEAD + FULL
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = text[:start] + data.draw(texts) + text[end:]
    outcome(text.encode("utf-8", "surrogatepass"), {"token": "x"})


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_value_in_the_place_of_any_other(data: st.DataObject) -> None:
    tree = yaml.load(HEAD + FULL, Loader=yaml.BaseLoader)
    node: Any = tree
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(trees)
    try:
        text = yaml.safe_dump(tree, allow_unicode=True)
    except yaml.YAMLError:
        return
    outcome(text.encode("utf-8", "surrogatepass"), {"token": "x"})


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3))
def test_any_name_and_any_setting(name: str, given_settings: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), HEAD)
        for wanted in (name, "web"):
            try:
                load_recipe(wanted, settings=given_settings, root=Path(folder))
            except (RecipeError, UsageError) as error:
                assert str(error).isprintable()
            try:
                assert all(str(fault).isprintable() for fault in validate([wanted], root=Path(folder)))
            except UsageError as error:  # there is no such recipe
                assert wanted != "web" and str(error).isprintable()


def test_names_that_a_terminal_would_act_on_are_escaped_wherever_they_are_repeated() -> None:
    for text in (
        'variables: {"\\e[2J": {}}\n',
        'variables: {a: {}}\nproperties: {"\\x9b": [x]}\n',
        '"\\u202e": {"\\e": 1}\n',
    ):
        said = outcome((HEAD + text).encode(), {"token": "x"})
        assert said != "ok"


def test_a_folder_with_a_hostile_name_is_escaped_too(tmp_path: Path) -> None:
    folder = tmp_path / "\x1b[2J"
    write(folder, HEAD + "disk: 1\n")
    faults = validate([str(folder / "recipes" / "web.yaml")])
    assert [fault.path for fault in faults] == ["disk"]
    assert str(faults[0]).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "base2: " + "/" * 900_000 + "@\n",
        HEAD.replace("debian-12", "/" * 900_000 + "@"),
        HEAD.replace("name: web", "name: " + "a" * 900_000),
        HEAD + "disk: " + "1" * 900_000 + "\n",
        HEAD + "provision: [" + "{packages: [-a]}," * 4_000 + "]\n",
        HEAD + "provision: [{packages: [" + "-," * 19_000 + "]}]\n",
        HEAD + "".join(f"k{number}: 1\n" for number in range(9_000)),
        HEAD + "name: x\n" * 9_000,
        HEAD + "test: [" + "{port: 1, service: a}," * 3_000 + "]\n",
        HEAD + "provision: [" + "{copy: {source: words, destination: /x, template: on}}," * 2_000 + "]\n",
        HEAD + "provision: [{shell: {run: a, timeout: " + "1h" * 400_000 + "!}}]\n",
        HEAD + "repositories: [{uri: 'http://" + "a" * 900_000 + " ', suite: " + "." * 9_000 + "}]\n",
    ],
    ids=range(12),
)
def test_a_recipe_made_to_be_slow_is_not(text: str) -> None:
    start = time.monotonic()
    many_words = "".join(f"@w{number}@" for number in range(20_000))
    assert outcome(text.encode(), {}, FILES | {"words": many_words}) != "ok"
    assert time.monotonic() - start < 15
