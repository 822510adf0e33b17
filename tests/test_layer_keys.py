"""Keys of layers: what of a recipe and of a machine changes them, and from which point on."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.layers.keys import LayerKey, changed, layer_keys, step_number
from tests.recipe_files import load

MORE = """variables:
  greeting: {default: hello}
provision:
  - packages: [nginx]
  - copy: {source: site, destination: /srv}
  - copy: {source: index.html, destination: /srv/index.html, template: true}
  - shell: {script: run.sh}
  - shell: systemctl enable nginx
"""
FILES: dict[str, str | bytes] = {"site/a": "a", "index.html": "@greeting@", "run.sh": "echo\n"}
MACHINE = {"the base": "b" * 64, "QEMU": "7.2"}


def keys_of(root: Path, more: str = MORE, machine: dict[str, str] = MACHINE, **settings: str) -> tuple[LayerKey, ...]:
    return layer_keys(load(root, more, FILES, settings), machine)


def first_changed(before: tuple[LayerKey, ...], after: tuple[LayerKey, ...]) -> str:
    """The name of the first point whose key differs; all after it must differ too."""
    same = [one.key == two.key for one, two in zip(before, after, strict=False)]
    first = same.index(False)
    assert not any(same[first:])
    return after[first].name


def test_each_point_has_a_name_and_a_key_of_its_own(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    assert [each.name for each in keys] == [
        "boot", "upgrade", "1/5 packages", "2/5 copy", "3/5 copy", "4/5 shell", "5/5 shell",
    ]  # fmt: skip
    assert len({each.key for each in keys}) == 7
    assert keys_of(tmp_path) == keys
    assert [each.keep for each in keys] == [None, 86400, 86400, None, None, None, None]


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        ("[nginx]", "[nginx, curl]", "1/5 packages"),
        ("/srv}", "/srv/www}", "2/5 copy"),
        ("systemctl enable", "systemctl disable", "5/5 shell"),
        ("run.sh}", "run.sh, directory: /srv}", "4/5 shell"),
        ("variables:", "upgrade: all\nvariables:", "upgrade"),
        ("run.sh}", "run.sh, timeout: 5m}", ""),
        ("  - packages", "  # a comment\n  - packages", ""),
    ],
)
def test_an_edit_changes_the_keys_from_there_on(tmp_path: Path, old: str, new: str, first: str) -> None:
    before, after = keys_of(tmp_path), keys_of(tmp_path, MORE.replace(old, new))
    if first:
        assert first_changed(before, after) == first
    else:
        assert [each.key for each in before] == [each.key for each in after]


def test_files_and_variables_change_what_uses_them(tmp_path: Path) -> None:
    before = keys_of(tmp_path)
    assert first_changed(before, keys_of(tmp_path, greeting="good morning")) == "3/5 copy"
    for name, first in (("site/a", "2/5 copy"), ("run.sh", "4/5 shell")):
        recipe = load(tmp_path, MORE, FILES)
        (recipe.folder / name).write_text("other")
        after = layer_keys(recipe, MACHINE)
        assert first_changed(before, after) == first
        assert changed(after[step_number(after, first) or 0], before[step_number(before, first) or 0].parts) == [
            f"the file {name.split('/')[0]}"
        ]
    (recipe.folder / "run.sh").write_text("echo\n")
    (recipe.folder / "run.sh").chmod(0o755)
    assert first_changed(layer_keys(load(tmp_path, MORE), MACHINE), before) == "4/5 shell"


@pytest.mark.parametrize("part", ["the base", "QEMU"])
def test_another_machine_changes_all(tmp_path: Path, part: str) -> None:
    assert first_changed(keys_of(tmp_path), keys_of(tmp_path, machine=MACHINE | {part: "other"})) == "boot"


def test_a_step_that_sees_a_secret_is_not_kept_nor_any_after_it(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, MORE.replace("variables:", "variables:\n  token: {secret: true}"), token="correct-horse")
    assert ["secret" in each.barred for each in keys] == [False, False, False, False, True, True, True]
    other = keys_of(tmp_path, MORE.replace("variables:", "variables:\n  token: {secret: true}"), token="battery-staple")
    assert [each.key for each in other] == [each.key for each in keys]  # no digest of a secret is in any key


def test_no_layer_holds_the_password_of_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys_of(tmp_path)
    monkeypatch.setenv("http_proxy", "http://user:correct-horse@proxy.example:3128")
    keys = keys_of(tmp_path)
    assert ["password" in each.barred for each in keys] == [False, True, True, True, True, True, True]
    assert [each.key for each in keys] == [each.key for each in before]  # no digest of it is in any key
    without = keys_of(tmp_path, MORE.replace("variables:", "upgrade: none\nvariables:"))
    assert ["password" in each.barred for each in without] == [False, True, True, True, True, True]
    late = MORE.replace("variables:", "upgrade: none\nvariables:").replace("  - packages: [nginx]\n", "")
    keys = keys_of(tmp_path, late)
    assert [bool(each.barred) for each in keys] == [False, *("shell" in each.name for each in keys[1:-1]), True]
    never = late.partition("  - shell")[0]
    assert not any(each.barred for each in keys_of(tmp_path, never))  # the guest is never told
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert not any(each.barred for each in keys_of(tmp_path))


def test_always_means_always(tmp_path: Path) -> None:
    keys = keys_of(tmp_path, MORE.replace("run.sh}", "run.sh, refresh: always}"))
    assert [bool(each.barred) for each in keys] == [False] * 5 + [True] * 2
    assert keys_of(tmp_path, MORE.replace("run.sh}", "run.sh, refresh: 2h}"))[5].keep == 7200


def test_a_step_is_named_by_its_number(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    assert [step_number(keys, name) for name in ("1", "5", "upgrade", "6", "0", "boot", "")] == [2, 6, 1] + [None] * 4
