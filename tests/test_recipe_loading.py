"""Finding a recipe, loading it, and what its fields mean once loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from factory.errors import Fault, RecipeError, UsageError
from factory.recipe import (
    CommandTest,
    CopyStep,
    HttpTest,
    PackagesStep,
    PortTest,
    Recipe,
    ServiceTest,
    ShellStep,
    find_recipe,
    load_recipe,
    recipe_names,
    validate,
)
from factory.units import GIB
from tests.recipe_files import FILES, FINGERPRINT, FULL, HEAD, load, write


@pytest.fixture
def full(tmp_path: Path) -> Recipe:
    return load(tmp_path, FULL, FILES, {"token": "s3cret"})


def test_scalars_mean_what_they_look_like(full: Recipe, tmp_path: Path) -> None:
    assert (full.disk, full.machine.memory, full.machine.cpus) == (8 * GIB, 3 * GIB, 4)
    assert full.variables["greeting"].default == "on"
    assert full.variables["token"].secret is True
    assert full.properties == {"team": "on", "n": "010"}
    assert full.checks.ignore == {"GEN-G28": "no"}
    assert full.upgrade == "none"
    write(tmp_path, HEAD.replace("1.0.0", "1.10"))
    assert load_recipe("web", root=tmp_path).version == "1.10"


def test_the_steps_are_what_is_written_with_their_lines(full: Recipe) -> None:
    packages, copy, inline, script = full.provision
    assert isinstance(packages, PackagesStep)
    assert packages.packages == ["nginx", "libc6:amd64"]
    assert isinstance(copy, CopyStep)
    assert (copy.mode, copy.owner, copy.group, copy.template) == (0o640, "www-data", "root", True)
    assert isinstance(inline, ShellStep)
    assert inline.run == "# first a comment\nsystemctl enable nginx\n"
    assert (inline.timeout, inline.refresh, inline.directory) == (3600, None, "/")
    assert isinstance(script, ShellStep)
    assert (script.run, script.script, script.refresh, script.timeout) == (None, "run.sh", 0, 120)
    assert script.environment == {"N": "010"}
    assert [step.line for step in full.provision] == [19, 20, 22, 25]
    assert [step.kind for step in full.provision] == ["packages", "copy", "shell", "shell"]
    assert [step.title for step in full.provision] == [
        "nginx, libc6:amd64",
        "index.html to /var/www/html/index.html",
        "systemctl enable nginx",
        "run.sh",
    ]


@pytest.mark.parametrize("mode", ["0644", "'0644'", '"0644"', "644", "0o644"])
def test_a_mode_is_octal_however_it_is_written(tmp_path: Path, mode: str) -> None:
    recipe = load(tmp_path, f"provision: [{{copy: {{source: a, destination: /a, mode: {mode}}}}}]\n", {"a": ""})
    step = recipe.provision[0]
    assert isinstance(step, CopyStep)
    assert step.mode == 0o644


def test_the_tests_are_what_is_written(full: Recipe) -> None:
    service, http, command, port, slow = full.test
    assert isinstance(service, ServiceTest)
    assert service.name == "nginx"
    assert isinstance(http, HttpTest)
    assert (http.port, http.path, http.status, http.contains) == (80, "/x", 200, "yes")
    assert isinstance(command, CommandTest)
    assert (command.run, command.status, command.contains) == ("false", 1, None)
    assert isinstance(port, PortTest)
    assert (port.port, port.timeout) == (443, 60)
    assert isinstance(slow, PortTest)
    assert (slow.port, slow.timeout) == (80, 5)
    assert [test.line for test in full.test] == [27, 28, 29, 30, 31]
    assert http.title == "port 80 /x answers 200"


def test_cloud_init_is_typed_as_cloud_init_would(full: Recipe) -> None:
    assert full.cloud_init == {
        "timezone": "UTC",
        "ntp": {"enabled": False},
        "n": 5,
        "q": "5",
        "mode": "0644",
        "quoted": "on",
        "nothing": None,
        "list": [True, "x"],
    }


def test_a_repository_has_its_fingerprint_in_one_form(full: Recipe) -> None:
    assert full.repositories[0].fingerprint == FINGERPRINT
    assert full.repositories[0].key == "k.asc"
    assert full.repositories[0].components == ["main", "contrib"]


def test_variables_get_their_values(full: Recipe, tmp_path: Path) -> None:
    assert full.values == {"greeting": "on", "token": "s3cret"}
    assert full.secret_names == {"token"}
    assert full.secrets == {"s3cret"}
    changed = load(tmp_path, FULL, FILES, {"token": "t0ken", "greeting": "hi = there"})
    assert changed.values == {"greeting": "hi = there", "token": "t0ken"}
    assert changed.secrets == {"t0ken"}


def test_the_defaults(tmp_path: Path) -> None:
    recipe = load(tmp_path, "")
    assert (recipe.disk, recipe.machine.cpus, recipe.machine.memory, recipe.machine.network) == (
        4 * GIB,
        2,
        2 * GIB,
        "user",
    )
    assert (recipe.architecture, recipe.upgrade, recipe.targets, recipe.provision) == ("x86_64", "security", [], [])
    assert (recipe.requirements.vcpus, recipe.requirements.memory) == (1, GIB)


def test_the_required_disk_is_at_least_the_recipes(tmp_path: Path) -> None:
    assert load(tmp_path, "disk: 7GiB\n").requirements.disk == 7 * GIB
    assert load(tmp_path, "disk: 7GiB\nrequirements: {vcpus: 2}\n").requirements.disk == 7 * GIB
    assert load(tmp_path, "disk: 7GiB\nrequirements: {disk: 9GiB}\n").requirements.disk == 9 * GIB


def test_a_recipe_never_changes_and_survives_the_way_through_json(full: Recipe) -> None:
    with pytest.raises(Exception, match="frozen"):
        full.name = "other"
    again = Recipe.model_validate(full.model_dump(by_alias=True, mode="json"))
    assert again.model_dump() == full.model_dump()


def test_set_must_name_declared_variables_and_fill_the_rest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, FULL, FILES, {"tokn": "hunter2", "x\x1b[2J": "y"})
    found = [(fault.line, fault.path, fault.message, fault.suggestion) for fault in caught.value.faults]
    assert found == [
        (7, "variables", "--set 'tokn': the recipe declares no such variable", "did you mean 'token'?"),
        (
            7,
            "variables",
            "--set 'x\\x1b[2J': the recipe declares no such variable",
            "it declares greeting, token; every recipe named beside it gets it too",
        ),
        (9, "variables.token", "has no default and no value was given", "add --set token=..."),
    ]
    assert "hunter2" not in str(caught.value.as_dict())


def test_set_without_any_variable_is_a_fault_too(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, "", settings={"a": "b"})
    assert "the recipe declares no such variable" in caught.value.faults[0].message


def test_a_value_that_no_environment_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="1 fault"):
        load(tmp_path, "variables: {a: {}}\n", settings={"a": "x\0y"})


def test_validate_waits_for_no_values_but_checks_those_it_is_given(tmp_path: Path) -> None:
    write(tmp_path, HEAD + FULL, FILES)
    assert validate(["web"], root=tmp_path) == []
    assert len(validate(["web"], settings={}, root=tmp_path)) == 1


def test_validate_reports_every_file(tmp_path: Path) -> None:
    write(tmp_path, HEAD + "disk: 1\n")
    write(tmp_path, HEAD.replace("web", "db") + "a: [\n", name="db")
    write(tmp_path, HEAD.replace("web", "ok"), name="ok")
    found = validate(["web", "gone", "ok", "db", "web"], root=tmp_path)
    assert [(fault.file, fault.line) for fault in found] == [
        ("gone", 0),
        ("recipes/db.yaml", 5),
        ("recipes/web.yaml", 5),
    ]
    assert found[0].message == "There is no recipe 'gone'"


def test_one_recipe_that_is_not_there_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "recipes" / "folder.yaml").mkdir(parents=True)
    (tmp_path / "recipes" / "link.yaml").symlink_to("nothing")
    for name, said in (("gone", "There is no"), (".", "There is no"), ("folder", "is a folder"), ("link", "not there")):
        with pytest.raises(UsageError, match=said) as caught:
            validate([name], root=tmp_path)
        assert "Did you mean" not in f"{caught.value}{caught.value.hint}"
    assert RecipeError([Fault("gone", 0, "", "There is no recipe 'gone'", "")]).hint == "Check the names"


def test_a_recipe_is_found_by_name_by_path_and_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, HEAD)
    assert find_recipe("web", tmp_path) == file
    assert find_recipe("recipes/web.yaml", tmp_path) == file
    assert find_recipe(str(file)) == file
    monkeypatch.chdir(tmp_path / "recipes")
    assert find_recipe("web.yaml") == file
    assert find_recipe("./web.yaml") == file
    other = tmp_path / "recipes" / "two.yml"
    other.write_text(HEAD)
    assert find_recipe("two", tmp_path) == other
    assert recipe_names(tmp_path) == ["two", "web"]


def test_the_recipes_folder_lies_beside_it_wherever_it_is(tmp_path: Path) -> None:
    elsewhere = tmp_path / "x" / "y" / "web.yaml"
    (elsewhere.with_suffix("")).mkdir(parents=True)
    (elsewhere.with_suffix("") / "a").write_text("a")
    elsewhere.write_text(HEAD + "provision: [{copy: {source: a, destination: /a}}]\n")
    recipe = load_recipe(str(elsewhere))
    assert (recipe.file, recipe.folder) == (elsewhere, elsewhere.with_suffix(""))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ngnix", "Did you mean nginx?"),
        ("zzz", "The recipes here are: nginx, web"),
        ("recipes/nginx", "Did you mean recipes/nginx.yaml?"),
        ("recipes/nginx/", "Did you mean recipes/nginx.yaml?"),
        ("recipes/ngnix.yaml", "Did you mean nginx?"),
        ("", "The recipes here are"),
        ("../..", "The recipes here are"),
        ("a\0b", "The recipes here are"),
        ("x" * 5000, "The recipes here are"),
        ("x/" * 3000, "The recipes here are"),
        ("\x1b[2J", "The recipes here are"),
    ],
)
def test_an_unknown_recipe_is_a_usage_error_with_the_nearest_name(tmp_path: Path, name: str, said: str) -> None:
    write(tmp_path, HEAD)
    write(tmp_path, HEAD, {"a": ""}, name="nginx")
    with pytest.raises(UsageError) as caught:
        load_recipe(name, root=tmp_path)
    assert said in caught.value.hint
    assert caught.value.status == 2
    assert caught.value.code == "usage.recipe-unknown"
    assert str(caught.value).isprintable()


def test_whoever_stands_in_another_folder_is_told_where_to_go(tmp_path: Path) -> None:
    write(tmp_path, HEAD)
    for below in ("recipes", "docs/more"):
        (tmp_path / below).mkdir(parents=True, exist_ok=True)
        with pytest.raises(UsageError) as caught:
            load_recipe("web", root=tmp_path / below)
        assert caught.value.hint == f"It lies in '{tmp_path / 'recipes'}': call the factory in the folder above that"
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UsageError) as caught:
        load_recipe("nope", root=tmp_path / "elsewhere")
    assert f"'{tmp_path / 'elsewhere'}' has none: call the factory in the folder that has them" in caught.value.hint


def test_what_is_no_recipe_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UsageError, match=r"does not end with \.yaml"):
        load_recipe("./notes.txt", root=tmp_path)
    with pytest.raises(UsageError, match="not a regular file"):
        load_recipe("./pipe.yaml", root=tmp_path)
    with pytest.raises(UsageError, match="There is no recipe"):
        load_recipe("x", root=tmp_path / "no" / "such" / "folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_recipe_is_a_usage_error(tmp_path: Path) -> None:
    write(tmp_path, HEAD).chmod(0)
    with pytest.raises(UsageError, match="Permission denied"):
        load_recipe("web", root=tmp_path)


def test_validating_stays_light(tmp_path: Path) -> None:
    write(tmp_path, HEAD + FULL, FILES)
    script = (
        "import sys\nfrom factory.recipe import validate\nassert validate(['web']) == []\n"
        "print(' '.join(sorted(sys.modules)))"
    )
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    heavy = {
        "requests",
        "boto3",
        "libvirt",
        "paramiko",
        "jinja2",
        "rich",
        "dfvfs",
        "pycdlib",
        "cryptography",
        "hypothesis",
    }
    assert not loaded & heavy
    assert "factory.cache" not in loaded


def test_what_mends_an_error_is_told_in_one_line_with_its_command() -> None:
    assert UsageError("a", hint="Make it first.", command="mkdir b\ncd b").remedy == "Make it first: mkdir b; cd b"
    assert UsageError("a", hint="Make it").remedy == "Make it"
    assert UsageError("a", command="mkdir b").remedy == "mkdir b"
