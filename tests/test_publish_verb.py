"""``factory publish`` as a whole: a real object store, a strict cloud, and the command line."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factory.findings import Finding, Findings
from factory.manifest import read_manifest, text
from factory.units import format_duration, parse_duration
from tests import command_line
from tests.magalu_cloud import Fault
from tests.publishing_site import (
    CONTENT,
    SHA256,
    Site,
    a_build,
    healthy,
    interrupted_while_waiting,
    no_secret,
    site,
)

__all__ = ["healthy", "site"]  # fixtures
pytestmark = [pytest.mark.real, pytest.mark.beside]
# The whole way


def test_a_build_is_uploaded_and_imported(site: Site) -> None:
    done = site.factory("publish", site.build)
    assert (done.returncode, done.stdout) == (0, f"{site.image()['id']}\n"), done.stderr
    image = site.image()
    assert image["sha256"] == SHA256
    assert (image["name"], image["version"], image["description"]) == ("nginx-1-10", "1.10", "Debian 12 with nginx")
    assert image["requirements"] == {"vcpu": 2, "ram": 1, "disk": 11}
    assert site.cloud.broken == []
    no_secret(done)
    entry = read_manifest(site.build).publication
    assert entry is not None
    assert (entry.target, entry.id, entry.status, entry.how) == ("mgc", image["id"], "active", "imported")
    assert (entry.bucket, entry.sha256) == ("images", SHA256)
    assert "Signature" not in (site.build / "manifest.json").read_text()
    check = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=site.build, capture_output=True, check=False)
    assert check.returncode == 0
    keys = {Path(key).name for key in site.stored()}
    assert keys == {"nginx-1.10.qcow2", "manifest.json", "findings.json", "SHA256SUMS", "latest.json"}
    beside = next(key for key in site.stored() if key.endswith("manifest.json"))
    assert site.store.read(beside) == (site.build / "manifest.json").read_bytes()


def test_any_image_file_is_checked_uploaded_and_imported(site: Site, healthy: Path) -> None:
    done = site.factory("publish", healthy, "--target", "mgc", "--name", "mine", "--memory", "3", "--disk", "20GiB")
    assert done.returncode == 0, done.stderr
    assert site.image()["sha256"] == hashlib.sha256(healthy.read_bytes()).hexdigest()
    assert site.image()["requirements"] == {"vcpu": 1, "ram": 3, "disk": 20}
    assert site.image()["uefi"] is False
    assert {"version", "description"} & set(site.image()) == set()
    assert "check ok" in done.stderr
    assert site.cloud.broken == []


def test_a_rerun_of_the_night_does_nothing_and_ends_well(site: Site) -> None:
    first = site.factory("publish", site.build)
    before = site.store.client().list_objects_v2(Bucket="images")["Contents"]
    manifest = (site.build / "manifest.json").read_bytes()
    taken = site.factory("publish", site.build)
    assert taken.returncode == 6
    assert "[publish.name-taken]" in taken.stderr
    again = site.factory("publish", site.build, "--if-exists", "skip")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert (site.build / "manifest.json").read_bytes() == manifest
    assert site.cloud.count("POST") == 1
    after = site.store.client().list_objects_v2(Bucket="images")["Contents"]
    assert [each["LastModified"] for each in before] == [each["LastModified"] for each in after]


def test_without_waiting_it_ends_at_once_and_resume_waits(site: Site) -> None:
    site.cloud.statuses = ["importing"] * 30
    done = site.factory("publish", site.build, "--no-wait", "--json")
    told = json.loads(done.stdout)["publication"]
    assert (done.returncode, told["status"], told["id"]) == (0, "importing", site.image()["id"])
    entry = read_manifest(site.build).publication
    assert entry is not None
    assert entry.status == "importing"
    waited = site.factory("publish", "--resume", told["id"])
    assert (waited.returncode, waited.stdout) == (0, f"{told['id']}\n"), waited.stderr
    entry = read_manifest(site.build).publication
    assert entry is not None
    assert (entry.status, entry.bucket) == ("active", "images")


def test_latest_is_followed_once(site: Site, tmp_path: Path) -> None:
    (site.build.parent / "latest").symlink_to(site.build.name)
    site.cloud.statuses = ["importing"] * 30
    done = site.factory("publish", "nginx", "--output", tmp_path / "out", "--no-wait")
    assert done.returncode == 0, done.stderr
    newer = site.build.with_name("20260502T120000Z-0123abcd")
    site.build.rename(newer)
    a_build(site.build.parent)
    (site.build / "nginx-1.10.qcow2").write_bytes(b"other")
    document = json.loads((site.build / "manifest.json").read_text())
    document["image"]["sha256"] = "0" * 64
    (site.build / "manifest.json").write_text(json.dumps(document))
    assert site.factory("publish", "--resume", done.stdout.strip()).returncode == 0
    assert read_manifest(site.build).publication is None


def test_an_import_that_was_begun_is_taken_up_by_the_same_command(site: Site) -> None:
    site.cloud.statuses = ["importing"] * 30
    first = site.factory("publish", site.build, "--no-wait")
    second = site.factory("publish", site.build)
    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr
    assert "Taking up the import" in second.stderr
    assert site.cloud.count("POST") == 1


def test_the_url_is_shown_only_when_it_is_asked_for(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "url"
    done = site.factory("publish", site.build, "--print-url", "--url-file", file)
    assert done.returncode == 0, done.stderr
    id_, url = done.stdout.splitlines()
    assert (id_, url) == (site.image()["id"], site.image()["url"])
    assert file.read_text() == f"{url}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "X-Amz-Signature" not in done.stderr


# A dry run


def test_a_dry_run_touches_nothing_and_shows_what_would_be_sent(
    site: Site, healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as offline:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MGC_API_KEY"):
            offline.delenv(name)
        done = site.factory("publish", healthy, "--target", "mgc", "--uefi", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert site.untouched()
    head, body, command = done.stdout.rstrip("\n").split("\n\n")
    assert head.startswith(f"POST {site.cloud.url}/v1/images/custom\n")
    assert site.factory("publish", healthy, "--target", "mgc", "--uefi").returncode == 0
    sent = next(body for method, _, body in site.cloud.requests if method == "POST")
    assert json.loads(body) == sent | {"url": sent["url"].partition("?")[0] + "?***"}
    assert sent["name"] == "my-image-1-2"
    assert shlex.split(command)[:5] == ["mgc", "vm", "images", "custom", "create"]


def test_a_dry_run_needs_no_bucket(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("FACTORY_S3_", "FACTORY_MGC_", "AWS_"))]:
        monkeypatch.delenv(name)
    done = site.factory("publish", site.build, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "POST https://api.magalu.cloud/br-se1/compute/v1/images/custom" in done.stdout
    assert "https://br-se1.magaluobjects.com/BUCKET/nginx/1.10/" in done.stdout
    assert "FACTORY_S3_BUCKET is not set" in done.stderr


def test_a_dry_run_signs_when_the_url_is_asked_for(site: Site) -> None:
    done = site.factory("publish", site.build, "--dry-run", "--print-url", "--json")
    request = json.loads(done.stdout)["request"]
    assert "X-Amz-Signature=" in request["body"]["url"]
    assert "X-Amz-Expires=86400" in request["body"]["url"]
    assert request["headers"]["x-api-key"] == "***"
    assert site.untouched()


# What is refused


def test_an_image_that_breaks_a_rule_is_not_published(site: Site, tmp_path: Path) -> None:
    image = tmp_path / "noise.qcow2"
    image.write_bytes(os.urandom(1 << 20))
    done = site.factory("publish", image, "--target", "mgc", "--name", "x")
    assert done.returncode == 5, done.stderr
    raw = tmp_path / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", raw, "1G"], check=True)
    done = site.factory("publish", raw, "--target", "mgc", "--name", "x")
    assert done.returncode == 5, done.stderr
    assert "is not published" in done.stderr
    assert "check failed" in done.stderr and "check ok" not in done.stderr
    assert site.untouched()


def test_a_build_that_was_refused_or_changed_is_not_published(site: Site, tmp_path: Path, healthy: Path) -> None:
    refused = a_build(tmp_path / "refused", findings={"pass": 1, "warn": 0, "fail": 1, "skip": 0})
    assert site.factory("publish", refused).returncode == 5
    aside = tmp_path / "20260101T000000Z-0123abcd.failed"
    aside.mkdir()
    (aside / "web.qcow2").write_bytes(healthy.read_bytes())
    boot = Finding(rule="TEST-1", status="fail", severity="error", subject="boot bios", why="", source="")
    (aside / "findings.json").write_text(
        text(Findings(schema=1, image="web.qcow2", sha256=None, target="mgc", findings=(boot,)))
    )
    done = site.factory("publish", aside / "web.qcow2", "--target", "mgc")
    assert done.returncode == 5 and "the image of a build that failed" in done.stderr
    (site.build / "nginx-1.10.qcow2").write_bytes(CONTENT + b"x")
    done = site.factory("publish", site.build)
    assert done.returncode == 6
    assert "[publish.image-changed]" in done.stderr
    assert site.untouched()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("publish",), "name one thing to publish"),
        (("publish", "BUILD", "--resume", "x"), "name one thing to publish"),
        (("publish", "no-such-build"), "there is no build"),
        (("publish", "BUILD", "--target", "mgd"), "Did you mean mgc?"),
        (("publish", "BUILD", "--target", "mgc", "--target", "oci"), "one cloud at a time, not 2: mgc, oci"),
        (("presign", "BUILD", "-t", "mgc", "-t", "oci"), "one cloud at a time"),
        (("publish", "BUILD", "--name", "a.b"), "write 'a-b'"),
        (("publish", "BUILD", "--vcpus", "0"), "--vcpus"),
        (("publish", "BUILD", "--vcpus", "two"), "--vcpus"),
        (("publish", "BUILD", "--memory", "0"), "--memory"),
        (("publish", "BUILD", "--memory", "4TB"), "--memory"),
        (("publish", "BUILD", "--disk", "1GiB"), "write --disk 4"),
        (("publish", "BUILD", "--timeout", "soon"), "--timeout"),
        (("publish", "BUILD", "--expires", "soon"), "--expires"),
        (("publish", "BUILD", "--description", "x" * 201), "201 characters"),
        (("publish", "BUILD", "--if-exists", "replace"), "--if-exists"),
        (("publish", "--resume", "../x"), "cannot be the id"),
        (("publish", "--resume", "x", "--name", "y", "--dry-run"), "so --dry-run, --name can do nothing"),
        (("publish", "BUILD", "--no-wait", "--timeout", "2h"), "so --timeout can do nothing"),
        (("publish", "BUILD", "--dry-run", "--url-file", "url"), "so --url-file can do nothing"),
        (("publish", "BUILD", "--url-file", "not/there/url"), "--url-file not/there/url cannot be written"),
    ],
)
def test_a_mistake_on_the_command_line_sends_and_reads_nothing(
    site: Site, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.disk.sha256", lambda *_: pytest.fail("the image was read"))
    done = site.factory(*(str(site.build) if word == "BUILD" else word for word in words))
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert site.untouched()


@pytest.mark.parametrize(
    ("name", "value", "status", "said"),
    [
        ("FACTORY_S3_BUCKET", "my bucket", 2, "FACTORY_S3_BUCKET is 'my bucket'"),
        ("FACTORY_S3_BUCKET", "", 2, "no bucket is named"),
        ("FACTORY_S3_ADDRESSING", "sideways", 2, "FACTORY_S3_ADDRESSING"),
        ("FACTORY_S3_ENDPOINT", "http://store.example", 2, "FACTORY_S3_ENDPOINT"),
        ("FACTORY_MGC_API_URL", "nowhere", 2, "FACTORY_MGC_API_URL"),
        ("MGC_OBJ_KEY_ID", "half-of-a-pair", 2, "MGC_OBJ_KEY_SECRET is not set"),
        ("MGC_API_KEY", "", 6, "[publish.no-api-key]"),
        ("AWS_SECRET_ACCESS_KEY", "", 6, "[publish.credentials-unusable]"),
    ],
)
@pytest.mark.parametrize("what", ["build", "image"])
def test_what_is_not_set_up_is_told_before_the_image_is_read(
    site: Site, healthy: Path, monkeypatch: pytest.MonkeyPatch, what: str, name: str, value: str, status: int, said: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr("factory.disk.sha256", lambda *_: pytest.fail("the image was read"))
    words = ("publish", site.build if what == "build" else healthy, "--target", "mgc")
    for more in [(), *([("--dry-run",)] if status == 2 and value else [])]:
        done = site.factory(*words, *more)
        assert done.returncode == status, done.stderr
        assert said in " ".join(done.stderr.split())
    assert site.untouched()


def test_a_url_that_would_not_live_long_enough_is_refused(site: Site) -> None:
    for life, more in (("12h", ()), ("1h", ("--dry-run",)), ("43201s", ()), ("43260s", ("--dry-run",))):
        done = site.factory("publish", site.build, "--expires", life, *more)
        assert done.returncode == 6
        assert f"would live {format_duration(parse_duration(life))}" in done.stderr, done.stderr
        assert "12h1m1s or longer" in done.stderr and "[publish.url-life]" in done.stderr
    assert site.untouched()
    assert site.factory("publish", site.build, "--expires", "43261s").returncode == 0


def test_credentials_that_end_too_early_are_refused_before_anything_goes_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) + timedelta(hours=1)).isoformat())
    done = site.factory("publish", site.build)
    assert (done.returncode, "[publish.url-life]" in done.stderr) == (6, True), done.stderr
    assert "the life of the temporary credentials" in done.stderr
    assert not site.store.keys() and not site.store.pending() and site.cloud.count("POST") == 0
    monkeypatch.delenv("AWS_CREDENTIAL_EXPIRATION")
    assert site.factory("publish", site.build).returncode == 0
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) + timedelta(hours=1)).isoformat())
    again = site.factory("publish", site.build, "--if-exists", "skip")  # which needs no URL
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("missing", ["MGC_API_KEY", "AWS_SECRET_ACCESS_KEY"])
def test_without_credentials_nothing_is_sent(site: Site, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(missing)
    done = site.factory("publish", site.build)
    assert done.returncode == 6, done.stderr
    assert site.untouched()


def test_magalus_own_api_wants_its_own_store(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_MGC_API_URL", "https://api.magalu.cloud/br-se1/compute")
    for more in ((), ("--dry-run",)):
        done = site.factory("publish", site.build, *more)
        assert done.returncode == 6
        assert "[publish.bucket-place]" in done.stderr
    assert site.untouched()


def test_a_taken_name_is_told_before_anything_goes_up(site: Site) -> None:
    site.cloud.add("nginx-1-10")
    done = site.factory("publish", site.build)
    assert done.returncode == 6
    assert "[publish.name-taken]" in done.stderr
    assert "trace id" in done.stderr
    assert site.store.keys() == []
    assert site.cloud.count("POST") == 0


def test_a_failed_import_is_told_with_the_services_words(site: Site) -> None:
    site.cloud.end, site.cloud.metadata = "invalid_image", {"message": "unsupported format"}
    done = site.factory("publish", site.build)
    assert done.returncode == 6
    assert "[publish.import-failed]" in done.stderr
    said = " ".join(done.stderr.split())
    assert "unsupported format" in said
    assert "trace id trace-" in said
    assert not any(key.endswith("latest.json") for key in site.stored())
    no_secret(done)


def test_the_services_words_never_show_the_url(site: Site) -> None:
    site.cloud.fail("POST", Fault(422, b'{"detail": [{"loc": ["body", "url"], "msg": "PLACE", "type": "t"}]}'))
    done = site.factory("publish", site.build, "--log-format", "json")
    assert done.returncode == 6
    assert "body.url: PLACE" in done.stderr
    no_secret(done)


def test_an_interrupt_while_waiting_ends_with_130_and_is_taken_up(site: Site) -> None:
    status, said, id_ = interrupted_while_waiting(site)
    assert status == 130, said
    image = site.cloud.images[id_]
    assert f"--resume {image.id}" in said
    assert "Traceback" not in said
    image.statuses = ["active"]
    done = site.factory("publish", site.build)
    assert (done.returncode, done.stdout) == (0, f"{image.id}\n"), done.stderr
    assert site.cloud.count("POST") == 1


def test_a_run_that_was_killed_while_it_asked_is_taken_up(site: Site) -> None:
    site.cloud.fail("POST", Fault(after=True, seconds=60))
    process = subprocess.Popen(command_line.program("publish", site.build), cwd=command_line.TOP, stdout=-1, stderr=-1)
    end = time.monotonic() + 60
    while not site.cloud.images and time.monotonic() < end:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    done = site.factory("publish", site.build)
    assert done.returncode == 0, done.stderr
    assert "has the same bytes" in done.stderr  # its id was never told
    assert site.cloud.count("POST") == 1
    assert {Path(key).name for key in site.stored()} > {"latest.json", "manifest.json"}


def test_the_manifest_tells_the_moment(site: Site) -> None:
    before = datetime.now(UTC)
    site.factory("publish", site.build)
    entry = read_manifest(site.build).publication
    assert entry is not None
    assert before.replace(microsecond=0) <= entry.moment <= datetime.now(UTC)
