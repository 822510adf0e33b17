"""A publication that was cut short after the import is brought to its end: by the same command, or by --resume."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import pruning, settings
from factory.manifest import read_manifest
from factory.publish import publications
from tests.faulty_way import Fault, faulty_way, xml
from tests.object_store import ObjectStore
from tests.publishing_site import CONTENT, SHA256, Site, a_build, interrupted_while_waiting, no_secret, open_site

pytestmark = [pytest.mark.real, pytest.mark.beside]


@pytest.fixture
def site(
    seaweed: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    with open_site(seaweed, tmp_path, capsys, monkeypatch) as opened:
        yield opened


def names(site: Site) -> set[str]:
    return {Path(key).name for key in site.stored()}


EVERYTHING = {"nginx-1.10.qcow2", "manifest.json", "findings.json", "SHA256SUMS", "latest.json"}


def test_a_store_that_fails_after_the_import_is_told_the_rest_by_the_next_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_way(site.store) as way:
        monkeypatch.setenv("FACTORY_S3_ENDPOINT", way.endpoint)
        ended: Fault = (400, xml("ExpiredToken", "The provided token has expired."), {})
        way.fault = lambda method, path: ended if method == "PUT" and path.endswith("manifest.json") else None
        first = site.factory("publish", site.build)
        assert first.returncode == 6
        assert "[publish.credentials-expired]" in first.stderr
        assert names(site) == {"nginx-1.10.qcow2"}
        assert site.image()["sha256"]
        way.fault = lambda method, path: None
        second = site.factory("publish", site.build)
        assert (second.returncode, second.stdout) == (0, f"{site.image()['id']}\n"), second.stderr
        assert names(site) == EVERYTHING
        assert site.cloud.count("POST") == 1
        third = site.factory("publish", site.build)
        assert third.returncode == 6
        assert "[publish.name-taken]" in third.stderr
    for done in (first, second, third):
        no_secret(done)


def test_resume_brings_an_interrupted_publication_to_its_end(site: Site) -> None:
    image = site.cloud.images[interrupted(site)]
    assert names(site) == {"nginx-1.10.qcow2"}
    image.statuses = ["active"]
    done = site.factory("publish", "--resume", image.id)
    assert (done.returncode, done.stdout) == (0, f"{image.id}\n"), done.stderr
    assert names(site) == EVERYTHING
    beside = next(key for key in site.stored() if key.endswith("manifest.json"))
    assert site.store.read(beside) == (site.build / "manifest.json").read_bytes()
    entry = read_manifest(site.build).publication
    assert entry is not None
    assert entry.status == "active"
    before = site.store.client().list_objects_v2(Bucket="images")["Contents"]
    assert site.factory("publish", "--resume", image.id).returncode == 0
    assert site.store.client().list_objects_v2(Bucket="images")["Contents"] == before


def test_a_url_that_is_asked_for_is_made_of_an_image_that_was_there_too(site: Site, tmp_path: Path) -> None:
    assert site.factory("publish", site.build).returncode == 0
    file = tmp_path / "url"
    again = site.factory("publish", site.build, "--if-exists", "skip", "--url-file", file)
    assert again.returncode == 0, again.stderr
    assert file.read_text().startswith(f"{site.store.endpoint}/images/nginx/")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    no_secret(again)
    shown = site.factory("publish", site.build, "--if-exists", "skip", "--print-url")
    assert "X-Amz-Signature=" in shown.stdout.splitlines()[1]
    assert "X-Amz-Signature" not in shown.stderr
    assert site.cloud.count("POST") == 1
    image = next(key for key in site.stored() if key.endswith(".qcow2"))
    site.store.client().delete_object(Bucket="images", Key=image)
    gone = site.factory("publish", site.build, "--if-exists", "skip", "--print-url")
    assert gone.returncode == 6
    assert "[publish.not-uploaded]" in gone.stderr


def interrupted(site: Site) -> str:
    """The id of an import that a run began and was interrupted in."""
    return interrupted_while_waiting(site)[2]


def pointer(site: Site) -> dict[str, str]:
    key = next(key for key in site.stored() if key.endswith("latest.json"))
    found: dict[str, str] = json.loads(site.store.read(key))
    return found


def other_build(tmp_path: Path) -> Path:
    """A build of the same recipe and version with other bytes."""
    folder = a_build(tmp_path / "other" / "nginx", build_id="20260901T120000Z-89abcdef")
    content = CONTENT + b"other"
    document = json.loads((folder / "manifest.json").read_text())
    document["image"] |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "manifest.json").write_text(json.dumps(document))
    (folder / "nginx-1.10.qcow2").write_bytes(content)
    return folder


def test_the_manifest_of_an_image_that_was_skipped_names_no_place_of_other_bytes(site: Site, tmp_path: Path) -> None:
    assert site.factory("publish", site.build).returncode == 0
    other = other_build(tmp_path)
    done = site.factory("publish", other, "--if-exists", "skip")
    assert done.returncode == 0, done.stderr
    assert f"it has other bytes: this host imported it from those with the sha256 {SHA256}" in done.stderr
    told = read_manifest(other).publication
    assert told is not None
    assert (told.id, told.how) == (site.image()["id"], "skipped")
    assert (told.endpoint, told.bucket, told.key) == ("", "", "")
    again = site.factory("publish", site.build, "--if-exists", "skip")
    assert again.returncode == 0 and "bytes" not in again.stderr
    assert str(entry(site)["key"]).startswith("nginx/1.10/")


@pytest.mark.parametrize("newer", [True, False])
def test_resume_does_not_turn_the_pointer_back_to_an_older_image(site: Site, tmp_path: Path, newer: bool) -> None:
    site.cloud.statuses = ["importing"] * 1000
    image = site.factory("publish", site.build, "--no-wait").stdout.strip()
    (ledger,) = (settings.state_dir() / "publications").glob("*.json")
    began = "2026-01-01T00:00:00+00:00" if newer else "2999-01-01T00:00:00+00:00"
    ledger.write_text(json.dumps(json.loads(ledger.read_text()) | {"began": began}))
    other = other_build(tmp_path)
    site.cloud.statuses = []
    done = site.factory("publish", other, "--name", "nginx-1-11")
    assert done.returncode == 0, done.stderr
    assert pointer(site)["build_id"] == "20260901T120000Z-89abcdef"
    site.cloud.images[image].statuses = ["active"]
    resumed = site.factory("publish", "--resume", image)
    assert resumed.returncode == 0, resumed.stderr
    assert ("latest.json stays as it is" in resumed.stderr) is newer
    assert (pointer(site)["build_id"] == "20260901T120000Z-89abcdef") is newer
    assert sum(key.endswith("manifest.json") for key in site.stored()) == 2, "the documents are up all the same"
    record = publications.by_id(image)
    assert record is not None and record.told


@pytest.mark.parametrize("status", ["invalid_image", "importing_error", "deleted"])
def test_resume_without_waiting_tells_of_an_import_that_failed(site: Site, status: str) -> None:
    image = interrupted(site)
    site.cloud.images[image].statuses = [status]
    done = site.factory("publish", "--resume", image, "--no-wait")
    assert (done.returncode, done.stdout) == (6, ""), done.stderr
    assert "[publish.import-failed]" in done.stderr
    assert names(site) == {"nginx-1.10.qcow2"}
    assert read_manifest(site.build).publication is None


def test_resume_without_waiting_tells_the_store_of_an_active_image_only(site: Site) -> None:
    image = interrupted(site)
    going = site.factory("publish", "--resume", image, "--no-wait")
    assert (going.returncode, going.stdout) == (0, f"{image}\n"), going.stderr
    assert f"'factory publish --resume {image}' waits for it" in going.stderr
    assert names(site) == {"nginx-1.10.qcow2"}
    entry = read_manifest(site.build).publication
    assert entry is not None
    assert entry.status == "importing"
    site.cloud.images[image].statuses = ["active"]
    ended = site.factory("publish", "--resume", image, "--no-wait")
    assert (ended.returncode, ended.stdout) == (0, f"{image}\n"), ended.stderr
    assert names(site) == EVERYTHING
    entry = read_manifest(site.build).publication
    assert entry is not None
    assert entry.status == "active"


@pytest.mark.parametrize(("target", "file"), [("mgc", "SHA256SUMS"), ("generic", "import.json")])
def test_a_file_of_this_host_that_cannot_be_written_after_the_upload_is_a_failure_to_publish(
    site: Site, target: str, file: str
) -> None:
    document = json.loads((site.build / "manifest.json").read_text())
    (site.build / "manifest.json").write_text(json.dumps(document | {"targets": ["mgc", "generic"]}))
    place = site.build / file
    place.unlink(missing_ok=True)
    place.mkdir()  # nothing can be written there, not even by root
    first = site.factory("publish", site.build, "--target", target)
    assert (first.returncode, first.stdout) == (6, ""), first.stderr
    assert "[publish.local-file]" in first.stderr
    assert str(place) in first.stderr
    assert "nginx-1.10.qcow2" in names(site)
    place.rmdir()
    second = site.factory("publish", site.build, "--target", target)
    assert second.returncode == 0, second.stderr
    assert names(site) >= EVERYTHING
    sums = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=site.build, capture_output=True, check=False)
    assert sums.returncode == 0, sums.stderr
    assert site.cloud.count("POST") == (1 if target == "mgc" else 0)


def test_resume_that_cannot_write_a_file_of_this_host_is_a_failure_to_publish(site: Site) -> None:
    image = interrupted(site)
    site.cloud.images[image].statuses = ["active"]
    (ledger,) = (Path(os.environ["FACTORY_STATE"]) / "publications").glob("*.json")
    (site.build / "SHA256SUMS").unlink()
    (site.build / "SHA256SUMS").mkdir()
    first = site.factory("publish", "--resume", image)
    assert first.returncode == 6, first.stderr
    assert "[publish.local-file]" in first.stderr
    (site.build / "SHA256SUMS").rmdir()
    assert site.factory("publish", "--resume", image).returncode == 0
    assert names(site) == EVERYTHING
    assert '"told": true' in ledger.read_text()


def entry(site: Site) -> dict[str, object]:
    found = read_manifest(site.build).publication
    assert found is not None
    return found.model_dump()


def test_the_store_is_told_of_an_image_once_it_is_active(site: Site) -> None:
    site.cloud.statuses = ["importing"] * 1000
    begun = site.factory("publish", site.build, "--no-wait")
    assert begun.returncode == 0, begun.stderr
    assert names(site) == {"nginx-1.10.qcow2"}
    again = site.factory("publish", site.build, "--no-wait")  # takes it up
    assert (again.returncode, again.stdout) == (0, begun.stdout), again.stderr
    assert names(site) == {"nginx-1.10.qcow2"}
    site.cloud.images[begun.stdout.strip()].statuses = ["active"]
    assert site.factory("publish", "--resume", begun.stdout.strip()).returncode == 0
    assert names(site) == EVERYTHING
    beside = next(key for key in site.stored() if key.endswith("manifest.json"))
    assert json.loads(site.store.read(beside))["publication"]["status"] == "active"


def test_the_store_is_not_told_of_an_image_that_never_became_active(site: Site) -> None:
    site.cloud.statuses, site.cloud.end = ["importing"] * 2, "invalid_image"
    begun = site.factory("publish", site.build, "--no-wait")
    assert begun.returncode == 0, begun.stderr
    assert site.factory("publish", "--resume", begun.stdout.strip()).returncode == 6
    assert names(site) == {"nginx-1.10.qcow2"}


def test_the_store_is_not_told_of_an_image_of_other_bytes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host takes the name while the image goes up."""
    with faulty_way(site.store) as way:
        monkeypatch.setenv("FACTORY_S3_ENDPOINT", way.endpoint)

        def taken(method: str, path: str) -> None:
            if method == "POST" and "uploadId=" in path:
                site.cloud.add("nginx-1-10", version="9.9")

        way.fault = taken
        done = site.factory("publish", site.build, "--if-exists", "skip")
    assert done.returncode == 0, done.stderr
    assert "nothing tells that it has the same bytes" in done.stderr
    assert site.cloud.count("POST") == 0
    assert names(site) == {"nginx-1.10.qcow2"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FACTORY_S3_PREFIX", "team", "and it lies at"),
        ("FACTORY_S3_BUCKET", "", "no bucket is named"),
        ("AWS_ACCESS_KEY_ID", None, "there are no credentials"),
    ],
)
def test_resume_with_other_settings_of_the_store_loses_nothing(
    site: Site, name: str, value: str | None, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image = interrupted(site)
    site.cloud.images[image].statuses = ["active"]
    with monkeypatch.context() as other:
        if value is None:
            for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                other.delenv(variable)
            for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
                other.setenv(variable, str(tmp_path / "none"))
        else:
            other.setenv(name, value)
        first = site.factory("publish", "--resume", image)
    assert (first.returncode, first.stdout) == (0, f"{image}\n"), first.stderr
    assert said in " ".join(first.stderr.split())
    assert "latest.json does not point to nginx-1-10 yet" in first.stderr
    assert names(site) == {"nginx-1.10.qcow2"}
    second = site.factory("publish", "--resume", image)
    assert second.returncode == 0, second.stderr
    assert names(site) == EVERYTHING


def test_an_import_that_is_taken_up_with_other_settings_of_the_store_loses_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = interrupted(site)
    site.cloud.images[image].statuses = ["active"]
    with monkeypatch.context() as other:
        other.setenv("FACTORY_S3_PREFIX", "team")
        first = site.factory("publish", site.build)
    assert (first.returncode, first.stdout) == (0, f"{image}\n"), first.stderr
    assert "latest.json does not point to nginx-1-10" in first.stderr
    second = site.factory("publish", site.build)
    assert second.returncode == 0, second.stderr
    assert names(site) == EVERYTHING


def test_a_build_that_vanishes_while_it_is_imported_is_published_all_the_same(site: Site) -> None:
    site.cloud.statuses = ["importing"] * 10_000

    def vanish() -> None:
        end = time.monotonic() + 60
        while not site.cloud.count("GET") and time.monotonic() < end:
            time.sleep(0.02)
        shutil.rmtree(site.build)
        (image,) = site.cloud.images.values()
        image.statuses = ["active"]

    thread = threading.Thread(target=vanish)
    thread.start()
    done = site.factory("publish", site.build)
    thread.join()
    assert (done.returncode, done.stdout) == (0, f"{site.image()['id']}\n"), done.stderr
    assert "is not noted in the build" in done.stderr
    assert names(site) == {"nginx-1.10.qcow2", "latest.json"}


def test_a_build_that_is_imported_is_not_pruned(site: Site) -> None:
    image = interrupted(site)

    def old() -> list[Path]:
        return [each.folder for each in pruning.old_builds(site.build.parent.parent, settings.state_dir(), keep=0)]

    assert old() == []
    site.cloud.images[image].statuses = ["active"]
    assert site.factory("publish", "--resume", image).returncode == 0
    assert old() == [site.build]
    record = publications.by_id(image)
    assert record is not None
    record.write(state="importing", told=False)
    assert old() == []
    (ledger,) = (settings.state_dir() / "publications").glob("*.json")
    text = json.loads(ledger.read_text())
    ledger.write_text(json.dumps(text | {"changed": "2026-01-01T00:00:00+00:00"}))  # nobody came back for it
    assert old() == [site.build]


def test_the_manifest_tells_of_the_store_that_the_image_went_to_last(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.loads((site.build / "manifest.json").read_text())
    (site.build / "manifest.json").write_text(json.dumps(document | {"targets": ["generic"]}))
    assert site.factory("publish", site.build).returncode == 0
    assert entry(site)["endpoint"] == site.store.endpoint
    with faulty_way(site.store) as way:  # the same bucket's name at another address
        monkeypatch.setenv("FACTORY_S3_ENDPOINT", way.endpoint)
        done = site.factory("publish", site.build)
        assert done.returncode == 0, done.stderr
        assert entry(site)["endpoint"] == way.endpoint
    beside = next(key for key in site.stored() if key.endswith("manifest.json"))
    assert site.store.read(beside) == (site.build / "manifest.json").read_bytes()
