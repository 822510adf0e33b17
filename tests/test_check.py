"""``factory check``: what it prints, the reports of each format, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from factory import disk, inspection, partitions, qcow2, report, schemas, settings
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
@pytest.mark.parametrize("target", ["mgc", "generic"])
def test_a_sparse_file_of_terabytes_is_answered_soon(factory: Factory, tmp_path: Path, target: str) -> None:
    """Its sha256 would take the better part of an hour."""
    image, size = tmp_path / "huge.raw", 4 << 40
    with image.open("wb") as file:
        try:
            file.truncate(size)
        except OSError:
            pytest.skip("the file system has no such files")
    subprocess.run(["sgdisk", "-n", "1:2048:0", image], check=True, capture_output=True)
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  huge.raw\n")
    done = factory("check", image, "-t", target, "--format", "json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["sha256"]) == (5, None)
    failed = {each["rule"]: each["evidence"] for each in document["findings"] if each["status"] == "fail"}
    assert any("not read for its digest" in evidence for evidence in failed.values())
    if target == "mgc":
        assert f"the file has {size} bytes" in failed["MGC-F02"]
    jsonschema.validate(document, schemas.schema("findings"))
    assert "hashes" not in json.loads(factory("check", image, "--format", "sarif").stdout)["runs"][0]["artifacts"][0]


@pytest.mark.real
def test_a_good_image_ends_with_0_and_is_not_touched(factory: Factory, good: Path) -> None:
    before = disk.sha256(good), good.stat().st_mtime_ns
    done = factory("check", good)
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 failed" in done.stdout.splitlines()[-1]
    assert (disk.sha256(good), good.stat().st_mtime_ns) == before
    assert not settings.state_dir().exists()


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
    absent, other = "usage.no-such-file", "usage.not-a-file"
    for path, code in ((tmp_path / "none", absent), (tmp_path, other), (tmp_path / "pipe", other), ("a" * 300, absent)):
        done = factory("check", path, "--format", "json")
        assert (done.returncode, done.stdout) == (2, "")
        assert code in done.stderr


@pytest.mark.real
def test_what_closes_the_error_can_be_copied_and_tells_its_path_once(factory: Factory, bad: Path) -> None:
    lines = factory("check", bad).stderr.splitlines()
    assert lines[-1] == "    rm -f /etc/ssh/ssh_host_ed25519_key"
    assert lines[0].count("/etc/ssh/ssh_host_ed25519_key") == 1
    event = json.loads(factory("--log-format", "json", "check", bad, "--format", "json").stderr or "null")
    assert event is None or event["command"] == "rm -f /etc/ssh/ssh_host_ed25519_key"


@pytest.mark.real
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "this file was never written"),
        (b"no disk\n" * 999, "file IMAGE"),
        (b"\x1f\x8b\x08" + bytes(30), "gzip -dk IMAGE"),
        (b"\xfd7zXZ\0" + bytes(600), "xz -dk IMAGE"),
        (bytes(32769) + b"CD001" + bytes(9000), "check the disk of that machine"),
        (b"QFI\xfb\0\0\0\1" + bytes(600), "-f qcow -O qcow2"),
    ],
)
def test_what_is_no_disk_gets_what_to_do_instead(factory: Factory, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.img").write_bytes(content)
    found = json.loads(factory("check", tmp_path / "x.img", "--format", "json").stdout)["findings"]
    failed = [each for each in found if each["status"] == "fail"]
    assert failed and all(said in each["fix"] for each in failed if each["rule"] in ("GEN-F01", "MGC-F01", "GEN-G01"))
    assert all("FORMAT" not in each["fix"] and "sgdisk -e" not in each["fix"] for each in failed)


@pytest.mark.real
def test_the_format_of_a_disk_stands_in_its_fix(factory: Factory, tmp_path: Path) -> None:
    path = rule_images.make(tmp_path / "x.img", "debian", rule_images.converted("vmdk"))
    found = json.loads(factory("check", path, "--format", "json").stdout)["findings"]
    assert [each["fix"][:29] for each in found if each["rule"] == "MGC-F01"] == ["qemu-img convert -f vmdk -O q"]


@pytest.mark.real
def test_a_library_that_is_missing_ends_with_3_and_blames_no_image(
    factory: Factory, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    with monkeypatch.context() as here:
        here.setattr(inspection, "_START", f"import sys; sys.modules['dfvfs'] = None; {inspection._START}")
        of_child = factory("check", good, "--format", "json")
    with monkeypatch.context() as here:
        here.setitem(sys.modules, "oslo_utils.imageutils", None)
        here.setitem(sys.modules, "oslo_utils", None)
        of_ours = factory("check", good, "--format", "json")
    for done in (of_child, of_ours):
        assert done.returncode == 3, done.stderr
        assert "host.library-missing" in done.stderr and "make setup" in done.stderr
        (found,) = json.loads(done.stdout)["findings"]
        assert (found["status"], found["fix"]) == ("fail", "Run 'make setup' in the checkout")


@pytest.mark.real
def test_a_check_without_its_library_is_no_finding(
    factory: Factory, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    monkeypatch.setattr("factory.checks.architecture.check", lacking)
    done = factory("check", good, "--format", "json")
    assert done.returncode == 3
    assert "host.library-missing" in done.stderr and len(json.loads(done.stdout)["findings"]) == 1


def test_without_the_library_of_the_command_line_it_says_so() -> None:
    done = command_line.run("check", "x", before="import sys; sys.modules['typer'] = None")
    assert (done.returncode, done.stdout) == (3, "")
    assert "make setup" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.real
def test_a_damaged_cluster_is_told_with_its_place_and_its_file(factory: Factory, tmp_path: Path) -> None:
    mark = b"# a line that is nowhere else\n" * 12000
    path = rule_images.make(
        tmp_path / "x.img",
        "debian",
        write("/etc/sysctl.d/50-mark.conf", mark.decode()),
        rule_images.converted("qcow2", compress=True),
    )
    disk.convert(path, "qcow2", tmp_path / "x.raw", "raw")
    place = (tmp_path / "x.raw").read_bytes().index(mark[:60000]) + 65536  # a cluster that is all of this file
    descriptor = os.open(path, os.O_RDONLY)
    try:
        inside = qcow2.Qcow2(partitions.reader(descriptor))
        entry = inside._entry(place // 65536)
    finally:
        os.close(descriptor)
    assert entry & qcow2._COMPRESSED
    with path.open("r+b") as file:
        file.seek((entry & ((1 << 54) - 1)) + 4)
        file.write(b"\xff" * 32)
    done = factory("check", path)
    assert done.returncode == 5
    (line, *_) = [line for line in done.stdout.splitlines() if "of the disk is lost" in line]
    assert "/etc/sysctl.d/50-mark.conf" in line
    assert f"byte {place // 65536 * 65536} of the disk is lost: the compressed cluster at" in line


@pytest.mark.real
def test_a_missing_program_ends_with_3_and_json(factory: Factory, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.run._search_path", lambda: "/nonexistent")
    done = factory("check", good, "--format", "json")
    assert done.returncode == 3
    assert "host.tool-missing" in done.stderr
    assert [each["status"] for each in json.loads(done.stdout)["findings"]] == ["fail"]


@pytest.mark.real
def test_a_file_that_cannot_be_read_ends_with_3_and_json(factory: Factory) -> None:
    path = Path("/sys/class/net/lo/speed")  # it can be opened, and every read of it fails
    try:
        path.read_bytes()
    except OSError as error:
        assert error.errno == errno.EINVAL
    else:
        pytest.skip("this kernel lets it be read")
    done = factory("check", path, "--format", "json")
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    assert (document["sha256"], [each["status"] for each in document["findings"]]) == (None, ["fail"])
    jsonschema.validate(document, schemas.schema("findings"))


@pytest.mark.real
def test_what_is_read_directly_needs_no_place_to_write(
    factory: Factory, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "occupied").touch()
    monkeypatch.setenv("FACTORY_STATE", str(tmp_path / "occupied"))
    done = factory("check", good)
    assert (done.returncode, done.stderr) == (0, "")
    vmdk = rule_images.make(tmp_path / "good.vmdk", "debian", rule_images.converted("vmdk"))
    done = factory("check", vmdk, "--format", "json")
    assert done.returncode == 3, done.stderr
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


def test_explain_is_data_too_and_takes_any_case(factory: Factory) -> None:
    document = json.loads(factory("check", "--explain", "bt14", "--format", "json").stdout)
    (rule,) = document["rules"]
    assert (document["schema"], document["target"], rule["id"], rule["covers"]) == (1, "mgc", "GEN-F08", ["BT14"])
    assert rule["looks_at"].startswith("The partition table") and rule["fix"] and rule["why"]
    every = json.loads(factory("check", "--explain", "ALL", "--format", "JSON", "-t", "oci").stdout)
    assert len(every["rules"]) > 80 and every["target"] == "oci"
    done = factory("check", "--explain", "GEN-F08", "--format", "sarif")
    assert (done.returncode, done.stdout) == (2, "")


def test_explain_says_all_of_a_rule(factory: Factory) -> None:
    done = factory("check", "--explain", "gen-f08")
    assert done.returncode == 0
    for word in ("GEN-F08", "BT14", "error", "sgdisk", "https://"):
        assert word in done.stdout
    assert factory("check", "--explain", "BT14").stdout == done.stdout
    assert len(factory("check", "--explain", "all").stdout.splitlines()) > 20
    both = factory("check", "--explain", "bt13").stdout  # a name that two rules cover
    assert "GEN-F10: " in both and "GEN-G17: " in both


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


def test_what_is_for_information_is_counted_as_that() -> None:
    told = Finding(
        rule="GEN-G43", status="warn", severity="info", subject="image", evidence="no agent", why="", source=""
    )
    warned = Finding(
        rule="GEN-G42", status="warn", severity="warn", subject="image", evidence="full", why="", source=""
    )
    document = Findings(schema=1, image="x", sha256="0" * 64, target="mgc", findings=(told, warned))
    assert document.summary.model_dump(by_alias=True) == {"pass": 0, "warn": 1, "info": 1, "fail": 0, "skip": 0}
    assert document.summary.words == "0 passed, 1 warned"
    text = report.write("text", report.Report(document, {}))
    assert text.splitlines()[-1] == "x, target mgc: 0 failed, 1 warned, 1 for information, 0 skipped, 0 passed"
    case = ElementTree.fromstring(report.write("junit", report.Report(document, {})))[0]
    assert [each[0].tag for each in case] == ["system-out", "system-err"]


def test_every_report_is_an_option() -> None:
    from factory.cli.check import Format

    assert report.names() == sorted(Format)


@pytest.mark.real
def test_a_unified_kernel_image_is_named_as_what_was_not_read(tmp_path: Path) -> None:
    files = {f"EFI/{name}": b"MZ" + bytes(510) for name in ("BOOT/BOOTX64.EFI", "Linux/debian-6.1.efi")}
    path = rule_images.make(tmp_path / "uki.img", "debian", remove("/boot/grub/grub.cfg"), rule_images.esp(files))
    (found,) = rule_images.broken(rule_images.check(path))["GEN-G02"]
    assert "/EFI/Linux/debian-6.1.efi, a unified kernel image, which is not read" in found.evidence
