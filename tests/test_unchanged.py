"""Nothing to do: which earlier build is taken for one that is asked for, and which is not."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from factory import bases, cache, manifest, own_sources, seed, targets
from factory.build import Built
from factory.findings import Summary
from factory.layers.layering import machine_parts
from factory.plan import Plan, make_plan
from factory.renewal.unchanged import find
from tests import command_line
from tests.command_line import Done
from tests.recipe_files import HEAD, write
from tests.test_manifest import facts

MORE = "upgrade: none\nvariables:\n  greeting: {default: hello}\nprovision:\n  - shell: 'echo $greeting'\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with a cache that has a base."""
    command_line.own_places(tmp_path, monkeypatch)
    write(tmp_path, HEAD + MORE)
    content = tmp_path / "base"
    content.write_bytes(b"a base")
    cache.Cache().put("base", bases.resolve("debian-12").key, content, {})
    return tmp_path


def plan_of(place: Path, **settings: str) -> Plan:
    return make_plan(str(place / "recipes/web.yaml"), settings=settings)


def built(place: Path, plan: Plan, *, age: float = 60.0, **changes: Any) -> Path:
    """The output of a build of *plan* that began *age* seconds ago."""
    began = datetime.now(UTC) - timedelta(seconds=age)
    build_id = f"{began:%Y%m%dT%H%M%SZ}-{plan.key[:8]}"
    folder = place / "out/web" / build_id
    folder.mkdir(parents=True)
    (folder / plan.image).write_bytes(b"12345")
    base = bases.cached(plan.base)
    assert base
    document = manifest.Manifest.model_validate(
        facts(
            build_id=build_id,
            key=plan.key,
            base={"name": "debian-12", "digest": base.sha256, "kind": "scratch"},
            started=began.isoformat(),
            ended=datetime.now(UTC).isoformat(),
            image={"file": plan.image, "format": "qcow2", "size": 5, "virtual_size": 9, "sha256": "a" * 64},
            boot_test="full",
        )
        | changes
    )
    manifest.write(folder / "manifest.json", document)
    return folder


def why(place: Path, plan: Plan, boot_test: str = "full") -> str:
    found = find(plan, place / "out", boot_test)
    assert found.image is None
    return found.why


def test_the_same_again_is_there_already(place: Path) -> None:
    plan = plan_of(place)
    assert "no build of this recipe" in why(place, plan)
    built(place, plan, age=900)
    newest = built(place, plan)
    for mode in ("full", "quick", "none"):
        found = find(plan_of(place), place / "out", mode)
        assert found.image and found.image.folder == newest


def test_a_build_that_is_dated_in_the_future_is_not_current_until_then(place: Path) -> None:
    write(place, HEAD + "provision:\n  - packages: [figlet]\n")
    plan = plan_of(place)
    far = datetime.now(UTC) + timedelta(days=401)
    built(place, plan, age=-400 * 86400, ended=far.isoformat())
    assert "dated in the future" in why(place, plan)
    newest = built(place, plan)
    found = find(plan, place / "out", "full")
    assert found.image and found.image.folder == newest


def test_what_was_asked_for_differs(place: Path) -> None:
    built(place, plan_of(place))
    assert "no build of this recipe" in why(place, plan_of(place, greeting="good morning"))
    write(place, HEAD + MORE.replace("echo", "echo -n"))
    assert "no build of this recipe" in why(place, plan_of(place))


def test_what_the_settings_move_of_a_target_decides_an_image_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(limits: str, *target: str) -> str:
        monkeypatch.setenv("FACTORY_TARGET_LIMITS", limits)
        targets._load.cache_clear()
        return make_plan(str(place / "recipes/web.yaml"), target=target).key

    try:
        plain, of_mgc = key(""), key("", "mgc")
        assert key("mgc.file_size=25GB") == plain != key("generic.file_size=25GB")
        assert key("generic.file_size=25GB", "mgc") == of_mgc != key("mgc.file_size=25GB", "mgc")
        assert len({plain, of_mgc, key("", "generic")}) == 3
    finally:
        targets._load.cache_clear()


