"""Magalu Cloud where it lists an image late: to those who skip, and to those whose own request was lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from factory.publish import mgc_images
from tests.magalu_cloud import Fault, Image
from tests.magalu_scene import QUIET, Scene, failing, open_scene

SKIP = replace(QUIET, if_exists="skip")
TOLD = "nothing tells that it has the same bytes"
TAKEN = b'{"message": "image name already exists", "slug": "conflict"}'


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with open_scene(tmp_path, monkeypatch) as opened:
        yield opened


def begun(scene: Scene, hidden: int) -> Image:
    """An import that a run has begun and not waited for; the next *hidden* looks do not find it."""
    scene.cloud.statuses = ["importing"]
    scene.bring(replace(QUIET, wait=0))
    (image,) = scene.cloud.images.values()
    image.hidden = hidden
    return image


def test_an_import_that_turns_up_while_it_is_asked_for_again_is_ours(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mgc_images, "SETTLING", 0.0)
    image = begun(scene, 4)  # by its id, by its name, and the same again once the image is in the store
    brought = scene.bring()
    assert (brought.id, brought.status) == (image.id, "active")
    assert scene.cloud.count("POST") == 2
    assert len(scene.cloud.images) == 1
    assert TOLD not in scene.shown.getvalue()


def test_an_import_that_is_found_by_its_name_sooner_than_by_its_id_is_taken_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mgc_images, "SETTLING", 0.0)
    image = begun(scene, 0)
    scene.cloud.fail("GET", Fault(404, b'{"slug": "not_found", "message": "image not found"}'))
    brought = scene.bring()
    assert (brought.id, brought.how, brought.status) == (image.id, "adopted", "active")
    assert TOLD not in scene.shown.getvalue()


def test_an_image_that_may_be_of_another_host_is_told_as_such(scene: Scene) -> None:
    """No request arrived; then another host made an image of the same name, version and requirements."""
    scene.cloud.fail("POST", *[Fault(503, headers={"Retry-After": "0"})] * 50)
    failing(scene)
    scene.cloud.faults.clear()
    other = scene.cloud.add("web-1-0", version="1.0", requirements={"vcpu": 1, "ram": 1, "disk": 4})
    assert scene.bring().id == other.id
    assert TOLD in scene.shown.getvalue()
    assert "that an earlier run began" not in scene.shown.getvalue()


def test_such_an_image_that_the_list_hides_at_first_is_told_as_such(scene: Scene) -> None:
    scene.cloud.fail("POST", *[Fault(503, headers={"Retry-After": "0"})] * 50)
    failing(scene)
    scene.cloud.faults.clear()
    other = scene.cloud.add("web-1-0", version="1.0", requirements={"vcpu": 1, "ram": 1, "disk": 4})
    other.hidden = 2
    assert scene.bring().id == other.id
    assert scene.cloud.count("POST") == 7
    assert TOLD in scene.shown.getvalue()


# --if-exists skip


@pytest.mark.parametrize("status", ["importing", "active"])
def test_skip_takes_an_image_that_the_list_shows_after_the_request_was_refused(scene: Scene, status: str) -> None:
    other = scene.cloud.add("web-1-0", status, version="9")
    other.hidden = 3
    if status == "importing":
        other.statuses = ["importing", "importing", "active"]
    brought = scene.bring(SKIP)
    assert (brought.id, brought.how, brought.status) == (other.id, "skipped", "active")
    assert TOLD in scene.shown.getvalue()
    assert scene.cloud.count("POST") == 1
    assert scene.record().state == "failed"


def test_skip_waits_for_an_import_that_is_listed_once_it_is_active(scene: Scene) -> None:
    scene.cloud.active_only = True
    other = scene.cloud.add("web-1-0", "importing", version="9")

    def end() -> None:
        while not scene.cloud.count("POST"):
            time.sleep(0.005)
        other.statuses[:] = ["active"]

    threading.Thread(target=end, daemon=True).start()
    assert (scene.bring(SKIP).id, scene.cloud.count("POST")) == (other.id, 1)


def test_skip_is_no_advice_to_those_who_gave_it(scene: Scene) -> None:
    scene.cloud.active_only = True
    scene.cloud.add("web-1-0", "importing", version="9")
    error = failing(scene, SKIP)
    assert error.code == "publish.name-taken"
    assert "skip" not in error.hint
    assert "run the same command again later" in error.hint


@pytest.mark.parametrize("status", ["invalid_image", "deleting"])
def test_skip_takes_no_image_that_failed_and_was_listed_late(scene: Scene, status: str) -> None:
    scene.cloud.add("web-1-0", status).hidden = 2
    assert failing(scene, SKIP).code == "publish.name-taken"


def test_without_skip_a_name_that_is_taken_is_told_at_once(scene: Scene) -> None:
    scene.cloud.fail("POST", Fault(409, TAKEN))
    assert "--if-exists skip" in failing(scene).hint
    assert scene.cloud.count("LIST") == 2, "before the upload, and before the request"
