"""``factory build --junit FILE``: what CI gets of green, red and broken builds."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from factory import build, manifest
from factory.build import Built, Options
from factory.console import Console
from factory.errors import BuildError, FactoryError, ImageRefused, PublishError, StepFailed
from factory.findings import Finding, Findings, Severity, Status
from factory.parallel import _ended, defect
from factory.plan import Plan, make_plan
from factory.workspace import Workspace
from tests import command_line
from tests.command_line import Done

Factory = Callable[..., Done]


def finding(rule: str, status: Status, severity: Severity, evidence: str, **more: str) -> Finding:
    given = {"subject": "image", "why": "w", "fix": "", "source": "", **more}
    return Finding(rule=rule, status=status, severity=severity, evidence=evidence, **given)


PASSED = finding("GEN-F08", "pass", "error", "gpt with 3 partitions")
TOLD = finding("GEN-G43", "warn", "info", "no agent", fix="install it")
SKIPPED = finding("GEN-F03", "skip", "error", "no qcow2")
FAILED = finding("BOOT-UNITS", "fail", "error", "failed: a\x1b[31m", subject="boot bios", fix="Read 'systemctl status'")


@pytest.fixture
def factory(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Factory:
    command_line.own_places(tmp_path, monkeypatch)
    return command_line.inside(capsys, monkeypatch)


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Builds without a machine: minimal is green, nginx is refused, postgresql fails with a secret on its lips."""
    names: list[str] = []

    def quick(plan: Plan, options: Options, console: Console) -> Built:
        names.append(plan.recipe.name)
        console.redact("correct-horse-battery")
        if plan.recipe.name == "postgresql":
            raise StepFailed("step 1 failed", cause="It said correct-horse-battery", command="apt-get check")
        red = plan.recipe.name == "nginx"
        folder = tmp_path / f"{plan.recipe.name}{'.failed' if red else ''}"
        folder.mkdir()
        findings = (PASSED, TOLD, SKIPPED, *([FAILED] if red else []))
        document = Findings(schema=1, image="x.qcow2", sha256="0" * 64, target="mgc", findings=findings)
        manifest.write(folder / "findings.json", document)
        if red:
            error = ImageRefused("it was refused")
            error.folder = folder
            raise error
        return Built(plan.recipe.name, "id", folder, folder / "x.qcow2", 5, "a" * 64, document.summary, 12.34)

    monkeypatch.setattr(build, "build", quick)
    return names


def suites(path: Path) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(path.read_text("utf-8"))
    assert root.tag == "testsuites"
    for count in ("tests", "failures", "errors", "skipped"):
        assert int(root.get(count, "-1")) == sum(int(suite.get(count, "-1")) for suite in root)
    for suite in root:
        assert int(suite.get("tests", "-1")) == len(suite.findall("testcase"))
        for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(count, "-1")) == len(suite.findall(f"testcase/{tag}"))
    return list(root)


