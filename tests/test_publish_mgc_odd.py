"""Magalu Cloud where its documents leave room: answers of other shapes, and requests that were never answered."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.errors import PublishError
from factory.publish import StoredObject, mgc, mgc_images
from tests.magalu_cloud import Fault
from tests.magalu_scene import QUIET, SHA256, Scene, failing, open_scene

PAGE = b"<html><head><title>Maintenance</title></head></html>"
TAKEN = b'{"message": "Image name already exists", "slug": "bad_request"}'


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with open_scene(tmp_path, monkeypatch) as opened:
        yield opened


# Lists


def test_a_list_of_nothing_may_be_null(scene: Scene) -> None:
    scene.cloud.fail("LIST", *[Fault(200, b'{"images": null, "meta": {"page": {"total": 0}}}')] * 2)
    assert scene.bring().status == "active"


def test_a_service_that_turns_no_pages_is_asked_no_longer(scene: Scene) -> None:
    page = [{"id": f"id-{number}", "name": "other", "status": "active"} for number in range(50)]
    scene.cloud.fail("LIST", *[Fault(200, json.dumps({"images": page}).encode())] * 30)
    assert scene.prepare().before_upload() is None
    assert scene.cloud.count("LIST") == 2


def test_pages_are_turned_to_the_end_when_no_total_is_told(scene: Scene) -> None:
    """A service may hold less on a page than it was asked for."""
    pages = [[{"id": "a", "name": "other", "status": "active"}], [{"id": "b", "name": "web-1-0", "status": "active"}]]
    scene.cloud.fail("LIST", *[Fault(200, json.dumps({"images": page}).encode()) for page in pages])
    with pytest.raises(PublishError) as caught:
        scene.prepare().before_upload()
    assert caught.value.code == "publish.name-taken"


def test_an_odd_image_of_another_name_stops_nothing(scene: Scene) -> None:
    odd = {"images": [{"id": "a", "name": "web-1-0-old", "status": None}], "meta": {"page": {"total": 1}}}
    scene.cloud.fail("LIST", Fault(200, json.dumps(odd).encode()))
    assert scene.prepare().before_upload() is None


# Pages in place of answers


@pytest.mark.parametrize("body", [PAGE, b'{"id": "a", "stat'])
def test_a_page_in_place_of_an_answer_is_sat_out_while_waiting(scene: Scene, body: bytes) -> None:
    scene.cloud.fail("GET", *[Fault(200, body)] * 3)
    assert scene.bring().status == "active"
    assert "Still waiting" in scene.shown.getvalue()


def test_what_never_answered_otherwise_is_told_at_once(scene: Scene) -> None:
    image = scene.cloud.add("web-1-0", "importing")
    scene.cloud.fail("GET", *[Fault(200, PAGE)] * 50)
    with pytest.raises(PublishError) as caught:
        mgc.resume(image.id, QUIET, scene.console)
    assert caught.value.code == "publish.api-answer"
    assert "Maintenance" in caught.value.cause
    assert scene.cloud.count("GET") == 1


# Requests that arrived, and nobody heard of it


def killed_while_it_asked(scene: Scene) -> None:
    """A run whose request the cloud took, and that ended before it heard so."""
    ask = mgc_images.Images.create

    def killed(images: mgc_images.Images, *arguments: object) -> str:
        ask(images, *arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(mgc_images.Images, "create", killed)
        scene.bring()
    assert scene.record().state == "asked"


def test_a_run_that_was_killed_while_it_asked_is_taken_up_though_the_list_hides_its_image(scene: Scene) -> None:
    """The documents say that the list holds active images only."""
    scene.cloud.active_only, scene.cloud.statuses = True, ["importing"] * 10_000
    killed_while_it_asked(scene)
    error = failing(scene)
    assert error.code == "publish.name-taken"
    assert "run the same command again later" in error.hint
    assert scene.record().unfinished
    (image,) = scene.cloud.images.values()
    image.statuses = ["active"]
    brought = scene.bring()
    assert (brought.id, brought.how) == (image.id, "adopted")
    assert len(scene.cloud.images) == 1


def test_such_an_image_that_is_listed_soon_is_waited_for(scene: Scene) -> None:
    scene.cloud.active_only, scene.cloud.statuses = True, ["importing"] * 10_000
    killed_while_it_asked(scene)
    (image,) = scene.cloud.images.values()
    threading.Timer(0.05, lambda: image.statuses.__setitem__(slice(None), ["active"])).start()
    assert scene.bring().id == image.id
    assert len(scene.cloud.images) == 1


def test_a_name_that_is_taken_may_be_told_as_a_bad_request(scene: Scene) -> None:
    scene.cloud.fail("POST", Fault(400, TAKEN))
    assert failing(scene).code == "publish.name-taken"
    assert scene.record().state == "failed"


def test_a_refusal_after_a_request_that_arrived_gives_nothing_up(scene: Scene) -> None:
    scene.cloud.active_only, scene.cloud.statuses = True, ["importing"] * 10_000
    scene.cloud.fail("POST", Fault(502, after=True), Fault(403, b'{"message": "quota reached"}'))
    assert failing(scene).code == "publish.quota"
    assert scene.record().unfinished
    for image in scene.cloud.images.values():
        image.statuses = ["active"]
    assert scene.bring().how == "adopted"
    assert len(scene.cloud.images) == 1


def test_a_pause_before_a_request_is_sent_again_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.publish.mgc_api.LONGEST_RETRY_AFTER", 0.05)
    busy = Fault(429, b'{"message": "quota of requests"}', headers={"Retry-After": "120"})
    scene.cloud.fail("POST", busy)
    assert scene.bring().status == "active"
    said = scene.shown.getvalue()
    assert "looking in" in said and said.index("looking in") < said.index("is sent again")
    assert "quota of requests" in said


def test_a_url_that_grew_too_old_in_the_meantime_is_not_sent_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAUSE", "LONGEST_PAUSE"):
        monkeypatch.setattr(f"factory.publish.mgc_api.{name}", 3.0)
    scene.cloud.fail("POST", Fault(503))
    assert failing(scene, url=scene.url(43202)).code == "publish.url-life"
    assert scene.cloud.count("POST") == 1
    assert scene.record().unfinished


@pytest.mark.parametrize(
    "told", [{"vcpu": "1", "ram": "1", "disk": "4"}, {"vcpu": 1, "ram": 1, "disk": 4, "gpu": 0}, {"disk": 4}, {}]
)
def test_requirements_that_are_told_in_another_way_are_ours(scene: Scene, told: dict[str, object]) -> None:
    killed_while_it_asked(scene)
    (image,) = scene.cloud.images.values()
    image.request["requirements"] = told
    preparation = scene.prepare()
    found = preparation.before_upload()
    assert found is not None
    assert found.how == "adopted"


def test_an_import_that_the_store_does_not_tell_of_is_not_finished(scene: Scene) -> None:
    stored = StoredObject(scene.store.url(""), "br-se1", "images", "web/1.0/web.qcow2", 1, SHA256)
    first = scene.prepare().bring(stored, scene.url())
    assert (scene.record().state, scene.record().unfinished) == ("active", True)
    again = scene.bring()
    assert (again.id, again.how) == (first.id, "adopted")
    assert not scene.record().unfinished
    assert failing(scene).code == "publish.name-taken"
