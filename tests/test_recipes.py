"""The recipes of this repository: right by the rules, and their files do what their tests ask for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from factory.recipe import CopyStep, HttpTest, Recipe, copied, load_recipe, recipe_names, validate
from factory.run import find

ROOT = Path(__file__).parents[1]


def content(recipe: Recipe, destination: str) -> str:
    """The text that the recipe copies to *destination*."""
    found = [
        one.content(recipe.values).decode()
        for step in recipe.provision
        if isinstance(step, CopyStep)
        for one in copied(recipe, step)
        if one.destination == destination
    ]
    assert len(found) == 1, destination
    return found[0]


def test_all_are_right() -> None:
    assert {"minimal", "nginx", "postgresql"} <= set(recipe_names(ROOT))
    assert [str(fault) for fault in validate(recipe_names(ROOT), settings={}, root=ROOT)] == []


def test_each_tests_what_it_builds_and_says_what_it_is() -> None:
    for name in recipe_names(ROOT):
        recipe = load_recipe(name, root=ROOT)
        assert recipe.test
        assert recipe.description
        assert recipe.requirements.disk >= recipe.disk


def test_the_page_of_nginx_holds_what_its_tests_look_for() -> None:
    recipe = load_recipe("nginx", settings={"greeting": "Good morning"}, root=ROOT)
    page = content(recipe, "/var/www/html/index.html")
    assert "<h1>Good morning</h1>" in page
    asked = {test.path: test for test in recipe.test if isinstance(test, HttpTest)}
    assert str(asked["/"].contains) in page
    assert str(asked["/no-such-page"].contains) in content(recipe, "/var/www/html/404.html")
    assert f'200 "{asked["/health"].contains}' in content(recipe, "/etc/nginx/sites-available/default")
    assert 'href="style.css"' in page
    assert content(recipe, "/var/www/html/style.css")


def test_the_page_needs_nothing_from_elsewhere() -> None:
    for file in (ROOT / "recipes" / "nginx").rglob("*"):
        if file.is_file():
            assert "http://" not in file.read_text()
            assert "https://" not in file.read_text()


def test_postgresql_makes_its_cluster_on_each_machine_and_not_in_the_build() -> None:
    recipe = load_recipe("postgresql", settings={"database": "shop"}, root=ROOT)
    assert "create_main_cluster = false" in content(recipe, "/etc/postgresql-common/createcluster.d/image.conf")
    kinds = [step.kind for step in recipe.provision]
    assert kinds.index("copy") < kinds.index("packages"), "the package would make a cluster first"
    unit = content(recipe, "/etc/systemd/system/postgresql-first-boot.service")
    assert "ConditionHost=!factory-*" in unit
    script = content(recipe, "/usr/local/sbin/postgresql-first-boot")
    assert "database='shop'" in script
    assert "ExecStart=/usr/local/sbin/postgresql-first-boot" in unit


@pytest.mark.skipif(not shutil.which("sh"), reason="there is no sh")
def test_the_shell_of_every_recipe_parses() -> None:
    shell = find("sh", reason="for the test")
    texts = [file.read_text() for file in (ROOT / "recipes").rglob("*.sh")]
    for name in recipe_names(ROOT):
        texts += [run for step in load_recipe(name, root=ROOT).provision if (run := getattr(step, "run", None))]
    assert len(texts) >= 3
    for text in texts:
        subprocess.run([shell, "-n"], input=text, text=True, check=True)
