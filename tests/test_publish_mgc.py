"""The import into Magalu Cloud, against a service on the loopback interface that is stricter than its documents."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factory import settings
from factory.errors import PublishError
from factory.publish import mgc, mgc_api, mgc_images
from factory.publish.importer import Brought, Wishes
from tests.magalu_cloud import KEY, Fault
from tests.magalu_scene import QUIET, SHA256, SIGNATURE, Scene, failing, open_scene


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with open_scene(tmp_path, monkeypatch) as opened:
        yield opened


# The whole way


def test_an_image_is_imported_and_its_bytes_are_what_the_cloud_fetched(scene: Scene) -> None:
    brought = scene.bring(replace(QUIET, description="Debian 12 with nginx", uefi=True, vcpus=2, memory=4, disk=10))
    assert brought == Brought("mgc", "web-1-0", brought.id, "active", "imported", scene.cloud.url)
    assert scene.cloud.images[brought.id].sha256 == SHA256
    assert scene.sent() == {
        "name": "web-1-0",
        "url": scene.sent()["url"],
        "platform": "linux",
        "license": "unlicensed",
        "architecture": "x86/64",
        "uefi": True,
        "requirements": {"vcpu": 2, "ram": 4, "disk": 10},
        "version": "1.0",
        "description": "Debian 12 with nginx",
    }
    assert scene.cloud.broken == []
    assert (scene.record().state, scene.record().id) == ("active", brought.id)


def test_what_is_left_out_is_filled_in_or_not_sent(scene: Scene) -> None:
    scene.bring(Wishes(), version="1.2.3", virtual_size=(4 << 30) + 1)
    assert scene.sent()["name"] == "web-1-2-3"
    assert scene.sent()["requirements"] == {"vcpu": 1, "ram": 1, "disk": 5}
    assert scene.sent()["uefi"] is False
    assert "description" not in scene.sent()
    assert scene.cloud.broken == []


def test_a_build_brings_the_requirements_of_its_recipe(scene: Scene) -> None:
    needs = {"vcpus": 2, "memory": (1 << 30) + 1, "disk": 10 << 30}
    scene.bring(requirements=needs)
    assert scene.sent()["requirements"] == {"vcpu": 2, "ram": 2, "disk": 10}


def test_neither_url_nor_key_is_ever_shown_or_written(scene: Scene, tmp_path: Path) -> None:
    url = scene.url()
    echo = json.dumps({"message": f"cannot read {url.secret} with {KEY}", "slug": "x"}).encode()
    scene.cloud.fail("POST", Fault(400, echo))
    error = failing(scene, url=url)
    scene.console.error(error)
    scene.bring(url=url)
    written = "".join(path.read_text() for path in (tmp_path / "state").rglob("*") if path.is_file())
    for text in (scene.shown.getvalue(), written):
        assert SIGNATURE not in text
        assert KEY not in text
    assert f"cannot read {url.secret.partition('?')[0]}?*** with ***" in scene.shown.getvalue()
    assert all((path.stat().st_mode & 0o077) == 0 for path in (tmp_path / "state" / "publications").iterdir())


def test_a_long_description_of_the_recipe_is_cut(scene: Scene) -> None:
    scene.bring(description="word " * 60)
    assert scene.sent()["description"] == ("word " * 40)[:197].rstrip() + "..."
    assert scene.cloud.broken == []


# Waiting


def test_an_unknown_status_is_told_once_and_waited_for(scene: Scene) -> None:
    scene.cloud.statuses = ["pending", "converting", "converting", "importing"]
    assert scene.bring().status == "active"
    assert scene.shown.getvalue().count("'converting', which is not known") == 1


@pytest.mark.parametrize("status", list(mgc_images.ENDED))
def test_a_status_of_failure_ends_with_the_services_words_and_its_ids(scene: Scene, status: str) -> None:
    scene.cloud.end, scene.cloud.metadata = status, {"reason": "partition table is broken"}
    error = failing(scene)
    assert error.code == "publish.import-failed"
    assert status in error.message
    assert "request id req-" in error.message
    assert "trace id trace-" in error.message
    assert "partition table is broken" in error.cause
    assert "--delete-failed" in error.hint and "--resume" not in error.hint, "nobody has to wait any longer"
    assert scene.record().state == "failed"


def test_a_file_that_is_no_image_ends_as_invalid_image(scene: Scene) -> None:
    scene.cloud.statuses = ["importing"] * 200
    error = failing(scene, url=scene.url(content=b"<html>not what you think</html>"))
    assert "invalid_image" in error.message
    assert "not in format qcow2" in error.cause


def test_it_gives_up_in_time_and_a_later_run_waits_on(scene: Scene) -> None:
    scene.cloud.statuses = ["importing"] * 10_000
    error = failing(scene, replace(QUIET, wait=0.2))
    assert error.code == "publish.import-timeout"
    assert "its status is importing (request id req-" in error.message
    (image,) = scene.cloud.images
    assert f"factory publish --resume {image}" in error.hint
    assert scene.record().unfinished
    scene.cloud.images[image].statuses = ["importing", "active"]
    assert mgc.resume(image, Wishes(), scene.console).status == "active"
    assert scene.record().state == "active"
    assert scene.cloud.count("POST") == 1


def test_without_waiting_the_id_is_told_and_the_next_run_takes_it_up(scene: Scene) -> None:
    first = scene.bring(replace(QUIET, wait=0))
    assert (first.status, first.how) == ("importing", "imported")
    second = scene.bring()
    assert (second.id, second.status, second.how) == (first.id, "active", "adopted")
    assert scene.cloud.count("POST") == 1


def test_an_image_that_is_not_found_at_once_is_waited_for(scene: Scene) -> None:
    scene.cloud.hidden = 4
    assert scene.bring().status == "active"


def test_an_image_that_vanishes_while_it_is_waited_for_ends_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mgc_images, "SETTLING", 0.0)
    scene.cloud.statuses = ["importing"] * 10_000
    threading.Timer(0.2, lambda: scene.cloud.images.clear()).start()
    error = failing(scene)
    assert error.code == "publish.api-not-found"


@pytest.mark.parametrize(
    "body", [b"<html><title>404 Not Found</title>openresty</html>", b'{"slug": "not_found", "message": "no image"}']
)
def test_one_404_does_not_end_the_wait_for_an_image_that_was_seen(scene: Scene, body: bytes) -> None:
    scene.cloud.statuses = ["importing"] * 5
    begun = scene.bring(replace(QUIET, wait=0))
    path = next((settings.state_dir() / "publications").glob("*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"changed": "2026-01-01T00:00:00+00:00"}))  # not new
    seen = Fault(200, json.dumps({"id": begun.id, "status": "importing"}).encode())
    scene.cloud.fail("GET", seen, Fault(404, body), Fault(404, body))
    assert mgc.resume(begun.id, QUIET, scene.console).status == "active"


def test_a_page_in_place_of_the_first_answer_is_not_waited_out(scene: Scene) -> None:
    image = scene.cloud.add("other", "importing")
    scene.cloud.fail("GET", Fault(404, b"<html><title>404 Not Found</title></html>"))
    with pytest.raises(PublishError) as caught:
        mgc.resume(image.id, QUIET, scene.console)
    assert caught.value.code == "publish.api-not-found"


def test_an_outage_while_waiting_is_sat_out(scene: Scene) -> None:
    scene.cloud.fail("GET", *[Fault(503)] * 4, *[Fault()] * 4, Fault(502), Fault(429, headers={"Retry-After": "0"}))
    assert scene.bring().status == "active"
    assert "Still waiting" in scene.shown.getvalue()


def test_an_outage_without_end_ends_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mgc_images, "OUTAGE", 0.3)
    scene.cloud.fail("GET", *[Fault(503, b'{"message": "maintenance"}')] * 200)
    error = failing(scene)
    assert "maintenance" in error.message
    assert "--resume" in error.hint
    assert scene.record().unfinished


def test_an_interrupt_while_waiting_leaves_the_import_to_be_taken_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.cloud.statuses = ["importing"] * 10_000

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            scene.bring()
    assert "--resume" in scene.shown.getvalue()
    (image,) = scene.cloud.images.values()
    image.statuses = ["active"]
    assert scene.bring().how == "adopted"


# A POST is never sent twice blindly


def order(scene: Scene) -> list[str]:
    return [method for method, _, _ in scene.cloud.requests]


@pytest.mark.parametrize("fault", [Fault(after=True), Fault(500, after=True), Fault(504, b"<html>", after=True)])
def test_a_request_that_arrived_without_an_answer_is_found_by_its_name(scene: Scene, fault: Fault) -> None:
    scene.cloud.fail("POST", fault)
    assert scene.bring().status == "active"
    assert scene.cloud.count("POST") == 1
    assert len(scene.cloud.images) == 1


@pytest.mark.parametrize(
    "fault", [Fault(), Fault(500), Fault(503, headers={"Retry-After": "0"}), Fault(429, headers={"Retry-After": "0"})]
)
def test_a_request_that_did_not_arrive_is_sent_again_after_a_look(scene: Scene, fault: Fault) -> None:
    scene.cloud.fail("POST", fault, fault)
    assert scene.bring().status == "active"
    assert len(scene.cloud.images) == 1
    assert scene.cloud.count("POST") == 3
    between = order(scene)
    for number in (index for index, method in enumerate(between) if method == "POST"):
        assert between[number - 1] == "LIST"


def test_a_name_that_our_own_lost_request_has_taken_is_ours(scene: Scene) -> None:
    """The list shows active images only, so the look in between finds nothing, and the second POST is refused."""
    scene.cloud.active_only, scene.cloud.statuses = True, ["importing"]
    scene.cloud.fail("POST", Fault(502, after=True))
    threading.Timer(0.3, lambda: [image.statuses.pop(0) for image in scene.cloud.images.values()]).start()
    assert scene.bring().status == "active"
    assert len(scene.cloud.images) == 1


def test_an_answer_without_an_id_is_looked_up(scene: Scene) -> None:
    scene.cloud.fail("POST", Fault(202, b"{}", after=True))
    assert scene.bring().status == "active"
    assert len(scene.cloud.images) == 1


def test_a_request_that_never_arrives_is_given_up_and_may_be_taken_up_later(scene: Scene) -> None:
    scene.cloud.fail("POST", *[Fault(503, b'{"message": "try later"}')] * 50)
    error = failing(scene)
    assert "try later" in error.message
    assert scene.cloud.count("POST") == mgc_api.TRIES
    assert scene.record().unfinished
    scene.cloud.faults.clear()
    assert scene.bring().status == "active"


def test_retry_after_is_kept_in_seconds_and_as_a_date(scene: Scene) -> None:
    then = datetime.now(UTC) + timedelta(seconds=2)
    dated = {"Retry-After": f"{then:%a, %d %b %Y %H:%M:%S} GMT"}
    scene.cloud.fail("LIST", Fault(429, headers={"Retry-After": "1"}), Fault(503, headers=dated))
    began = time.monotonic()
    assert scene.prepare().before_upload() is None
    assert 1.0 <= time.monotonic() - began < 4.0  # a date of HTTP has whole seconds


# Machine types: MGC-R06


@pytest.mark.parametrize(
    ("wishes", "fits"),
    [
        (Wishes(name="x", vcpus=4, memory=8, disk=100), True),  # 8192 MB
        (Wishes(name="x", vcpus=2, memory=16, disk=40), True),  # 16 GB
        (Wishes(name="x", vcpus=4, memory=16, disk=40), False),
        (Wishes(name="x", vcpus=1, memory=1, disk=101), False),
        (Wishes(name="x", vcpus=64, memory=1, disk=10), False),  # there is one, but nobody gets it any more
    ],
)
@pytest.mark.parametrize("page", [1, 50])
def test_a_requirement_that_no_machine_type_has_is_a_warning(
    scene: Scene, wishes: Wishes, fits: bool, page: int
) -> None:
    scene.cloud.page = page
    assert scene.bring(wishes).status == "active"
    said = scene.shown.getvalue()
    assert ("MGC-R06" not in said) is fits, said
    assert fits or "The nearest is BV4-8-100: 4 virtual CPUs, 8 GB, 100 GB of disk" in said
    assert scene.cloud.broken == [] and scene.cloud.count("TYPES") >= 1


def test_machine_types_that_cannot_be_listed_stop_nothing(scene: Scene) -> None:
    scene.cloud.fail("TYPES", Fault(403, b'{"message": "not for you", "slug": "forbidden"}'))
    assert scene.bring().status == "active"
    assert "MGC-R06: whether a machine type is large enough was not found out" in scene.shown.getvalue()
    assert "not for you" in scene.shown.getvalue()
