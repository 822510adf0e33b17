"""Stores that are not like Amazon's: what they lack is done without, and what is no store at all is told."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factory.console import Console
from factory.errors import PublishError
from factory.publish import Artefact, Pending, StoredObject
from factory.publish.refusals import Refusal
from factory.publish.s3 import Bucket
from tests.faulty_way import Fault, FaultyWay, xml
from tests.object_store import ObjectStore, artefact, opened
from tests.test_publish_faults import is_part

pytestmark = [pytest.mark.real, pytest.mark.beside]
PAGE = b"<html><head><title>Welcome</title></head><body><p>Log in first</p></body></html>"


def publish(made: Artefact, shown: io.StringIO | None = None) -> StoredObject:
    console = Console.create("text", shown) if shown else Console.quiet()
    opener = opened(console, patience=5)
    opener.reach()
    with console.stage("upload") as stage, opener.begin(made, stage) as going:
        return going.commit()


def failed(made: Artefact, code: str) -> PublishError:
    with pytest.raises(PublishError) as caught:
        publish(made)
    assert caught.value.code == code, str(caught.value)
    assert caught.value.status == 6
    return caught.value


def whole(store: ObjectStore, stored: StoredObject, made: Artefact) -> None:
    assert hashlib.sha256(store.read(stored.key)).hexdigest() == made.sha256
    assert store.pending() == []


# What was written is not seen at once


def unseen(store: ObjectStore, times: int) -> Callable[[str, str], Fault | None]:
    """A store that says *times* times of an object that is there that nothing is."""
    left = iter(range(times))
    return lambda method, path: (
        (404, b"", {}) if method == "HEAD" and store.keys() and next(left, None) is not None else None
    )


def test_an_image_that_is_not_seen_at_once_is_waited_for(store: ObjectStore, way: FaultyWay, tmp_path: Path) -> None:
    way.fault = unseen(store, 2)
    made = artefact(tmp_path)
    whole(store, publish(made), made)
    assert sum(is_part(*each) for each in way.requests) == 3


def test_an_image_that_is_not_seen_for_long_is_not_removed(
    store: ObjectStore, way: FaultyWay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.publish.arrived.SETTLING", 0.2)
    way.fault = unseen(store, 1000)
    made = artefact(tmp_path)
    error = failed(made, "publish.upload-unseen")
    assert "not sent again" in error.hint
    assert len(store.keys()) == 1
    way.fault = lambda method, path: None
    way.requests.clear()
    whole(store, publish(made), made)
    assert not any(is_part(*each) for each in way.requests)


def test_a_lost_completion_that_is_not_seen_at_once_is_not_sent_twice(
    store: ObjectStore, way: FaultyWay, tmp_path: Path
) -> None:
    losses, hidden = iter(["lose"]), unseen(store, 2)
    way.fault = lambda method, path: (
        next(losses, None) if method == "POST" and "uploadId=" in path else hidden(method, path)
    )
    made = artefact(tmp_path)
    whole(store, publish(made), made)
    assert sum(is_part(*each) for each in way.requests) == 3


def test_an_interrupt_while_the_upload_begins_leaves_nothing(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is on its way, and arrives after the interrupt."""
    begin = Bucket.create

    def interrupted(bucket: Bucket, key: str, metadata: Mapping[str, str]) -> str:
        threading.Timer(0.5, begin, (bucket, key, metadata)).start()
        raise KeyboardInterrupt

    monkeypatch.setattr(Bucket, "create", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(artefact(tmp_path))
    time.sleep(1)
    assert (store.keys(), store.pending()) == ([], [])


# What some stores do not have


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (405, "MethodNotAllowed")])
def test_a_store_that_lists_no_uploads_takes_an_image_too(
    store: ObjectStore, way: FaultyWay, tmp_path: Path, status: int, code: str
) -> None:
    listing: Fault = (status, xml(code, "not here"), {})
    way.fault = lambda method, path: listing if method == "GET" and "uploads" in path else None
    made, shown = artefact(tmp_path), io.StringIO()
    whole(store, publish(made, shown), made)
    assert shown.getvalue().count("does not list unfinished uploads") == 1
    refusal: Fault = (507, xml("QuotaExceeded", "full"), {})
    way.fault = lambda method, path: (
        listing if method == "GET" and "uploads" in path else refusal if is_part(method, path) else None
    )
    other = artefact(tmp_path, seed=2)
    console = Console.quiet()
    with pytest.raises(KeyboardInterrupt), console.stage("upload") as stage, opened(console).begin(other, stage):
        raise KeyboardInterrupt
    assert store.pending() == []


def test_a_store_that_lists_no_uploads_and_has_no_such_bucket(
    store: ObjectStore, way: FaultyWay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_S3_BUCKET", "not-there")
    way.fault = lambda method, path: (501, xml("NotImplemented"), {}) if method == "GET" and "uploads" in path else None
    failed(artefact(tmp_path), "publish.bucket-missing")


def test_an_etag_that_a_proxy_marked_as_weak_is_the_parts_own(
    store: ObjectStore, way: FaultyWay, tmp_path: Path
) -> None:
    weaken = way.RequestHandlerClass._ask  # type: ignore[attr-defined]

    def ask(handler: object, body: bytes) -> Fault:
        status, answer, headers = weaken(handler, body)
        return status, answer, {name: f"W/{text}" if name.lower() == "etag" else text for name, text in headers.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(way.RequestHandlerClass, "_ask", ask)
        made = artefact(tmp_path)
        stored = publish(made)
    assert stored.verified == "etag"
    whole(store, stored, made)


# What is no store, or another one


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD"])
def test_a_page_in_place_of_an_answer_is_told(store: ObjectStore, way: FaultyWay, tmp_path: Path, method: str) -> None:
    headers = {"Content-Type": "text/html"}
    way.fault = lambda asked, path: (200, PAGE, headers) if asked == method else None
    if method == "HEAD":  # says 0 bytes, and that is not our image
        made = artefact(tmp_path)
        way.fault = lambda asked, path: (200, PAGE, headers) if asked == "HEAD" and not store.keys() else None
        whole(store, publish(made), made)
        return
    error = failed(artefact(tmp_path), "publish.store-answer")
    assert "FACTORY_S3_ENDPOINT" in error.hint
    assert store.keys() == []


@pytest.mark.parametrize("answer", [(307, xml("TemporaryRedirect", "elsewhere")), (301, b"")])
def test_a_redirect_that_names_no_region_is_told(
    store: ObjectStore, way: FaultyWay, tmp_path: Path, answer: tuple[int, bytes]
) -> None:
    way.fault = lambda method, path: (*answer, {"Location": "https://elsewhere.example/"})
    assert "another region" in failed(artefact(tmp_path), "publish.region").message


def test_a_clock_without_a_zone_is_read_as_utc() -> None:
    then = datetime.now(UTC) - timedelta(hours=3)
    text = f"{then:%a, %d %b %Y %H:%M:%S} -0000"
    assert "3:00:0" in Refusal("RequestTimeTooSkewed", date=text).skew()
    assert abs(Pending.age_of(then - timedelta(days=1), text) - timedelta(days=1)) < timedelta(seconds=2)
