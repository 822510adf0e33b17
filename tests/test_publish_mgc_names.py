"""Names that are taken in Magalu Cloud, and what the ledger remembers of an import."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory.errors import FactoryError, PublishError
from factory.publish import StoredObject, mgc, mgc_images
from factory.publish.importer import Brought, Wishes
from tests.magalu_cloud import Fault
from tests.magalu_scene import QUIET, SHA256, Scene, failing, open_scene


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with open_scene(tmp_path, monkeypatch) as opened:
        yield opened


def test_a_taken_name_is_refused_before_anything_is_made(scene: Scene) -> None:
    for number in range(120):
        scene.cloud.add(f"web-1-0-{number}")
    other = scene.cloud.add("web-1-0")
    with pytest.raises(PublishError) as caught:
        scene.prepare().before_upload()
    assert caught.value.code == "publish.name-taken"
    assert other.id in caught.value.message
    assert scene.cloud.count("POST") == 0
    assert scene.cloud.count("LIST") == 3


def test_a_longer_name_or_a_deleted_image_takes_no_name(scene: Scene) -> None:
    scene.cloud.add("web-1-0-old")
    scene.cloud.add("web-1-0", "deleted")
    assert scene.bring().how == "imported"


def test_a_name_that_is_taken_in_the_last_moment_is_told_by_the_service(scene: Scene) -> None:
    answer = b'{"message": "image name already exists", "slug": "conflict"}'
    scene.cloud.fail("POST", Fault(409, answer))
    error = failing(scene)
    assert error.code == "publish.name-taken"
    assert "image name already exists [conflict]" in error.message
    assert "trace id" in error.message
    assert scene.cloud.count("POST") == 1


def test_a_finished_import_of_the_same_bytes_is_taken_with_skip_only(scene: Scene) -> None:
    first = scene.bring()
    error = failing(scene)
    assert "these very bytes" in error.cause
    again = scene.bring(replace(QUIET, if_exists="skip"))
    assert (again.id, again.how, again.status) == (first.id, "skipped", "active")
    assert "nothing tells" not in scene.shown.getvalue()
    assert scene.cloud.count("POST") == 1


def test_with_skip_an_image_of_others_is_taken_with_a_warning(scene: Scene) -> None:
    other = scene.cloud.add("web-1-0")
    assert scene.bring(replace(QUIET, if_exists="skip")).id == other.id
    assert "nothing tells that it has the same bytes" in scene.shown.getvalue()


@pytest.mark.parametrize("if_exists", ["fail", "skip"])
def test_a_failed_image_is_never_taken(scene: Scene, if_exists: Any) -> None:
    scene.cloud.add("web-1-0", "invalid_image")
    error = failing(scene, replace(QUIET, if_exists=if_exists))
    assert error.code == "publish.name-taken"
    assert "invalid_image" in error.message


def test_after_a_failed_import_the_name_is_told_as_taken_by_it(scene: Scene) -> None:
    scene.cloud.end = "importing_error"
    failing(scene)
    error = failing(scene)
    assert error.cause == "An earlier import under this name failed."[:-1]
    assert scene.cloud.count("POST") == 1


def test_a_failed_import_of_ours_is_deleted_when_that_is_asked_for(scene: Scene) -> None:
    scene.cloud.end = "importing_error"
    failing(scene)
    scene.cloud.end = ""
    brought = scene.bring(replace(QUIET, delete_failed=True), sha256="0" * 64)
    assert (brought.status, brought.how) == ("active", "imported")
    assert scene.cloud.count("DELETE") == 1
    assert sorted(image.statuses[0] for image in scene.cloud.images.values()) == ["active", "deleted"]


@pytest.mark.parametrize("status", ["error", "active", "deleting_error"])
def test_an_image_of_others_is_never_deleted(scene: Scene, status: str) -> None:
    scene.cloud.add("web-1-0", status)
    failing(scene, replace(QUIET, delete_failed=True))
    assert scene.cloud.count("DELETE") == 0


def test_an_active_image_of_ours_is_never_deleted(scene: Scene) -> None:
    scene.bring()
    failing(scene, replace(QUIET, delete_failed=True))
    assert scene.cloud.count("DELETE") == 0


def test_an_import_of_other_bytes_is_not_taken_up(scene: Scene) -> None:
    scene.bring(replace(QUIET, wait=0))
    error = failing(scene, sha256="0" * 64)
    assert error.code == "publish.name-taken"


def test_a_request_whose_answer_was_lost_is_taken_up_by_the_next_run(scene: Scene) -> None:
    scene.cloud.statuses = ["importing"] * 3
    scene.cloud.fail("POST", Fault(500, after=True))
    scene.cloud.fail("LIST", Fault(200, b'{"images": [], "meta": {}}', after=True), *[Fault()] * 40)
    with pytest.raises(PublishError):
        preparation = scene.prepare()
        preparation.bring(StoredObject("https://x", "", "b", "k", 1, SHA256), scene.url())
    assert scene.record().state == "asked"
    scene.cloud.faults.clear()
    assert scene.bring().how == "adopted"
    assert scene.cloud.count("POST") == 1


def test_an_image_that_differs_is_not_taken_for_the_lost_one(scene: Scene) -> None:
    scene.cloud.fail("POST", *[Fault()] * 50)
    failing(scene)
    scene.cloud.add("web-1-0", version="other", requirements={"vcpu": 1, "ram": 1, "disk": 4})
    error = failing(scene)
    assert error.code == "publish.name-taken"


def test_an_import_that_was_deleted_in_the_cloud_is_made_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scene.bring(replace(QUIET, wait=0))
    scene.images().delete(first.id)
    assert scene.bring().how == "imported"
    second = scene.bring(replace(QUIET, name="other", wait=0))
    del scene.cloud.images[second.id]  # not even its id is known any more
    monkeypatch.setattr(mgc_images, "SETTLING", 0.1)
    third = scene.bring(replace(QUIET, name="other"))
    assert (third.how, third.id != second.id) == ("imported", True)


def test_an_import_that_the_cloud_shows_late_is_taken_up(scene: Scene) -> None:
    first = scene.bring(replace(QUIET, wait=0))
    scene.cloud.images[first.id].hidden = 3
    second = scene.bring()
    assert (second.id, second.how, second.status) == (first.id, "adopted", "active")
    assert scene.cloud.count("POST") == 1
    assert scene.shown.getvalue().count("does not show the image") == 1


def test_an_import_that_the_cloud_shows_very_late_is_lost_by_no_run(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mgc_images, "SETTLING", 0.05)
    monkeypatch.setattr(mgc, "ARRIVAL_TRIES", 2)
    first = scene.bring(replace(QUIET, wait=0))
    image = scene.cloud.images[first.id]
    image.hidden = 10_000
    assert failing(scene).code == "publish.name-taken"
    assert "run the same command again later" in failing(scene).hint
    image.hidden = 0
    found = scene.bring()
    assert (found.id, found.how, found.status) == (first.id, "adopted", "active")
    assert len(scene.cloud.images) == 1


def test_another_image_is_not_taken_for_the_one_that_is_gone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mgc_images, "SETTLING", 0.05)
    monkeypatch.setattr(mgc, "ARRIVAL_TRIES", 2)
    first = scene.bring(replace(QUIET, wait=0))
    del scene.cloud.images[first.id]
    scene.cloud.add("web-1-0", version="1.0").hidden = 3  # by another host, and shown once it is asked for again
    assert failing(scene).code == "publish.name-taken"


@pytest.mark.parametrize("wait", [60.0, 0.0])
def test_resume_waits_for_an_image_that_the_cloud_shows_late(scene: Scene, wait: float) -> None:
    first = scene.bring(replace(QUIET, wait=0))
    image = scene.cloud.images[first.id]
    image.hidden = 3
    found = mgc.resume(first.id, Wishes(wait=wait), scene.console)
    assert (found.id, found.status) == (first.id, "active" if wait else "importing")
    if not wait:
        assert "does not show the image" in scene.shown.getvalue()
        assert scene.record().unfinished


def test_resume_of_an_image_that_is_long_gone_ends(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scene.bring(replace(QUIET, wait=0))
    scene.cloud.images.clear()
    monkeypatch.setattr(mgc_images, "SETTLING", 0.0)
    with pytest.raises(PublishError) as caught:
        mgc.resume(first.id, Wishes(), scene.console)
    assert caught.value.code == "publish.api-not-found"


def test_two_runs_at_once_make_one_image(scene: Scene) -> None:
    brought: list[Brought] = []
    errors: list[FactoryError] = []

    def run() -> None:
        try:
            brought.append(scene.bring())
        except FactoryError as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(scene.cloud.images) == 1
    assert scene.cloud.count("POST") == 1
    assert {each.id for each in brought} == set(scene.cloud.images)
    assert {error.code for error in errors} <= {"publish.name-taken"}