def test_every_build_is_a_suite_whatever_became_of_it(factory: Factory, begun: list[str], tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text("of an earlier run")
    done = factory("build", "minimal", "nginx", "postgresql", "--jobs", "1", "--junit", path)
    assert done.returncode == 5
    green, red, broken = suites(path)
    assert str(green.get("name")).startswith("factory build minimal 1.0.0 (")
    assert (green.get("time"), green.get("failures"), green.get("errors")) == ("12.3", "0", "0")
    assert [case.get("classname") for case in green] == ["GEN-F08", "GEN-G43", "GEN-F03"]
    assert "one sound partition table" in str(green[0].get("name"))
    assert (red.get("failures"), red.get("errors")) == ("1", "0")
    failure = red.find("testcase/failure")
    assert failure is not None and failure.text is not None
    assert "systemctl status" in failure.text and "\\x1b[31m" in failure.text
    error = broken.find("testcase/error")
    assert error is not None and error.text is not None
    assert (error.get("type"), error.get("message")) == ("step.failed", "step 1 failed")
    assert "***" in error.text and "apt-get check" in error.text
    assert "horse" not in path.read_text("utf-8")
    assert [each.name for each in tmp_path.iterdir() if "junit" in each.name] == ["junit.xml"]


def test_one_build_that_is_red_writes_it_too(factory: Factory, begun: list[str], tmp_path: Path) -> None:
    done = factory("build", "nginx", "--junit", tmp_path / "a.xml")
    assert done.returncode == 5
    assert [suite.get("failures") for suite in suites(tmp_path / "a.xml")] == ["1"]


def test_a_defect_of_ours_ends_one_of_several_builds_and_shows_itself(
    factory: Factory, begun: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = build.build

    def defective(plan: Plan, options: Options, console: Console) -> Built:
        if plan.recipe.name == "nginx":
            raise ZeroDivisionError("by nobody")
        return good(plan, options, console)

    monkeypatch.setattr(build, "build", defective)
    done = factory("build", "nginx", "minimal", "--jobs", "1", "--junit", tmp_path / "a.xml")
    assert (done.returncode, begun) == (4, ["minimal"])
    assert "(build.defect)" in done.stderr and "Traceback" in done.stderr and "in defective" in done.stderr
    assert [suite.get("errors") for suite in suites(tmp_path / "a.xml")] == ["1", "0"]
    plan = make_plan("nginx")
    built, error = _ended(plan, Options(), cast(Any, None))  # the same in a process of its own
    assert built is None and error is not None and error.code == "build.defect"
    assert defect(plan, ImportError("no boto3", name="boto3")).code == "host.library-missing"
    assert defect(plan, ImportError("no such name", name="factory.build")).code == "build.defect"
    with pytest.raises(ZeroDivisionError):  # of one alone, Python tells
        factory("build", "nginx")


def test_a_build_that_could_not_be_published_has_its_findings_and_the_error(
    factory: Factory, begun: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = build.build

    def unpublished(plan: Plan, options: Options, console: Console) -> Built:
        error = PublishError("the store is full", code="publish.store-full")
        error.folder = good(plan, options, console).folder
        raise error

    monkeypatch.setattr(build, "build", unpublished)
    assert factory("build", "minimal", "--junit", tmp_path / "a.xml").returncode == 6
    (suite,) = suites(tmp_path / "a.xml")
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("4", "1", "0")


@pytest.mark.parametrize(("recipe", "status"), [("broken", 2), ("minimal", 130)])
def test_no_result_of_an_earlier_run_is_left_when_a_build_ends_early(
    recipe: str, status: int, factory: Factory, begun: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("factory.cli.build._in_turn", interrupted)
    (tmp_path / "broken.yaml").write_text("schema: 1\nname: broken\n")
    path = tmp_path / "junit.xml"
    path.write_text("<testsuites/>")
    done = factory("build", str(tmp_path / "broken.yaml") if recipe == "broken" else recipe, "--junit", path)
    assert done.returncode == status
    assert not path.exists() and begun == []


def test_what_cannot_be_written_is_told_before_anything_is_built(
    factory: Factory, begun: list[str], tmp_path: Path
) -> None:
    for path in (tmp_path / "none" / "junit.xml", tmp_path):
        done = factory("build", "minimal", "--junit", path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "usage.output" in done.stderr
    assert "mkdir -p" in factory("build", "minimal", "--junit", tmp_path / "none" / "x").stderr.splitlines()[-1]
    assert begun == []


def test_a_file_that_cannot_be_written_in_the_end_hides_no_failed_build(
    factory: Factory, begun: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BuildError("no room", code="x.y")

    monkeypatch.setattr("factory.build_report.write_whole", refused)
    done = factory("build", "nginx", "--junit", tmp_path / "a.xml")
    assert done.returncode == 5
    assert "no room" in done.stderr and "it was refused" in done.stderr
    assert factory("build", "minimal", "--junit", tmp_path / "a.xml").returncode == 4


def test_a_build_that_failed_says_where_its_findings_are(tmp_path: Path) -> None:
    workspace = Workspace.create("x", "a" * 8, output=tmp_path / "out", state=tmp_path / "state")
    (workspace.partial / "findings.json").write_text("{}")
    error = ImageRefused("no", command="rm -f /x")
    build._set_aside(workspace, Options(), error, keep_image=True)
    assert error.folder is not None and (error.folder / "findings.json").is_file()
    again: FactoryError = pickle.loads(pickle.dumps(error))  # as from the process of one of several builds
    assert (again.folder, again.command, str(again)) == (error.folder, "rm -f /x", str(error))
    assert error.folder.name.endswith(".failed")
