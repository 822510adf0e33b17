"""What can go wrong with a store and the way to it: each fault is either overcome or told for what it is."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factory.console import Console
from factory.errors import FactoryError
from factory.publish import Artefact, StoredObject
from tests.faulty_way import Fault, FaultyWay, xml
from tests.object_store import BUCKET, MIB, SECRET, ObjectStore, artefact, lead_to, opened, running

pytestmark = [pytest.mark.real, pytest.mark.beside]

UPLOAD = """
import sys, threading
from pathlib import Path
sys.path.insert(0, {top!r})
from factory.console import Console
from tests.object_store import artefact, opened
console = Console.create()
made = artefact(Path({folder!r}), {size})
with console.stage("upload") as stage, opened(console, patience=60).begin(made, stage) as going:
    going.commit()
print("done")
"""


def upload(made: Artefact, *, patience: float = 60) -> StoredObject:
    console = Console.quiet()
    with console.stage("upload") as stage, opened(console, patience=patience).begin(made, stage) as going:
        return going.commit()


def refused(made: Artefact, code: str, *, patience: float = 0.5) -> FactoryError:
    """The error that an upload ends with; no secret is in it."""
    with pytest.raises(FactoryError) as caught:
        upload(made, patience=patience)
    error = caught.value
    assert error.code == code, str(error)
    assert error.status == 6
    assert SECRET not in f"{error} {error.as_dict()} {error.output}"
    return error


def whole(store: ObjectStore, stored: StoredObject, made: Artefact) -> None:
    assert hashlib.sha256(store.read(stored.key)).hexdigest() == made.sha256
    assert store.pending() == []


def is_part(method: str, path: str) -> bool:
    return method == "PUT" and "partNumber=" in path


# Overcome


def test_a_connection_reset_in_the_middle_of_a_part(store: ObjectStore, way: FaultyWay, tmp_path: Path) -> None:
    resets = iter(["reset"] * 3)
    way.fault = lambda method, path: next(resets, None) if is_part(method, path) else None
    made = artefact(tmp_path)
    whole(store, upload(made), made)
    assert next(resets, None) is None
    assert sum(is_part(*each) for each in way.requests) == 6


def test_a_storm_of_503_passes(store: ObjectStore, way: FaultyWay, tmp_path: Path) -> None:
    counts: dict[str, int] = {}

    def fault(method: str, path: str) -> tuple[int, bytes, dict[str, str]] | None:
        counts[path] = counts.get(path, 0) + 1
        return (503, xml("SlowDown", "Please reduce your request rate"), {}) if counts[path] <= 2 else None

    way.fault = fault
    made = artefact(tmp_path)
    whole(store, upload(made), made)
    assert sum(count > 2 for count in counts.values()) >= 6


@pytest.mark.parametrize("status", [408, 425])
def test_a_gateway_that_gave_a_part_too_little_time_is_asked_again(
    store: ObjectStore, way: FaultyWay, tmp_path: Path, status: int
) -> None:
    left: Iterator[Fault] = iter([(status, b"<html><body><h1>408 Request Time-out</h1></body></html>", {})])
    way.fault = lambda method, path: next(left, None) if "partNumber=2" in path else None
    made = artefact(tmp_path)
    whole(store, upload(made), made)
    assert next(left, None) is None


def test_a_store_that_is_killed_and_comes_back(store: ObjectStore, tmp_path: Path) -> None:
    made = artefact(tmp_path, 64 * MIB)
    console = Console.quiet()
    with console.stage("upload") as stage, opened(console, patience=60).begin(made, stage) as going:
        time.sleep(0.3)
        store.kill()
        back = threading.Timer(2, store.start)
        back.start()
        stored = going.commit()
        back.join()
    whole(store, stored, made)


def test_a_lost_answer_to_the_beginning_begins_no_second_upload(
    store: ObjectStore, way: FaultyWay, tmp_path: Path
) -> None:
    losses = iter(["lose"])
    way.fault = lambda method, path: next(losses, None) if method == "POST" and path.endswith("?uploads") else None
    made = artefact(tmp_path)
    whole(store, upload(made), made)
    assert sum(path.endswith("?uploads") for method, path in way.requests if method == "POST") == 1


def test_a_lost_answer_to_the_completion_is_no_failure(store: ObjectStore, way: FaultyWay, tmp_path: Path) -> None:
    losses = iter(["lose"])
    way.fault = lambda method, path: next(losses, None) if method == "POST" and "uploadId=" in path else None
    made = artefact(tmp_path)
    whole(store, upload(made), made)


def test_an_upload_that_someone_ended_is_begun_again(store: ObjectStore, tmp_path: Path) -> None:
    made = artefact(tmp_path)
    console = Console.quiet()
    with console.stage("upload") as stage, opened(console).begin(made, stage) as going:
        (pending,) = store.pending()
        store.client().abort_multipart_upload(Bucket=BUCKET, Key=pending["Key"], UploadId=pending["UploadId"])
        stored = going.commit()
    whole(store, stored, made)


# Told


def test_a_storm_that_does_not_pass_leaves_the_parts_for_the_next_try(
    store: ObjectStore, way: FaultyWay, tmp_path: Path
) -> None:
    made = artefact(tmp_path)
    way.fault = lambda method, path: (
        (503, xml("SlowDown", "calm down"), {"x-amz-request-id": "REQ4711"})
        if is_part(method, path) and "partNumber=3" in path
        else None
    )
    error = refused(made, "publish.store-failing", patience=3)
    assert "503 SlowDown: calm down (request id REQ4711)" in str(error)
    assert store.parts() == 2
    way.fault = lambda method, path: None
    way.requests.clear()
    whole(store, upload(made), made)
    assert [path for method, path in way.requests if is_part(method, path)] != []
    assert sum(is_part(*each) for each in way.requests) == 1


def test_a_wrong_clock(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore import auth

    monkeypatch.setattr(
        auth,
        "get_current_datetime",
        lambda remove_tzinfo=True: datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1),
    )
    error = refused(artefact(tmp_path), "publish.clock")
    assert "RequestTimeTooSkewed" in str(error)


def test_temporary_credentials_that_have_ended(
    store: ObjectStore, way: FaultyWay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way.fault = lambda method, path: (400, xml("ExpiredToken", "The provided token has expired."), {})
    refused(artefact(tmp_path), "publish.credentials-expired")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", (datetime.now(UTC) - timedelta(hours=1)).isoformat())
    refused(artefact(tmp_path), "publish.credentials-expired")


def test_a_store_without_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("-volume.max=1", "-master.volumeSizeLimitMB=1")
    with running(tmp_path / "small", "seaweedfs", *options) as small:
        lead_to(small, monkeypatch)
        error = refused(artefact(tmp_path), "publish.store-failing", patience=3)
        assert "full" in error.hint
    assert "500 InternalError" in str(error)


def test_a_store_that_says_that_it_is_full(store: ObjectStore, way: FaultyWay, tmp_path: Path) -> None:
    way.fault = lambda method, path: (507, xml("XMinioStorageFull", "no space"), {}) if is_part(method, path) else None
    refused(artefact(tmp_path), "publish.store-full", patience=30)


def test_a_bucket_that_is_not_there(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_S3_BUCKET", "not-there")
    error = refused(artefact(tmp_path), "publish.bucket-missing", patience=30)
    assert "not-there" in error.message
    names = [each["Name"] for each in store.client().list_buckets()["Buckets"]]
    assert "not-there" not in names


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (301, xml("PermanentRedirect", "use eu-west-1", Endpoint="x"), {"x-amz-bucket-region": "eu-west-1"}),
        (400, xml("AuthorizationHeaderMalformed", "the region is wrong; expecting 'eu-west-1'"), {}),
    ],
)
def test_a_bucket_in_another_region(
    store: ObjectStore, way: FaultyWay, tmp_path: Path, status: int, body: bytes, headers: dict[str, str]
) -> None:
    way.fault = lambda method, path: (status, body, headers)
    error = refused(artefact(tmp_path), "publish.region", patience=30)
    assert "FACTORY_S3_REGION=eu-west-1" in error.hint


def test_a_key_that_the_store_does_not_know(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret-altogether")
    error = refused(artefact(tmp_path), "publish.credentials-refused", patience=30)
    assert "AWS_SECRET_ACCESS_KEY" in error.hint
    assert "another-secret" not in str(error)


def test_a_key_that_may_not(store: ObjectStore, way: FaultyWay, tmp_path: Path) -> None:
    way.fault = lambda method, path: (403, xml("AccessDenied", "Access Denied"), {}) if method == "POST" else None
    refused(artefact(tmp_path), "publish.denied", patience=30)


def test_a_store_that_is_not_trusted_or_not_there(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACTORY_S3_CA_BUNDLE")
    refused(artefact(tmp_path), "publish.tls")
    monkeypatch.setenv("FACTORY_S3_ENDPOINT", "https://localhost:9")
    refused(artefact(tmp_path), "publish.unreachable")


def test_credentials_that_are_missing_or_unusable(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in refused(artefact(tmp_path), "publish.credentials-unusable").cause
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    refused(artefact(tmp_path), "publish.credentials-unusable")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    refused(artefact(tmp_path), "publish.credentials-missing")


# A process that is interrupted


def process(folder: Path, size: int) -> subprocess.Popen[str]:
    top = str(Path(__file__).parents[1])
    code = UPLOAD.format(top=top, folder=str(folder), size=size)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ.copy()
    )


def wait_for_parts(store: ObjectStore, count: int) -> None:
    end = time.monotonic() + 60
    while store.parts() < count:
        assert time.monotonic() < end
        time.sleep(0.1)


def hold_back_after(way: FaultyWay, count: int) -> threading.Event:
    """Let *count* parts through; the others wait until the event is set."""
    gate, seen = threading.Event(), iter(range(1000))

    def fault(method: str, path: str) -> str | None:
        if is_part(method, path) and next(seen) >= count:
            gate.wait(60)
            return "reset"
        return None

    way.fault = fault
    return gate


def test_ctrl_c_in_the_middle_leaves_nothing(store: ObjectStore, way: FaultyWay, tmp_path: Path) -> None:
    gate = hold_back_after(way, 2)
    running_upload = process(tmp_path, 65 * MIB)
    wait_for_parts(store, 2)
    begun = time.monotonic()
    running_upload.send_signal(signal.SIGINT)
    said, _ = running_upload.communicate(timeout=60)
    gate.set()
    assert running_upload.returncode != 0
    assert "KeyboardInterrupt" in said
    assert time.monotonic() - begun < 45
    assert (store.keys(), store.pending()) == ([], [])
    assert SECRET not in said


def test_kill_9_leaves_the_parts_and_another_process_sends_only_the_rest(
    store: ObjectStore, way: FaultyWay, tmp_path: Path
) -> None:
    gate = hold_back_after(way, 3)
    killed = process(tmp_path, 65 * MIB)
    wait_for_parts(store, 3)
    killed.kill()
    killed.communicate()
    gate.set()
    assert len(store.pending()) == 1
    way.fault = lambda method, path: None
    way.requests.clear()
    second = process(tmp_path, 65 * MIB)
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert "going on with 3 of 5 parts" in said
    assert sum(is_part(*each) for each in way.requests) == 2
    made = artefact(tmp_path, 65 * MIB)
    (key,) = store.keys()
    assert hashlib.sha256(store.read(key)).hexdigest() == made.sha256
    assert store.pending() == []
