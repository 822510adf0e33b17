"""The command line: what each verb prints where, and how a mistake is told."""

from __future__ import annotations

import errno
import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from factory import __version__, build, doctor, errors, settings
from factory.build import Built, Options
from factory.console import Console
from factory.errors import StepFailed
from factory.findings import Summary
from factory.plan import Plan
from factory.workspace import Workspace
from tests import command_line
from tests.command_line import Done
from tests.recipe_files import HEAD, write

VERBS = (
    "build",
    "check",
    "validate",
    "plan",
    "test",
    "schema",
    "doctor",
    "gc",
    "ssh",
    "console",
    "retry",
    "bases",
    "images",
)
DEEPER = (("bases", "list"), ("bases", "build"), ("bases", "update"), ("images", "list"), ("images", "show"))
Factory = Callable[..., Done]


@pytest.fixture
def factory(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Factory:
    command_line.own_places(tmp_path, monkeypatch)
    return command_line.inside(capsys, monkeypatch)


# -- mistakes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("buidl",), "Did you mean 'build'?"),
        (("build",), "Missing argument 'RECIPE...'"),
        (("build", "nginx", "--frobnicate"), "No such option: --frobnicate"),
        (("build", "nginx", "--accel", "xen"), "'xen' is not one of 'auto', 'kvm', 'tcg'"),
        (("build", "nginx", "--boot-test", "half"), "'half' is not one of"),
        (("build", "nginx", "--connect", "qemu+ssh://far/system"), "not supported"),
        (("build", "nginx", "--set", "greeting"), "--set wants NAME=VALUE"),
        (("build", "nginx", "--set", "=x"), "--set wants NAME=VALUE"),
        (("plan", "nginx", "--set", "nope=1"), "the recipe declares no such variable"),
        (("plan", "ngnix"), "Did you mean nginx?"),
        (("plan", "no/such/recipe.yaml"), "does not exist"),
        (("plan", "a" * 300), "There is no recipe"),
        (("plan", "nginx", "--target", "mgd"), "Did you mean mgc?"),
        (("validate", "ngnix"), "Did you mean nginx?"),
        (("test", "/no/such/image"), "there is no image"),
        (("test", "recipes"), "recipes is a folder"),
        (("test", "/no/such/image", "--boot-test", "none"), "'none' is not one of 'full', 'quick'"),
        (("test", "/no/such/image", "--set", "greeting=hello"), "no recipe is named"),
        (("test", "a" * 300), "there is no image"),
        (("images", "show", "nope"), "there is no build 'nope'"),
        (("images", "show", "a" * 300), "there is no build"),
        (("bases", "build", "debain-12"), "debian-12"),
        (("bases", "frobnicate"), "No such command"),
        (("schema", "x"), "'x' is not one of 'recipe', 'manifest', 'findings'"),
        (("schema",), "Missing argument 'DOCUMENT'. Choose from: recipe, manifest, findings."),
        (("--json", "plan", "nginx"), "No such option: --json. The options of a verb stand behind it"),
    ],
)
def test_a_mistake_is_told_in_one_paragraph(factory: Factory, words: tuple[str, ...], said: str) -> None:
    done = factory(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Value error" not in done.stderr and "?." not in done.stderr
    *faults, paragraph = done.stderr.splitlines()
    assert re.fullmatch(r"error: \S.*[.?!] \[[a-z]+(\.[a-z-]+)*\]", paragraph), paragraph
    assert all(re.match(r"\S+: ", fault) for fault in faults) and len(faults) < 2


def test_a_secret_given_wrongly_is_not_repeated(factory: Factory) -> None:
    assert "correct-horse" not in factory("plan", "nginx", "--set", "correct-horse-battery").stderr


def test_a_value_comes_from_a_file(factory: Factory, tmp_path: Path) -> None:
    file = write(
        tmp_path, HEAD + "variables: {word: {}, token: {secret: true}}\nprovision: [{shell: 'echo $word $token'}]\n"
    )
    (tmp_path / "word").write_text("a@b=c\n")
    (tmp_path / "token").write_text("correct-horse")
    given = ("--set", f"word@{tmp_path / 'word'}", "--set", f"token@{tmp_path / 'token'}", "--json")
    from_files = json.loads(factory("plan", file, *given).stdout)
    assert from_files == json.loads(factory("plan", file, "--set", "word=a@b=c", "--set", "token=x", "--json").stdout)
    for wrong in (tmp_path / "nope", tmp_path, Path("/dev/zero")):
        done = factory("plan", file, "--set", f"word@{wrong}")
        assert (done.returncode, done.stdout) == (2, "") and "[usage.set]" in done.stderr, done.stderr


def test_ten_faults_are_ten_lines(factory: Factory, tmp_path: Path) -> None:
    faults = (
        "disk: 1\nmachine: {cpus: no, memory: 1}\nupgrade: perhaps\nnonsense: 1\ntargets: [x y]\n"
        "provision:\n  - packages: []\n  - copy: {source: gone, destination: relative}\n  - frob: 1\n"
        "test:\n  - port: 99999\n"
    )
    file = write(tmp_path, HEAD + faults)
    done = factory("validate", file)
    told = [line for line in done.stderr.splitlines() if line.startswith(f"{file}:")]
    assert done.returncode == 2
    assert len(told) >= 10
    assert f"error: {len(told)} faults in" in done.stderr
    assert factory("plan", file).stderr == done.stderr


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.UsageError, 2), (errors.HostError, 3), (errors.BuildError, 4), (errors.CommandFailed, 4),
        (errors.MachineError, 4), (errors.StepFailed, 4), (errors.BaseError, 4), (errors.ImageRefused, 5),
        (errors.PublishError, 6),
    ],
)  # fmt: skip
def test_each_error_has_its_status(
    factory: Factory, monkeypatch: pytest.MonkeyPatch, kind: type[errors.FactoryError], status: int
) -> None:
    def fail() -> list[doctor.Check]:
        raise kind("what", cause="why\x1b[31m", hint="fix", output="line 1\nline 2", code="x.y")

    monkeypatch.setattr(doctor, "examine", fail)
    done = factory("doctor")
    assert (done.returncode, done.stdout, kind.status) == (status, "", status)
    assert done.stderr.splitlines() == ["error: what. why. fix. [x.y]", "    | line 1", "    | line 2"]
    event = json.loads(factory("--log-format", "json", "doctor").stderr)
    assert (event["event"], event["code"], event["status"]) == ("error", "x.y", status)


