"""manifest.json and findings.json: models, JSON Schema, and a writer that holds no secret."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema
import pytest
from pydantic import ValidationError

from factory import bases
from factory.console import Console
from factory.errors import BuildError, HostError, UsageError
from factory.findings import Finding, Findings, Summary
from factory.layers import Use
from factory.manifest import Manifest, StageEntry, json_schema, read_findings, read_manifest, text, write
from factory.plan import make_plan
from factory.record import Record
from tests import recipe_files

SHA = "ab" * 32


def facts(**changes: Any) -> dict[str, Any]:
    """What a manifest is made of, by the names that stand in the file."""
    start = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
    end = start + timedelta(seconds=250)
    return {
        "factory": "0.1.0",
        "build_id": "20260501T120000Z-0123abcd",
        "architecture": "x86_64",
        "recipe": {"name": "nginx", "version": "1.10", "digest": SHA, "file": "recipes/nginx.yaml"},
        "base": {"name": "debian-12", "digest": f"sha256:{SHA}", "kind": "scratch", "created": start},
        "started": start,
        "ended": end,
        "accelerator": "tcg",
        "tools": {"qemu-img": "7.2.22"},
        "stages": [
            {
                "name": "convert",
                "path": "build/convert",
                "key": SHA,
                "cache": "miss",
                "why": "the recipe changed",
                "start": start,
                "end": end,
                "seconds": 15.9,
                "state": "ok",
            }
        ],
        "packages": [{"name": "nginx", "version": "1.22.1-9", "architecture": "amd64"}],
        "image": {
            "file": "nginx-1.10.qcow2",
            "format": "qcow2",
            "size": 220_000_000,
            "virtual_size": 4 << 30,
            "sha256": SHA,
            "compression": "zlib",
        },
        "targets": ["mgc"],
        "findings": {"pass": 2, "warn": 1, "fail": 0, "skip": 0},
        "boots": [
            {"name": "bios", "firmware": "bios", "bus": "virtio-blk", "datasource": "NoCloud", "seconds": 84.0},
            {
                "name": "uefi",
                "firmware": "uefi",
                "bus": "virtio-scsi",
                "datasource": "ConfigDrive",
                "seconds": 104.0,
                "reboot_seconds": 33.1,
            },
        ],
        "properties": {"team": "web"},
    } | changes


def manifest(**changes: Any) -> Manifest:
    return Manifest.model_validate(facts(**changes))


def finding(**changes: Any) -> dict[str, Any]:
    return {
        "rule": "ssh-root-login",
        "status": "fail",
        "severity": "error",
        "subject": "/etc/ssh/sshd_config",
    } | changes


def findings(*found: dict[str, Any]) -> Findings:
    return Findings.model_validate({"image": "a.qcow2", "sha256": SHA, "target": "mgc", "findings": list(found)})


def test_a_manifest_is_valid_by_its_own_schema(tmp_path: Path) -> None:
    write(tmp_path / "manifest.json", manifest())
    data = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    schema = json_schema("manifest")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(data)
    assert data["schema"] == 1 and data["architecture"] == "x86_64"
    assert data["started"] == "2026-05-01T12:00:00Z" and data["base"]["digest"] == SHA
    assert data["findings"] == {"pass": 2, "warn": 1, "info": 0, "fail": 0, "skip": 0}
    assert data["recipe"]["version"] == "1.10"
    assert (tmp_path / "manifest.json").read_bytes().endswith(b"}\n")
    assert read_manifest(tmp_path) == manifest()


def test_findings_have_the_fields_of_the_contract_and_no_others(tmp_path: Path) -> None:
    document = findings(finding(), finding(status="warn", severity="warn"), finding(status="pass"))
    write(tmp_path / "findings.json", document)
    data = json.loads((tmp_path / "findings.json").read_text("utf-8"))
    assert list(data) == ["schema", "image", "sha256", "target", "findings"]
    assert list(data["findings"][0]) == [
        "rule",
        "status",
        "severity",
        "subject",
        "evidence",
        "why",
        "fix",
        "source",
    ]
    jsonschema.Draft202012Validator(json_schema("findings")).validate(data)
    assert document.summary == Summary.model_validate({"pass": 1, "warn": 1, "fail": 1})
    assert read_findings(tmp_path / "findings.json") == document


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["schema"], 2),
        (["build_id"], "today"),
        (["recipe", "digest"], "abc"),
        (["image", "size"], -1),
        (["image", "file"], "../a.qcow2"),
        (["image"], None),
        (["stages", 0, "state"], "running"),
        (["stages", 0, "cache"], "maybe"),
        (["boots", 0, "firmware"], "coreboot"),
        (["findings", "pass"], "two"),
        (["packages", 0], {"name": "nginx"}),
    ],
)
def test_schema_and_model_refuse_the_same(path: list[Any], value: Any) -> None:
    data = json.loads(text(manifest()))
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        Manifest.model_validate(data)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, json_schema("manifest"))


def test_what_a_later_factory_adds_is_read_over_and_allowed_by_the_schema(tmp_path: Path) -> None:
    data = json.loads(text(manifest()))
    data["new"] = data["image"]["new"] = data["stages"][0]["new"] = {"a": 1}
    jsonschema.validate(data, json_schema("manifest"))
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    assert read_manifest(tmp_path) == manifest()
    with pytest.raises(ValidationError, match="Extra inputs"):  # a slip of ours is none
        manifest(new=1)


def test_times_are_in_utc_and_in_order() -> None:
    moment = datetime(2026, 5, 1, 9, 0, tzinfo=timezone(timedelta(hours=-3)))
    assert json.loads(text(manifest(started=moment)))["started"] == "2026-05-01T12:00:00Z"
    with pytest.raises(ValidationError, match="before it started"):
        manifest(ended=datetime(2026, 5, 1, 11, 0, tzinfo=UTC))
    with pytest.raises(ValidationError, match="timezone"):
        manifest(started=datetime(2026, 5, 1, 12, 0))


def test_only_an_error_rule_can_fail() -> None:
    with pytest.raises(ValidationError, match="only a rule of severity 'error' can fail"):
        Finding.model_validate(finding(severity="warn"))


def test_stages_come_from_the_timeline() -> None:
    console = Console.quiet()
    with console.stage("base") as stage:
        stage.cached("2 days old")
    with console.stage("convert"):
        pass
    base, convert = console.timeline()
    entry = StageEntry.of(base)
    assert (entry.name, entry.path, entry.cache, entry.why, entry.state) == (
        "base",
        "base",
        "hit",
        "2 days old",
        "cached",
    )
    entry = StageEntry.of(convert, key=SHA, cache="miss", why="never built")
    assert (entry.key, entry.cache, entry.why, entry.seconds) == (SHA, "miss", "never built", convert.seconds)
    assert StageEntry.of(convert).cache == "none"
    assert manifest(stages=[entry]).stages == (entry,)
    assert entry.expires is None
    assert StageEntry.of(convert, expires=1_800_000_000.5).expires == datetime.fromtimestamp(1_800_000_000.5, UTC)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"properties": {"team": "my hunter2pass here"}}, "properties.team"),
        ({"properties": {"hunter2pass": "x"}}, "properties"),
        ({"properties": {"team": "aHVudGVyMnBhc3M="}}, "properties.team"),
        ({"tools": {"a": "https://s3.example/b/k?X-Amz-Algorithm=A&X-Amz-Signature=00"}}, "tools.a"),
        ({"tools": {"a": "https://s3.example/b/k?AWSAccessKeyId=A&Signature=b%3D&Expires=1"}}, "tools.a"),
        ({"tools": {"a": "https://blob.example/c?sv=1&sig=abc"}}, "tools.a"),
        ({"tools": {"a": "http://user:password@proxy.example/"}}, "tools.a"),
        ({"tools": {"a": "https://objectstorage.eu.oraclecloud.com/p/token/n/x/b/y/o/z"}}, "tools.a"),
    ],
)
def test_no_secret_enters_a_document(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    path = tmp_path / "manifest.json"
    with pytest.raises(BuildError) as caught:
        write(path, manifest(**changes), secrets=["hunter2pass", "x"])
    assert caught.value.code == "manifest.secret" and f"in its field {field}" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("hunter2", "Signature", "password@"))
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_looked_for_in_findings_too(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"findings\[0\]\.evidence"):
        write(tmp_path / "findings.json", findings(finding(evidence="password=hunter2pass")), secrets=["hunter2pass"])


def test_any_text_can_be_written(tmp_path: Path) -> None:
    document = findings(finding(evidence="ünï\ud800\x00\u2028"))
    write(tmp_path / "findings.json", document)
    assert json.loads((tmp_path / "findings.json").read_text("utf-8"))["findings"][0]["evidence"] == "ünï?\x00\u2028"


def test_a_place_that_cannot_be_written_is_an_error_of_the_host(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file"):
        write(tmp_path / "no" / "manifest.json", manifest())


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 2}', "\x00"])
def test_a_file_that_is_no_manifest_is_named_with_the_reason(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UsageError) as caught:
        read_manifest(tmp_path)
    assert caught.value.code == "manifest.invalid" and str(tmp_path / "manifest.json") in str(caught.value)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(UsageError) as caught:
        read_manifest(tmp_path)
    assert caught.value.code == "manifest.unreadable"


@pytest.mark.real
def test_a_clock_that_was_set_back_while_it_was_built_costs_no_build(tmp_path: Path) -> None:
    began = datetime.now(UTC) + timedelta(hours=3)
    console = Console.quiet()
    with console.stage("other"), console.stage("boot"):
        pass
    with console.stage("web"):
        with console.stage("boot"):
            pass
        document = recorded(tmp_path, recipe_files.HEAD, began, console=console)
    assert document.started == document.ended == began
    assert [stage.path for stage in document.stages] == ["web/boot"]  # its own, all of them


@pytest.mark.real
def test_it_says_what_the_recipe_lets_the_checks_pass(tmp_path: Path) -> None:
    checks = "checks:\n  ignore: {GEN-G28: a test key}\n  allow_users: [app]\n"
    document = recorded(tmp_path, recipe_files.HEAD + checks, datetime.now(UTC))
    assert document.checks is not None
    assert (document.checks.ignore, document.checks.allow_users) == ({"GEN-G28": "a test key"}, ("app",))
    assert document.checks.required_disk == 4 << 30  # the recipe's disk, as it requires no other
    needing = recorded(tmp_path, recipe_files.HEAD + "requirements: {disk: 9GiB}\n", datetime.now(UTC))
    assert needing.checks is not None
    assert needing.checks.required_disk == 9 << 30


@pytest.mark.real
def test_the_stage_of_the_base_has_its_key_and_why_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    own = tmp_path / "own.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", own, "8M"], check=True)
    recipe = recipe_files.HEAD.replace("debian-12", str(own))
    for outcome, why in (("miss", "made now: it was not in the cache"), ("hit", "made less than a minute ago")):
        began, console = datetime.now(UTC), Console.quiet()
        with console.stage("web"), console.stage("base") as stage:
            base = bases.obtain(bases.resolve(str(own)), console=console)
            if base.cached:
                stage.cached(base.why)
        document = recorded(tmp_path, recipe, began, base, console)
        assert document.base.name == "own.qcow2"  # its path can name a person
        assert str(tmp_path) not in text(document)
        entry = next(each for each in document.stages if each.name == "base")
        assert (entry.path, entry.cache, entry.why) == ("web/base", outcome, why)
        assert entry.key and base.entry.key.endswith(f"-{entry.key}")


@pytest.mark.real
def test_a_step_says_when_what_it_fetched_is_too_old(tmp_path: Path) -> None:
    began, console = datetime.now(UTC), Console.quiet()
    with console.stage("web"), console.stage("1/1 packages") as stage:
        stage.cached("kept 5 hours ago")
    use = Use("1/1 packages", SHA, "hit", "kept 5 hours ago", expires=began.timestamp() + 3600)
    document = recorded(tmp_path, recipe_files.HEAD, began, console=console, uses=(use,))
    (entry,) = [each for each in document.stages if each.key == SHA]
    assert entry.expires == began + timedelta(hours=1)


def recorded(
    tmp_path: Path, recipe: str, began: datetime, base: Any = None, console: Any = None, uses: tuple[Use, ...] = ()
) -> Manifest:
    """What is written of a build of *recipe*."""
    recipe_files.write(tmp_path, recipe)
    image = tmp_path / "web-1.0.0.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "8M"], check=True)
    site = SimpleNamespace(
        plan=make_plan(str(tmp_path / "recipes/web.yaml")),
        base=base or SimpleNamespace(name="debian-12", kind="scratch", sha256="b" * 64, created=began, facts={}),
        workspace=SimpleNamespace(build_id="20261122T101500Z-0123abcd"),
        hypervisor=SimpleNamespace(accelerator=SimpleNamespace(name="tcg")),
        console=console or Console.quiet(),
    )
    customised = SimpleNamespace(uses=uses, packages=())
    Record(cast(Any, site), cast(Any, customised), image, "a" * 64, [], (), "none", {}, began).write_manifest()
    return read_manifest(tmp_path)


def test_the_login_of_a_proxy_enters_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:hunter2@proxy.example:3128")
    recipe = "schema: 1\nname: web\nversion: 1.0.0\nbase: debian-12\ndescription: as me:hunter2 by 10.0.2.2\n"
    with pytest.raises(BuildError) as caught:
        recorded(tmp_path, recipe, datetime(2026, 11, 22, tzinfo=UTC))
    assert caught.value.code == "manifest.secret" and "hunter2" not in str(caught.value)


def test_versions_that_the_mirror_lacked_are_told(tmp_path: Path) -> None:
    recipe = "schema: 1\nname: web\nversion: 1.0.0\nbase: debian-12\n"
    began = datetime.now(UTC)
    facts = {"older_packages": ["linux-image-cloud-amd64=6.1.9-1"]}
    base = SimpleNamespace(name="debian-12", kind="scratch", sha256="b" * 64, created=began, facts=facts)
    assert recorded(tmp_path, recipe, began, base).base.older_packages == ("linux-image-cloud-amd64=6.1.9-1",)
