"""``factory check``: what it prints, the reports of each format, and how it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from factory import disk, report, schemas, settings
from factory.findings import Finding, Findings
from tests import command_line, rule_images
from tests.command_line import Done
from tests.rule_images import folder, remove, write

Factory = Callable[..., Done]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMm2o2hUq2vXvQe2T3Yh2pWq1H8p0b1mYbq7m1a9o3kT builder"


@pytest.fixture
def factory(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Factory:
    command_line.own_places(tmp_path, monkeypatch)
    return command_line.inside(capsys, monkeypatch)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rule_images.make(tmp_path_factory.mktemp("good") / "good.qcow2", "debian")


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bad") / "bad.qcow2"
    key = write("/etc/ssh/ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n", 0o600)
    return rule_images.make(path, "debian", key)


# -- how it ends


@pytest.mark.real
def test_a_good_image_ends_with_0_and_is_not_touched(factory: Factory, good: Path) -> None:
    before = disk.sha256(good), good.stat().st_mtime_ns
    done = factory("check", good)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 failed" in done.stdout.splitlines()[-1]
    assert (disk.sha256(good), good.stat().st_mtime_ns) == before
    assert list(settings.state_dir().iterdir()) == []


@pytest.mark.real
@pytest.mark.parametrize("form", ["json", "sarif", "junit", "text"])
def test_a_bad_image_ends_with_5_in_every_format(factory: Factory, bad: Path, form: str) -> None:
    done = factory("check", bad, "--format", form)
    assert done.returncode == 5
    assert "image.refused" in done.stderr
    assert "ssh_host_ed25519_key" in done.stdout and "c2VjcmV0" not in done.stdout
    if form == "json":
        found = json.loads(done.stdout)
        jsonschema.validate(found, schemas.schema("findings"))
        assert found["sha256"] == disk.sha256(bad)
        assert found["target"] == "mgc"
        assert "fail" in {each["status"] for each in found["findings"]}
    elif form == "sarif":
        found = json.loads(done.stdout)
        results = found["runs"][0]["results"]
        rules = {rule["id"] for rule in found["runs"][0]["tool"]["driver"]["rules"]}
        assert {each["ruleId"] for each in results} <= rules
        assert "error" in {each["level"] for each in results}
    elif form == "junit":
        suite = ElementTree.fromstring(done.stdout)[0]
        assert int(suite.get("failures", "0")) == len(suite.findall("testcase/failure")) > 0
        assert int(suite.get("tests", "0")) == len(suite.findall("testcase"))
    else:
        assert done.stdout.startswith("FAIL")


@pytest.mark.real
@pytest.mark.parametrize("content", [b"", b"no disk\n" * 999, b"QFI\xfb", b"QFI\xfb\0\0\0\3" + b"\xff" * 200])
def test_what_is_no_disk_ends_with_5_and_json(factory: Factory, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.qcow2").write_bytes(content)
    done = factory("check", tmp_path / "x.qcow2", "--format", "json")
    assert done.returncode == 5
    found = json.loads(done.stdout)["findings"]
    failed = [each for each in found if each["status"] == "fail"]
    assert any("could not look" in each["evidence"] for each in failed)
    assert all(each["status"] != "pass" for each in found if each["rule"].startswith("GEN-G"))


@pytest.mark.real
def test_what_cannot_be_looked_at_cannot_be_ignored(factory: Factory, tmp_path: Path) -> None:
    path = rule_images.make(tmp_path / "empty.qcow2", "debian", remove("/etc", "/usr"), folder("/data"))
    done = factory("check", path, "--ignore", "GEN-G01=I know")
    assert done.returncode == 5
    assert "could not look, so not approved" in done.stdout


def test_an_absent_file_a_folder_and_a_pipe_end_with_2(factory: Factory, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe", "a" * 300):
        done = factory("check", path, "--format", "json")
        assert (done.returncode, done.stdout) == (2, "")
        assert "usage.no-such-file" in done.stderr


@pytest.mark.real
def test_a_missing_program_ends_with_3_and_json(factory: Factory, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.run._search_path", lambda: "/nonexistent")
    done = factory("check", good, "--format", "json")
    assert done.returncode == 3
    assert "host.tool-missing" in done.stderr
    assert [each["status"] for each in json.loads(done.stdout)["findings"]] == ["fail"]


# -- options


@pytest.mark.real
def test_an_ignored_rule_is_skipped_with_the_reason(factory: Factory, bad: Path) -> None:
    first = json.loads(factory("check", bad, "--format", "json").stdout)["findings"]
    broken = sorted({each["rule"] for each in first if each["status"] == "fail"})
    words = [word for rule in broken for word in ("--ignore", f"{rule}=a test key")]
    done = factory("check", bad, "--format", "json", *words)
    assert done.returncode == 0, done.stderr
    again = [each for each in json.loads(done.stdout)["findings"] if each["rule"] in broken]
    assert {each["status"] for each in again} <= {"skip", "pass"}
    assert all("a test key" in each["evidence"] for each in again if each["status"] == "skip")


@pytest.mark.real
def test_several_targets_share_what_they_find(factory: Factory, good: Path) -> None:
    done = factory("check", good, "-t", "mgc", "-t", "oci", "--format", "json")
    found = json.loads(done.stdout)
    assert found["target"] == "mgc,oci"
    rules = [each["rule"] for each in found["findings"]]
    assert {"MGC-F01", "OCI-F01"} <= set(rules)
    assert rules.count("GEN-F08") == 1


@pytest.mark.real
def test_a_moved_limit_is_a_setting(factory: Factory, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory import targets

    monkeypatch.setenv("FACTORY_TARGET_LIMITS", "oci.file_size=1GB, mgc.file_size=1MB")
    targets._load.cache_clear()
    try:
        done = factory("check", good)
    finally:
        targets._load.cache_clear()
    assert done.returncode == 5
    assert "MGC-F02" in done.stdout


def test_explain_says_all_of_a_rule(factory: Factory) -> None:
    done = factory("check", "--explain", "gen-f08")
    assert done.returncode == 0
    for word in ("GEN-F08", "BT14", "error", "sgdisk", "https://"):
        assert word in done.stdout
    assert factory("check", "--explain", "BT14").stdout == done.stdout
    assert len(factory("check", "--explain", "all").stdout.splitlines()) > 20


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--ignore", "GEN-F08"), "usage.ignore"),
        (("--ignore", "GEN-F08= "), "usage.ignore"),
        (("--ignore", "GEN-F99=x"), "usage.rule"),
        (("--target", "mgd"), "usage.target"),
        (("--format", "yaml"), "usage.command-line"),
    ],
)
def test_wrong_words_end_with_2(factory: Factory, words: tuple[str, ...], code: str) -> None:
    done = factory("check", "README.md", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert code in done.stderr


# -- reports


@pytest.mark.parametrize("name", ["json", "junit", "sarif", "text"])
def test_a_report_of_hostile_words_is_whole(name: str) -> None:
    finding = Finding(
        rule="GEN-G27",
        status="fail",
        severity="error",
        subject="/home/<b>&\"'/]]>",
        evidence="<script>]]>\n" + "line\n" * 50,
        why="why",
        fix="rm -f x",
        source="scrub",
    )
    document = Findings(schema=1, image="a <b>&.qcow2", sha256="0" * 64, target="mgc", findings=(finding,))
    text = report.write(name, report.Report(document, {}))
    assert text.endswith("\n")
    if name == "junit":
        assert ElementTree.fromstring(text)[0][0].get("file") == "/home/<b>&\"'/]]>"
    elif name != "text":
        json.loads(text)
    else:
        assert "more lines" in text and "\x1b" not in text
        assert "\x1b[31;1mFAIL" in report.write(name, report.Report(document, {}, colour=True))


def test_every_report_is_an_option() -> None:
    from factory.cli.check import Format

    assert report.names() == sorted(Format)


# -- repair


@pytest.mark.real
def test_a_repaired_copy_passes_and_the_original_stays(factory: Factory, tmp_path: Path) -> None:
    key = write("/etc/ssh/ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0LXRoaW5n\n", 0o600)
    grown = rule_images.on_disk(lambda path: os.truncate(path, path.stat().st_size + (1 << 20)))
    path = rule_images.make(tmp_path / "bad.img", "debian", key, grown, rule_images.converted("vmdk"))
    before = disk.sha256(path)
    done = factory("check", path)
    assert done.returncode == 5
    assert all(rule in done.stdout for rule in ("GEN-F08", "GEN-G29", "MGC-F01"))
    done = factory("check", "--fix", path, "--output", tmp_path / "new.qcow2")
    assert done.returncode == 0, done.stdout
    assert "removed /etc/ssh/ssh_host_ed25519_key" in done.stderr
    assert disk.sha256(path) == before
    disk.convert(tmp_path / "new.qcow2", "qcow2", tmp_path / "new.raw", "raw")
    assert b"c2VjcmV0LXRoaW5n" not in (tmp_path / "new.raw").read_bytes()
    assert list(settings.state_dir().iterdir()) == []


@pytest.mark.real
def test_a_repair_never_writes_over_a_file_or_follows_an_unsafe_image(factory: Factory, good: Path) -> None:
    assert factory("check", "--fix", good).returncode == 2
    assert factory("check", "--fix", good, "--output", good).returncode == 2
    unsafe = good.with_name("unsafe.qcow2")
    data = bytearray(good.read_bytes())
    data[8:20] = (200).to_bytes(8, "big") + (4).to_bytes(4, "big")  # a backing file's name
    unsafe.write_bytes(data)
    done = factory("check", "--fix", unsafe, "--output", good.with_name("new.qcow2"))
    assert done.returncode == 5
    assert "cannot be repaired offline" in done.stderr
    assert "FAIL GEN-F02" in done.stdout
    assert not good.with_name("new.qcow2").exists()
