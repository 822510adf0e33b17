"""An object counts as the image when its bytes are proved to be the image's, whatever its metadata say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from factory.console import Console
from factory.errors import PublishError
from factory.publish import Artefact, StoredObject
from factory.publish.keys import metadata_of
from tests.faulty_way import Fault, FaultyWay, faulty_way, xml
from tests.object_store import BUCKET, MIB, ObjectStore, artefact, lead_to, opened, running

pytestmark = [pytest.mark.real, pytest.mark.beside]
SIZE = 18 * MIB  # two parts


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_STATE", str(tmp_path / "state"))


def upload(made: Artefact, *, patience: float = 5) -> StoredObject:
    console = Console.quiet()
    with console.stage("upload") as stage, opened(console, patience=patience).begin(made, stage) as going:
        return going.commit()


def put(store: ObjectStore, made: Artefact, data: bytes) -> str:
    """Let *data* lie at the key of *made*, in one piece, with its metadata."""
    key = opened().key(made)
    store.client().put_object(Bucket=BUCKET, Key=key, Body=data, Metadata=metadata_of(made))
    return key


def damaged(made: Artefact) -> bytes:
    return made.image.read_bytes()[:-1] + b"?"


def reads(way: FaultyWay) -> int:
    """How often the image was asked for."""
    return sum(method == "GET" and path.partition("?")[0].endswith(".qcow2") for method, path in way.requests)


def right(store: ObjectStore, made: Artefact) -> bool:
    return hashlib.sha256(store.read(opened().key(made))).hexdigest() == made.sha256


def test_metadata_of_other_bytes_prove_nothing(store: ObjectStore, tmp_path: Path) -> None:
    made = artefact(tmp_path, SIZE)
    put(store, made, damaged(made))
    assert opened().find(made) is None
    assert upload(made).fresh
    assert right(store, made)


def test_an_etag_proves_the_bytes_without_reading_them_back(
    store: ObjectStore, way: FaultyWay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = artefact(tmp_path, SIZE)
    assert upload(made).verified == "etag"
    assert upload(made).verified == "noted"
    monkeypatch.setenv("FACTORY_STATE", str(tmp_path / "another host"))
    again = upload(made)
    assert (again.fresh, again.verified) == (False, "etag")
    assert reads(way) == 0


def test_an_etag_that_says_nothing_is_read_back_once(store: ObjectStore, way: FaultyWay, tmp_path: Path) -> None:
    made = artefact(tmp_path, SIZE)
    put(store, made, made.image.read_bytes())
    assert (upload(made).verified, reads(way)) == ("read back", 1)
    assert (upload(made).verified, reads(way)) == ("noted", 1)
    put(store, made, damaged(made))  # another object now, by its ETag
    assert upload(made).fresh
    assert right(store, made)


def test_a_run_that_ends_before_the_image_is_verified_proves_nothing(
    store: ObjectStore, way: FaultyWay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.publish.arrived.whole_etag", lambda digests: "something else")
    busy: Fault = (503, xml("SlowDown"), {})
    way.fault = lambda method, path: busy if method == "GET" and path.endswith(".qcow2") else None
    made = artefact(tmp_path, SIZE)
    with pytest.raises(PublishError) as caught:
        upload(made, patience=0.1)
    assert caught.value.code == "publish.store-failing"
    put(store, made, damaged(made))  # as the store had damaged it from the beginning
    way.fault = lambda method, path: None
    stored = upload(made)
    assert (stored.fresh, stored.verified) == (True, "read back")
    assert right(store, made)


def test_reading_back_goes_on_where_the_connection_broke(store: ObjectStore, way: FaultyWay, tmp_path: Path) -> None:
    made = artefact(tmp_path, SIZE)
    put(store, made, made.image.read_bytes())
    cuts = iter(["cut"] * 3)
    way.fault = lambda method, path: next(cuts, None) if method == "GET" and path.endswith(".qcow2") else None
    stored = upload(made, patience=1)  # shorter than the pauses of three tries in a row
    assert (stored.fresh, stored.verified, reads(way)) == (False, "read back", 4)


def test_reading_back_begins_again_where_a_store_knows_no_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "rclone", "rclone") as bad, faulty_way(bad) as way:
        lead_to(bad, monkeypatch)
        monkeypatch.setenv("FACTORY_S3_ENDPOINT", way.endpoint)
        made = artefact(tmp_path, SIZE)
        put(bad, made, made.image.read_bytes())
        cuts = iter(["cut"])
        way.fault = lambda method, path: next(cuts, None) if method == "GET" and path.endswith(".qcow2") else None
        stored = upload(made)
        assert (stored.fresh, stored.verified, reads(way)) == (False, "read back", 2)


def test_a_store_that_keeps_no_metadata_is_believed_for_the_bytes(
    store: ObjectStore, way: FaultyWay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = way.RequestHandlerClass._ask  # type: ignore[attr-defined]

    def bare(handler: object, body: bytes) -> Fault:
        status, answer, headers = ask(handler, body)
        kept = {name: text for name, text in headers.items() if not name.lower().startswith("x-amz-meta-")}
        return status, answer, kept

    monkeypatch.setattr(way.RequestHandlerClass, "_ask", bare)
    made = artefact(tmp_path, SIZE)
    assert upload(made).fresh
    again = upload(made)
    assert (again.fresh, again.verified) == (False, "noted")
    monkeypatch.setenv("FACTORY_STATE", str(tmp_path / "another host"))
    assert upload(made).verified == "etag"
    put(store, made, damaged(made))
    assert upload(made).fresh
    assert right(store, made)