@pytest.mark.parametrize("verb", ["test", "publish"])
def test_what_is_no_disk_is_told_before_anything_starts(factory: Factory, tmp_path: Path, verb: str) -> None:
    (tmp_path / "x.iso").write_bytes(bytes(32769) + b"CD001" + bytes(9000))
    done = factory(verb, tmp_path / "x.iso", *(["--target", "mgc"] if verb == "publish" else ["--accel", "kvm"]))
    assert (done.returncode, done.stdout) == (5, "")
    assert "is an ISO image" in done.stderr and "image.not-a-disk" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("    Install the system from it")


def test_a_place_for_logs_that_cannot_be_is_told_before_anything_starts(factory: Factory, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"QFI\xfb" + bytes(600))
    (tmp_path / "file").touch()
    done = factory("test", tmp_path / "image", "--logs", tmp_path / "file" / "logs")
    assert done.returncode == 3 and "[host.not-a-folder]" in done.stderr


def test_a_state_that_cannot_be_made_is_told(factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tarfile.open(tmp_path / "image.oci", "w") as tar:  # which is unpacked there
        tar.addfile(tarfile.TarInfo("image_metadata.json"))
    monkeypatch.setenv("FACTORY_STATE", "/proc/nowhere")
    done = factory("check", tmp_path / "image.oci", "--target", "oci")
    assert done.returncode == 3 and "Traceback" not in done.stderr and "/proc/nowhere" in done.stderr


def test_a_misspelt_setting_is_told(factory: Factory, tmp_path: Path) -> None:
    config = tmp_path / "config" / "image-factory" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('mirrror = "http://mirror.example/debian"\n')
    done = factory("plan", "minimal")
    assert done.returncode == 2 and "[usage.config]" in done.stderr
    assert f"{config} has no setting 'mirrror'. Did you mean mirror?" in done.stderr


# -- help


def test_help_names_every_verb_and_every_status(factory: Factory) -> None:
    done = factory("--help")
    assert (done.returncode, done.stderr) == (0, "")
    listed = re.findall(r"^  ([a-z]+) {2,}\S", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert set(VERBS) <= set(listed)
    for status in ("0 ok", "2 ", "3 ", "4 ", "5 ", "6 ", "130 "):
        assert status in " ".join(done.stdout.split())


@pytest.mark.parametrize("words", [*((verb,) for verb in VERBS), *DEEPER], ids=" ".join)
def test_every_verb_has_help(factory: Factory, words: tuple[str, ...]) -> None:
    done = factory(*words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: factory {' '.join(words)}" in done.stdout
    assert len(done.stdout.split("\n\n")[1].strip()) > 15  # a sentence about it
    arguments = done.stdout.partition("Arguments:\n")[2].partition("\n\n")[0]
    assert not re.search(r"^  [a-z]", arguments, re.MULTILINE), "arguments have the names that errors call them by"
    assert "> [required]" not in " ".join(arguments.split()), "and each has words beside its type"


@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_a_command_for_a_kept_machine_may_follow_two_dashes(
    factory: Factory, monkeypatch: pytest.MonkeyPatch, dashes: list[str]
) -> None:
    given: list[list[str]] = []
    monkeypatch.setattr("factory.kept.find", lambda build: build)
    monkeypatch.setattr("factory.kept.ssh_words", lambda entry, words: [entry, *words])
    monkeypatch.setattr("factory.run.become", lambda words, **_: given.append(words))
    assert factory("ssh", "nginx", *dashes, "ls", "-l", "--", "x").returncode == 0
    assert given == [["nginx", "ls", "-l", "--", "x"]]


def test_build_has_the_options_of_the_contract(factory: Factory) -> None:
    text = factory("build", "--help").stdout
    for option in ("--target", "--set", "--accel", "--connect", "--offline", "--accept-stale", "--boot-test", "--keep",
                   "--output", "--json", "--log-format", "--cold", "--no-cache"):  # fmt: skip
        assert option in text


@pytest.mark.parametrize("words", [(), ("bases",), ("images",)], ids=["factory", "bases", "images"])
def test_without_a_verb_there_is_help_on_standard_error(factory: Factory, words: tuple[str, ...]) -> None:
    done = factory(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: factory" in done.stderr


def test_the_version(factory: Factory) -> None:
    done = factory("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"factory {__version__}\n", "")


# -- results


def test_validate(factory: Factory) -> None:
    done = factory("validate", "nginx", "minimal")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 recipes without a fault\n", "")


def test_plan(factory: Factory) -> None:
    done = factory("plan", "nginx")
    assert (done.returncode, done.stderr) == (0, "")
    assert "to be made: it is not in the cache" in done.stdout
    document = json.loads(factory("plan", "nginx", "--json").stdout)
    assert (document["schema"], document["recipe"]) == (1, "nginx")
    assert re.fullmatch("[0-9a-f]{64}", document["key"])
    stages = {stage["stage"] for stage in document["stages"]}
    assert {"base", "machine", "upgrade", "step 1", "scrub", "image", "test 1"} <= stages


@pytest.mark.parametrize("name", ["recipe", "manifest", "findings"])
def test_schema(factory: Factory, name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(factory("schema", name).stdout))


def test_a_latest_that_leads_nowhere_is_told(factory: Factory, tmp_path: Path) -> None:
    (tmp_path / "nginx" / "20261101T000000Z-0123abcd").mkdir(parents=True)
    (tmp_path / "nginx" / "latest").symlink_to("20261102T000000Z-0123abcd")
    said = factory("images", "show", "nginx", "--output", tmp_path).stderr
    assert f"{tmp_path}/nginx/latest leads to no build; the newest one there is 20261101T000000Z-0123abcd." in said
    assert "Did you mean" not in said


def test_images_of_an_output_that_is_not_there(factory: Factory, tmp_path: Path) -> None:
    for words in (("list", "--json"), ("list",), ("prune",)):
        done = factory("images", *words, "--output", tmp_path / "none")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"there is no folder {tmp_path / 'none'}" in done.stderr and "[usage.no-such-folder]" in done.stderr


def test_images_of_an_output_that_is_empty_or_not_made_yet(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    done = factory("images", "list", "--json", "--output", tmp_path / "empty")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"schema": 1, "images": []})
    assert factory("images", "list", "--output", tmp_path / "empty").returncode == 0
    monkeypatch.chdir(tmp_path)
    done = factory("images", "list", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"schema": 1, "images": []})
    assert "Nothing has been built here yet" in done.stderr


def test_bases_list(factory: Factory) -> None:
    document = json.loads(factory("bases", "list", "--json").stdout)
    names = {base["name"]: base for base in document["bases"]}
    assert {"debian-12", "ubuntu-24.04", "rocky-9"} <= set(names)
    assert names["debian-12"]["kind"] == "scratch" and names["debian-12"]["cached"] is False
    assert "not cached" in factory("bases", "list").stdout


def test_gc_of_nothing(factory: Factory) -> None:
    assert json.loads(factory("gc", "--json").stdout) == {"schema": 1, "removed": [], "dry_run": False}


@pytest.fixture
def quick_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of builds: that of nginx fails with a secret on its lips, any other is a success."""

    def quick(plan: Plan, options: Options, console: Console) -> Built:
        console.redact("correct-horse-battery")
        if plan.recipe.name == "nginx":
            raise StepFailed("step 1 failed", cause="It last said: correct-horse-battery", hint="mend it")
        out = Path("/out/x")
        return Built(plan.recipe.name, "id", out, out / "x.qcow2", 5, "a" * 64, Summary.of([]), 1.0)

    monkeypatch.setattr(build, "build", quick)


@pytest.mark.usefixtures("quick_builds")
def test_a_build_prints_its_directory_and_nothing_else(factory: Factory) -> None:
    done = factory("build", "minimal")
    assert (done.returncode, done.stdout) == (0, "/out/x\n")


@pytest.mark.usefixtures("quick_builds")
def test_a_failed_build_is_an_error_and_its_json_has_no_secret(factory: Factory) -> None:
    done = factory("build", "nginx", "--json")
    (built,) = json.loads(done.stdout)["builds"]
    assert done.returncode == built["status"] == 4
    assert built["error"]["code"] == "step.failed"
    assert "***" in built["error"]["cause"]
    assert "horse" not in done.stdout + done.stderr
    assert "error: step 1 failed." in done.stderr


def test_what_is_built_again_tells_its_events_as_the_command_line_asks(
    factory: Factory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The build itself is replaced by one that fails at once and is kept."""

    def fail(plan: Plan, options: Options, console: Console) -> Built:
        workspace = Workspace.create(plan.recipe.name, plan.key, output=options.output, state=settings.state_dir())
        console.say("It begins.")
        workspace.keep("step.failed", options.again)
        workspace.fail()
        raise StepFailed("step 1 failed")

    monkeypatch.setattr(build, "build", fail)
    words = ("build", write(tmp_path, HEAD), "--output", tmp_path / "out", "--keep", "on-failure")
    assert " It begins.\n" in factory(*words).stderr
    again = factory("--log-format", "json", "retry")
    assert again.returncode == 4
    told = [json.loads(line) for line in again.stderr.splitlines()]
    assert [each["text"] for each in told if each["event"] == "message"][1:] == ["It begins."]
    assert factory("retry").stderr.splitlines()[1].endswith(" It begins.")


def test_what_failed_is_built_again_although_an_earlier_image_is_good(
    factory: Factory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What fails is replaced; it was called for although the same image is there, and so is what is built again."""
    asked: list[Options] = []

    def fail(plan: Plan, options: Options, console: Console) -> Built:
        asked.append(options)
        workspace = Workspace.create(plan.recipe.name, plan.key, output=options.output, state=settings.state_dir())
        workspace.keep("step.failed", options.again)
        workspace.fail()
        raise StepFailed("step 1 failed")

    monkeypatch.setattr(build, "build", fail)
    words = ("build", write(tmp_path, HEAD), "--output", tmp_path / "out", "--keep", "on-failure")
    factory(*words, "--no-cache")
    told = [factory("retry").stderr for _ in range(2)]
    factory(*words)
    assert [(each.always, each.no_cache) for each in asked] == [
        (True, True),
        (True, False),
        (True, False),
        (False, False),
    ]
    assert len({each.again for each in asked}) == 1
    assert all("Again: factory build" in each and "--again" not in each for each in told)


def test_a_disk_that_fills_ends_one_build_and_no_other(
    factory: Factory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The stages of a build are replaced by a system that refuses something at a place that nobody thought of."""

    def run(plan: Plan, *_: object) -> Built:
        if plan.recipe.name == "nginx":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/place")
        raise StepFailed("step 1 failed")

    monkeypatch.setattr(build, "_run", run)
    monkeypatch.setattr(build, "reap_before_a_build", lambda: None)
    monkeypatch.setattr("factory.preflight.check", lambda *_, **__: None)
    done = factory("build", "nginx", "minimal", "--jobs", "1", "--json", "--accel", "tcg", "--output", tmp_path)
    errors = [built["error"] for built in json.loads(done.stdout)["builds"]]
    assert [(each["status"], each["code"]) for each in errors] == [(3, "host.disk-full"), (4, "step.failed")]
    (failed,) = (tmp_path / "nginx").iterdir()
    assert "/full/place" in errors[0]["message"] and str(failed) in errors[0]["hint"] and done.returncode == 3
    assert (failed / "build.log").stat().st_size


@pytest.mark.usefixtures("quick_builds")
def test_of_several_builds_each_is_told_and_one_that_fails_decides(factory: Factory) -> None:
    done = factory("build", "nginx", "minimal", "--jobs", "1", "--json")
    assert [built["status"] for built in json.loads(done.stdout)["builds"]] == [4, 0]
    assert done.returncode == 4
    plain = factory("build", "minimal", "nginx", "--jobs", "1")
    assert (plain.returncode, plain.stdout) == (4, "/out/x\n")
    assert plain.stderr.count("error: step 1 failed.") == 1