@pytest.mark.parametrize(
    ("changed", "layers_too"),
    [
        ("factory/scrub/tmp_files.py", False),
        ("factory/scrub/begin.sh", False),
        ("factory/targets/rules/boot.yaml", False),
        ("factory/provision/copy.py", True),
        ("factory/customise.py", True),
        ("factory/recipe/copying.py", True),
        ("factory/guest/__init__.py", True),
        ("factory/mirror.py", True),
        ("factory/recipe/faults.py", False),
        ("templates/cloud-init/build-user-data.j2", False),  # the text that is made of it is in the keys of layers
    ],
)
def test_another_state_of_the_factory_builds_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch, changed: str, layers_too: bool
) -> None:
    def keys() -> tuple[str, str]:
        own_sources.digest.cache_clear()
        plan = plan_of(place)
        return plan.key, machine_parts(plan.recipe, "b" * 64, "tcg")["the factory"]

    root = Path(own_sources.__file__).parents[1]
    for name in ("factory", "templates"):
        shutil.copytree(root / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(own_sources, "PACKAGE", place / "factory")
    monkeypatch.setattr(seed, "template_folder", lambda: place / "templates/cloud-init")
    try:
        before = keys()
        (place / "factory/__pycache__").mkdir()
        (place / "factory/__pycache__/x.py").write_text("of no meaning")
        assert keys() == before
        with (place / changed).open("a") as file:
            file.write("\n")
        after = keys()
        assert after[0] != before[0] and (after[1] != before[1]) == layers_too
    finally:
        own_sources.digest.cache_clear()


def test_the_base_has_changed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(place)
    built(place, plan)
    monkeypatch.setattr(bases, "fresh", lambda *_: False)
    assert "the base is to be made anew" in why(place, plan)
    assert find(plan, place / "out", "full", accept_stale=True).image
    monkeypatch.undo()
    monkeypatch.setenv("FACTORY_CACHE", str(place / "cache"))
    content = place / "base"
    content.write_bytes(b"a newer base")
    cache.Cache().put("base", plan.base.key, content, {})
    assert "the base has changed" in why(place, plan)


@pytest.mark.parametrize(
    "changes",
    [{"boot_test": "quick"}, {"boot_test": "none"}, {"findings": {"fail": 1}}],
    ids=["quick", "none", "refused"],
)
def test_less_than_a_full_test_is_not_enough_for_one(place: Path, changes: dict[str, Any]) -> None:
    plan = plan_of(place)
    built(place, plan, **changes)
    assert "no earlier build is whole and was tested" in why(place, plan)


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"1234")])
def test_half_an_image_is_none(place: Path, damage: Callable[[Path], object]) -> None:
    plan = plan_of(place)
    damage(built(place, plan) / plan.image)
    assert "no earlier build is whole" in why(place, plan)


@pytest.mark.parametrize(
    ("more", "age", "old"),
    [
        (MORE, 300 * 86400, False),
        (MORE.replace("none", "security"), 25 * 3600, True),
        (MORE.replace("none", "security"), 23 * 3600, False),
        (MORE + "  - packages: [nginx]\n", 25 * 3600, True),
        (MORE + "cloud_init: {packages: [nginx]}\n", 25 * 3600, True),
        (MORE + "cloud_init: {packages: [nginx]}\n", 23 * 3600, False),
        (MORE + "cloud_init: {runcmd: ['curl -o /srv/list https://example.org/list']}\n", 25 * 3600, True),
        (MORE + "cloud_init: {write_files: [{path: /etc/motd, content: hello}]}\n", 25 * 3600, False),
        (MORE + "  - shell: {run: date, refresh: 1h}\n", 2 * 3600, True),
        (MORE + "  - shell: {run: date, refresh: 1h}\n", 1800, False),
        (MORE + "  - shell: {run: date, refresh: always}\n", 5, True),
    ],
)
def test_what_was_fetched_grows_old(place: Path, more: str, age: float, old: bool) -> None:
    write(place, HEAD + more)
    plan = plan_of(place)
    built(place, plan, age=age)
    assert (find(plan, place / "out", "full").image is None) == old


def stage(name: str, expires: float) -> dict[str, Any]:
    """A stage of a manifest, whose result is too old *expires* seconds from now on."""
    now = datetime.now(UTC)
    moments = {"start": now, "end": now, "expires": now + timedelta(seconds=expires)}
    return {"name": name, "path": f"web/{name}", "seconds": 0.0, "state": "cached"} | moments


@pytest.mark.parametrize(("left", "old"), [(-60, True), (3600, False)])
def test_a_layer_that_a_build_used_grows_old_from_when_it_was_made(place: Path, left: float, old: bool) -> None:
    write(place, HEAD + MORE + "  - packages: [nginx]\n")
    plan = plan_of(place)
    document = built(place, plan, age=3600, stages=[stage("2/2 packages", left), stage("1/2 shell", 86400)])
    if old:
        assert why(place, plan) == "what 2/2 packages fetched in the last build, or before it, is too old"
    else:
        found = find(plan, place / "out", "full")
        assert found.image and found.image.folder == document


