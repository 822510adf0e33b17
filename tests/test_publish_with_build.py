"""Publishing beside a build: parts go up while it is tested, and what is red leaves nothing in the bucket."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factory import build
from factory.console import Console
from factory.errors import FactoryError, ImageRefused, PublishError, UsageError
from factory.manifest import read_manifest
from factory.plan import make_plan
from factory.publish import Artefact, Unpublished, artefacts, mgc_api, mgc_images, with_build
from factory.publish.importer import Wishes
from factory.publish.with_build import Publication
from tests.command_line import Done, inside, own_places, program
from tests.faulty_way import Fault, FaultyWay, xml
from tests.magalu_cloud import KEY, Cloud
from tests.magalu_cloud import Fault as Fallen
from tests.object_store import MIB, ObjectStore, artefact, lead_to
from tests.publishing_site import a_build
from tests.test_manifest import facts
from tests.test_publish_faults import hold_back_after

pytestmark = [pytest.mark.real, pytest.mark.beside]


@pytest.fixture
def store(seaweed: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    own_places(tmp_path, monkeypatch)
    seaweed.empty()
    lead_to(seaweed, monkeypatch)
    return seaweed


def publication(console: Console, *targets: str) -> Publication:
    return Publication(targets or ["generic"], Wishes(), console)


def green(tmp_path: Path, target: str = "generic") -> tuple[Artefact, Callable[[], Path]]:
    """An image under test, and what makes the folder of its build when it is green."""
    made = artefact(tmp_path, 40 * MIB)

    def commit() -> Path:
        entry = facts()["image"] | {"size": made.size, "sha256": made.sha256, "file": made.image.name}
        told = facts()["recipe"] | {"name": made.name, "version": made.version}
        folder = a_build(tmp_path / "out" / "nginx", image=entry, recipe=told, targets=[target])
        (folder / "nginx-1.10.qcow2").unlink()
        made.image.rename(folder / made.image.name)
        return folder

    return made, commit


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_parts_go_up_while_it_is_tested_and_the_image_appears_when_it_is_green(
    store: ObjectStore, tmp_path: Path
) -> None:
    made, commit = green(tmp_path)
    console = Console.quiet()
    with publication(console) as going, console.stage("nginx") as whole:
        going.begin(lambda: made)
        with console.stage("boot test"):
            wait_for(lambda: store.parts() == 3)
            assert store.keys() == []
        folder = commit()
        going.conclude(folder)
    names = {Path(key).name for key in sorted(store.keys())}
    assert names == {made.image.name, "manifest.json", "findings.json", "SHA256SUMS", "import.json", "latest.json"}
    assert store.pending() == []
    (upload,) = [record for record in console.timeline(whole) if record.name == "upload"]
    assert upload.path == "nginx/upload"
    entry = read_manifest(folder).publication
    assert entry is not None
    assert (entry.how, entry.status, entry.target) == ("uploaded", "uploaded", "generic")
    told = json.loads((folder / "import.json").read_text())
    assert (told["sha256"], told["size"], told["name"]) == (made.sha256, made.size, "nginx-1-0-0")
    assert told["firmware"] == ["bios", "uefi"]
    assert f"factory presign {told['build_id']} --target generic" in told["url"]
    everything = "".join(path.read_text() for path in folder.iterdir() if path.suffix != ".qcow2")
    assert "X-Amz" not in everything
    assert artefacts.documents(artefacts.of(folder)).keys() == {"manifest.json", "findings.json", "SHA256SUMS"}


@pytest.mark.parametrize("end", [ImageRefused("red"), KeyboardInterrupt(), FactoryError("the machine died")])
def test_a_build_that_is_not_green_leaves_nothing(store: ObjectStore, tmp_path: Path, end: BaseException) -> None:
    made = artefact(tmp_path, 40 * MIB)
    with pytest.raises(type(end)), publication(Console.quiet()) as going:
        going.begin(lambda: made)
        wait_for(lambda: store.parts() >= 1)
        raise end
    assert (store.keys(), store.pending()) == ([], [])


def test_a_build_that_is_red_before_the_upload_has_even_begun_leaves_nothing(
    store: ObjectStore, way: FaultyWay, tmp_path: Path
) -> None:
    way.fault = lambda method, path: time.sleep(1.0 if path.endswith("?uploads") else 0)
    made = artefact(tmp_path, 40 * MIB)
    with pytest.raises(ImageRefused), publication(Console.quiet()) as going:
        going.begin(lambda: made)
        wait_for(lambda: any(path.endswith("?uploads") and method == "POST" for method, path in way.requests))
        raise ImageRefused("red")
    assert (store.keys(), store.pending()) == ([], [])


def test_parts_of_an_upload_that_failed_go_too_when_the_build_is_red(
    store: ObjectStore, way: FaultyWay, tmp_path: Path
) -> None:
    full: Fault = (507, xml("XMinioStorageFull", "no space"), {})
    way.fault = lambda method, path: full if "partNumber=3" in path else None
    made = artefact(tmp_path, 40 * MIB)
    with pytest.raises(ImageRefused), publication(Console.quiet()) as going:
        going.begin(lambda: made)
        wait_for(lambda: going._ways[0].error is not None)
        assert store.parts() == 2
        raise ImageRefused("red")
    assert (store.keys(), store.pending()) == ([], [])


def test_what_is_wrong_with_the_store_is_told_before_the_build(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_S3_BUCKET", "not-there")
    with pytest.raises(PublishError) as caught, publication(Console.quiet()):
        pytest.fail("the build has begun")
    assert caught.value.code == "publish.bucket-missing"
    monkeypatch.delenv("FACTORY_S3_BUCKET")
    with pytest.raises(UsageError) as wrong, publication(Console.quiet()):
        pytest.fail("the build has begun")
    assert wrong.value.code == "usage.store"


@pytest.mark.parametrize("fault", [(503, xml("SlowDown"), {}), "reset", "lose"])
def test_a_store_that_is_busy_for_a_moment_does_not_refuse_the_build(
    store: ObjectStore, way: FaultyWay, fault: Fault | str
) -> None:
    faults = iter([fault])
    way.fault = lambda method, path: next(faults, None) if path.endswith("?uploads") and method == "POST" else None
    with publication(Console.quiet()):
        assert next(faults, None) is None
        assert store.pending() == []


def test_a_store_that_fails_does_not_end_the_build_and_keeps_the_parts(
    store: ObjectStore, way: FaultyWay, tmp_path: Path
) -> None:
    made, commit = green(tmp_path)
    full: Fault = (507, xml("XMinioStorageFull", "no space"), {})
    way.fault = lambda method, path: full if "partNumber=3" in path else None
    console = Console.quiet()
    with pytest.raises(PublishError) as caught, publication(console) as going:
        going.begin(lambda: made)
        folder = commit()
        going.conclude(folder)
    assert caught.value.code == "publish.store-full"
    assert caught.value.command == f"factory publish {folder} --target generic"
    assert store.parts() == 2
    way.fault = lambda method, path: None
    with publication(console) as again:  # nothing is built: it is there already
        again.conclude(folder)
    assert store.pending() == []
    assert len(store.keys()) == 6


def test_the_verb_publishes_to_no_cloud_in_particular(
    store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = a_build(tmp_path / "out" / "nginx", targets=["generic"])
    factory = inside(capsys, monkeypatch)

    def no_secret(done: Done) -> None:
        assert "X-Amz" not in done.stdout + done.stderr

    planned = factory("publish", folder, "--target", "generic", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["name"] == "nginx-1-10"
    assert (store.keys(), store.pending()) == ([], [])
    done = factory("publish", folder, "--target", "generic")
    assert done.returncode == 0, done.stderr
    no_secret(planned)
    no_secret(done)
    assert done.stdout.startswith("s3://images/nginx/1.10/")
    assert factory("publish", folder, "--target", "generic").returncode == 0
    assert {Path(key).name for key in sorted(store.keys())} >= {"import.json", "latest.json"}


def test_the_verb_interrupted_in_the_middle_ends_with_130_and_leaves_nothing(
    store: ObjectStore, way: FaultyWay, tmp_path: Path
) -> None:
    _, commit = green(tmp_path)
    folder = commit()
    gate = hold_back_after(way, 1)
    argv = program("publish", folder, "--target", "generic", "--expires", "1h")
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=os.environ.copy()) as running_verb:
        wait_for(lambda: store.parts() == 1)
        running_verb.send_signal(signal.SIGTERM)
        _, said = running_verb.communicate(timeout=60)
        gate.set()
    assert running_verb.returncode == 130, said
    assert "interrupted; everything is cleaned up" in said
    assert (store.keys(), store.pending()) == ([], [])


def test_a_build_that_is_there_already_is_imported_and_a_second_time_skipped(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = a_build(tmp_path / "out" / "nginx")
    cloud = Cloud(tmp_path, trust=store.ca_bundle)
    monkeypatch.setenv("FACTORY_MGC_API_URL", cloud.url)
    monkeypatch.setenv("FACTORY_CA_BUNDLE", str(cloud.ca_bundle))
    monkeypatch.setenv("MGC_API_KEY", KEY)
    try:
        for _ in range(2):
            with Publication(["mgc"], Wishes(if_exists="skip"), Console.quiet()) as going:
                going.conclude(folder)
        assert len(cloud.images) == 1
    finally:
        cloud.shutdown()
        cloud.server_close()


@pytest.fixture
def cloud(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    running = Cloud(tmp_path, trust=store.ca_bundle)
    monkeypatch.setenv("FACTORY_MGC_API_URL", running.url)
    monkeypatch.setenv("FACTORY_CA_BUNDLE", str(running.ca_bundle))
    monkeypatch.setenv("MGC_API_KEY", KEY)
    monkeypatch.setattr(mgc_api, "PAUSE", 0.01)
    for name, value in (("POLL", 0.01), ("LONGEST_POLL", 0.05)):
        monkeypatch.setattr(mgc_images, name, value)
    yield running
    running.shutdown()
    running.server_close()


def test_a_green_build_is_imported_with_the_fields_of_its_recipe(
    store: ObjectStore, cloud: Cloud, tmp_path: Path
) -> None:
    made, commit = green(tmp_path)
    with publication(Console.quiet(), "mgc") as going:
        going.begin(lambda: made)
        wait_for(lambda: store.parts() == 3)
        assert cloud.count("POST") == 0
        folder = commit()
        going.conclude(folder)
    (image,) = cloud.images.values()
    assert image.sha256 == made.sha256
    entry = read_manifest(folder).publication
    assert entry is not None
    assert (entry.id, entry.status, entry.sha256) == (image.id, "active", made.sha256)
    assert cloud.broken == []


def test_a_cloud_that_was_away_before_the_tests_is_asked_again_after_them(
    store: ObjectStore, cloud: Cloud, tmp_path: Path
) -> None:
    made, commit = green(tmp_path, "mgc")
    cloud.fail("LIST", *[Fallen(503)] * mgc_api.TRIES)
    with publication(Console.quiet(), "mgc") as going:
        going.begin(lambda: made)
        assert going._ways[0].error is not None
        assert store.pending() == []
        going.conclude(commit())
    (image,) = cloud.images.values()
    assert image.sha256 == made.sha256
    assert any(key.endswith("latest.json") for key in sorted(store.keys()))


def test_a_store_that_failed_while_the_build_was_tested_gets_the_rest_after_it(
    store: ObjectStore, way: FaultyWay, tmp_path: Path
) -> None:
    made, commit = green(tmp_path)
    ended: Fault = (400, xml("ExpiredToken", "The provided token has expired."), {})
    way.fault = lambda method, path: ended if "partNumber=3" in path else None
    with publication(Console.quiet()) as going:
        going.begin(lambda: made)
        wait_for(lambda: going._ways[0].error is not None)
        assert store.parts() == 2
        way.fault = lambda method, path: None
        way.requests.clear()
        going.conclude(commit())
    assert sum("partNumber=" in path for _, path in way.requests) == 1
    assert (len(store.keys()), store.pending()) == (6, [])


def test_an_image_of_that_name_that_is_imported_is_waited_for_after_the_tests_only(
    store: ObjectStore, cloud: Cloud, tmp_path: Path
) -> None:
    made, commit = green(tmp_path, "mgc")
    image = cloud.add("nginx-1-0-0", "importing")
    with Publication(["mgc"], Wishes(if_exists="skip", wait=60), Console.quiet()) as going:
        began = time.monotonic()
        going.begin(lambda: made)
        assert time.monotonic() - began < 30
        folder = commit()
        image.statuses = ["importing"] * 5 + ["active"]
        going.conclude(folder)
    entry = read_manifest(folder).publication
    assert entry is not None
    assert (entry.id, entry.how, entry.status) == (image.id, "skipped", "active")
    assert (store.keys(), store.pending(), cloud.count("POST")) == ([], [], 0)


def test_an_import_that_vanished_while_the_build_was_tested_is_begun_anew(
    store: ObjectStore, cloud: Cloud, tmp_path: Path
) -> None:
    made, commit = green(tmp_path, "mgc")
    other = cloud.add("nginx-1-0-0", "importing")
    with Publication(["mgc"], Wishes(if_exists="skip", wait=60), Console.quiet()) as going:
        going.begin(lambda: made)
        del cloud.images[other.id]
        going.conclude(commit())
    (image,) = cloud.images.values()
    assert image.sha256 == made.sha256


def test_a_red_build_asks_the_cloud_for_nothing(store: ObjectStore, cloud: Cloud, tmp_path: Path) -> None:
    made, _ = green(tmp_path)
    with pytest.raises(ImageRefused), publication(Console.quiet(), "mgc") as going:
        going.begin(lambda: made)
        wait_for(lambda: store.parts() > 0)
        raise ImageRefused("the boot test is red")
    assert (store.keys(), store.pending(), cloud.count("POST")) == ([], [], 0)


def test_what_the_cloud_would_need_is_told_before_the_build(
    store: ObjectStore, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MGC_API_KEY")
    with pytest.raises(PublishError) as caught, publication(Console.quiet(), "mgc"):
        pytest.fail("the build has begun")
    assert caught.value.code == "publish.no-api-key"
    monkeypatch.setenv("FACTORY_MGC_API_URL", "https://api.magalu.cloud/br-se1/compute")
    with pytest.raises(PublishError) as caught, publication(Console.quiet(), "mgc"):
        pytest.fail("the build has begun")
    assert caught.value.code == "publish.bucket-place"


def test_credentials_that_end_before_the_cloud_could_fetch_are_refused_before_the_build(
    store: ObjectStore, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) + timedelta(hours=1)).isoformat())
    with pytest.raises(PublishError) as caught, publication(Console.quiet(), "mgc"):
        pytest.fail("the build has begun")
    assert caught.value.code == "publish.url-life" and "temporary credentials" in caught.value.cause


def test_each_target_that_failed_is_told_with_a_command_that_finds_the_build(
    store: ObjectStore, cloud: Cloud, way: FaultyWay, tmp_path: Path
) -> None:
    place = tmp_path / "a place"
    place.mkdir()
    made, commit = green(place, "mgc")
    full: Fault = (507, xml("XMinioStorageFull", "no space"), {})
    way.fault = lambda method, path: full if method == "POST" and "uploadId=" in path else None
    shown = io.StringIO()
    console = Console.create("text", shown)
    with pytest.raises(PublishError) as caught, publication(console, "mgc", "generic") as going:
        going.begin(lambda: made)
        folder = commit()
        going.conclude(folder)
    assert caught.value.command == shlex.join(["factory", "publish", str(folder), "--target", "mgc"])
    said = shown.getvalue()
    assert "not published to generic" in said and "no space" in said
    assert shlex.join(["factory", "publish", str(folder), "--target", "generic"]) in said


def test_a_build_without_publish_speaks_to_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_build, "open_store", lambda *_: pytest.fail("a store was asked for"))
    plan = make_plan("nginx")
    assert isinstance(build._publication(plan, build.Options(), Console.quiet()), Unpublished)
    asked = build._publication(plan, build.Options(publish=Wishes()), Console.quiet())
    assert isinstance(asked, Publication)
    assert asked._targets == ["mgc"]


def test_a_target_that_is_named_twice_is_one() -> None:
    plan = make_plan("nginx", target=("mgc", "generic", "mgc"))
    assert [target.name for target in plan.targets] == ["mgc", "generic"]
    assert plan.key == make_plan("nginx", target=("mgc", "generic")).key
    asked = build._publication(plan, build.Options(publish=Wishes()), Console.quiet())
    assert isinstance(asked, Publication)
    assert asked._targets == ["mgc", "generic"]