def test_a_recipe_with_secrets_is_always_built(place: Path) -> None:
    write(place, HEAD + "variables:\n  token: {secret: true}\n")
    plan = plan_of(place, token="correct-horse")
    built(place, plan)
    assert "secrets" in why(place, plan)


@pytest.fixture
def factory(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    return command_line.inside(capsys, monkeypatch)


def test_the_command_ends_at_once_and_latest_points_to_what_was_asked_for(
    place: Path, factory: Callable[..., Done]
) -> None:
    folder = built(place, plan_of(place))
    other = built(place, plan_of(place, greeting="other"), age=30)
    latest = place / "out/web/latest"
    latest.symlink_to(other.name)
    done = factory("build", place / "recipes/web.yaml", "--output", place / "out")
    assert (done.returncode, done.stdout) == (0, f"{folder}\n")
    assert "nothing to do, unchanged since the build of 1 minute ago" in done.stderr
    assert latest.resolve() == folder
    (told,) = json.loads(factory("build", place / "recipes/web.yaml", "--output", place / "out", "--json").stdout)[
        "builds"
    ]
    assert told["unchanged"] is True and told["directory"] == str(folder)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_directory_is_told_in_one_form_whether_it_was_there_or_not(
    place: Path, factory: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, fresh: bool
) -> None:
    folder = built(place, plan_of(place))
    (folder.parent / "latest").symlink_to(folder.name)
    if fresh:  # a workspace has absolute paths
        result = Built("web", folder.name, folder, folder / "web-1.0.0.qcow2", 5, "a" * 64, Summary.of([]), 1.0)
        monkeypatch.setattr("factory.build.build", lambda *_: result)
    monkeypatch.chdir(place)
    assert factory("build", "recipes/web.yaml").stdout == f"out/web/{folder.name}\n"
    (told,) = json.loads(factory("build", "recipes/web.yaml", "--json").stdout)["builds"]
    assert told["unchanged"] is not fresh
    assert (told["directory"], Path(told["image"]).parent) == (str(folder), folder)


@pytest.mark.real
def test_it_takes_less_than_a_second_and_a_half(place: Path) -> None:
    built(place, plan_of(place))
    words = ("build", place / "recipes/web.yaml", "--output", place / "out")
    took = []
    for _ in range(3):
        start = time.monotonic()
        assert command_line.run(*words).returncode == 0
        took.append(time.monotonic() - start)
    assert min(took) < 1.5


def test_a_plan_says_that_there_is_nothing_to_do(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(*words: str | Path) -> dict[str, dict[str, Any]]:
        done = factory("plan", place / "recipes/web.yaml", *words, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return {row["stage"]: row for row in json.loads(done.stdout)["stages"]}

    factory = command_line.inside(capsys, monkeypatch)
    plan = plan_of(place)
    there = ("--output", place / "out")
    before = rows(*there)
    assert (before["build"]["cache"], before["build"]["key"]) == ("miss", plan.key)
    assert "no build of this recipe" in before["build"]["why"]
    assert [before[stage]["state"] for stage in ("scrub", "image", "boot test")] == ["runs", "made", "runs"]
    folder = built(place, plan)
    after = rows(*there)
    assert after["build"]["cache"] == "hit" and "unchanged since the build of" in after["build"]["why"]
    assert folder.name in after["build"]["state"] and after["build"]["state"].startswith("nothing to do")
    others = {row["state"] for stage, row in after.items() if stage != "build" and row["cache"] != "hit"}
    assert others == {"not needed"}
    assert after["base"]["state"] == before["base"]["state"], "what is cached is told as that"
    assert rows("--output", place / "elsewhere")["build"]["cache"] == "miss"
    assert not (place / "elsewhere").exists()


def test_a_plan_knows_what_a_daemon_keeps(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    factory = command_line.inside(capsys, monkeypatch)
    recipe = place / "recipes/web.yaml"
    monkeypatch.setenv("FACTORY_CONNECT", "qemu:///system")
    for words in (("plan", recipe), ("plan", recipe, "--connect", "qemu:///session")):
        told = json.loads(factory(*words, "--json").stdout)["stages"]
        points = [row for row in told if row["stage"] in ("machine", "upgrade", "step 1")]
        assert {(row["cache"], row["why"]) for row in points} == {("miss", "a daemon's libvirt keeps no layers")}
        assert len({row["key"] for row in points}) == len(points) > 1
    assert "daemon" not in factory("plan", recipe, "--connect", "qemu:///embed").stdout
    assert factory("plan", recipe, "--connect", "qemu+ssh://far/system").returncode == 2
