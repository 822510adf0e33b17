"""Uploads to a real store: SeaweedFS over HTTPS, and rclone's, which behaves badly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from factory.console import Console
from factory.errors import PublishError
from factory.publish import Artefact, StoredObject, artefacts
from factory.publish.s3 import Bucket
from factory.publish.upload import PartsUpload
from tests.object_store import BUCKET, MIB, ObjectStore, artefact, lead_to, opened, running

pytestmark = [pytest.mark.real, pytest.mark.beside]


def upload(made: Artefact) -> StoredObject:
    console = Console.quiet()
    with console.stage("upload") as stage, opened(console).begin(made, stage) as going:
        return going.commit()


def test_an_image_goes_up_in_parts_and_is_verified(store: ObjectStore, tmp_path: Path) -> None:
    made = artefact(tmp_path)
    stored = upload(made)
    assert (stored.fresh, stored.verified, stored.bucket) == (True, "etag", BUCKET)
    assert stored.key == f"nginx/1.0.0/{made.sha256[:16]}/nginx-1.0.0.qcow2"
    assert hashlib.sha256(store.read(stored.key)).hexdigest() == made.sha256
    head = store.client().head_object(Bucket=BUCKET, Key=stored.key)
    assert head["ETag"].endswith('-3"')
    metadata = {"recipe": "nginx", "version": "1.0.0", "sha256": made.sha256, "digest": "d" * 64}
    assert metadata.items() <= head["Metadata"].items()
    assert store.pending() == []


def test_the_same_bytes_are_not_sent_again(store: ObjectStore, tmp_path: Path) -> None:
    made = artefact(tmp_path)
    first = upload(made)
    before = store.client().head_object(Bucket=BUCKET, Key=first.key)["LastModified"]
    again = upload(made)
    assert (again.fresh, again.key) == (False, first.key)
    assert store.client().head_object(Bucket=BUCKET, Key=first.key)["LastModified"] == before
    other = upload(artefact(tmp_path, seed=2))
    assert other.fresh
    assert len(store.keys()) == 2


def test_nothing_is_visible_before_the_commit_and_an_abort_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    console = Console.quiet()
    with console.stage("upload") as stage:
        going = opened(console).begin(artefact(tmp_path), stage)
        assert isinstance(going, PartsUpload)
        going.wait()
        assert store.keys() == []
        assert store.parts() == 3
        going.abort()
        going.abort()
    assert (store.keys(), store.pending()) == ([], [])


def test_a_file_of_less_than_one_part_goes_up_too(store: ObjectStore, tmp_path: Path) -> None:
    stored = upload(artefact(tmp_path, 100))
    assert (stored.size, stored.verified) == (100, "etag")


def test_an_upload_goes_on_where_another_process_left_it(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = artefact(tmp_path, 64 * MIB)
    console = Console.quiet()
    with console.stage("upload") as stage:
        first = opened(console).begin(made, stage)
        assert isinstance(first, PartsUpload)
        first.wait()
        first.leave()
    (pending,) = store.pending()
    client = store.client()
    # One of the four parts is damaged: it must go up again, and only this one.
    client.upload_part(
        Bucket=BUCKET, Key=pending["Key"], UploadId=pending["UploadId"], PartNumber=2, Body=b"x" * (16 * MIB)
    )
    times = {
        part["PartNumber"]: part["ETag"]
        for part in client.list_parts(Bucket=BUCKET, Key=pending["Key"], UploadId=pending["UploadId"])["Parts"]
    }
    sent: list[int] = []
    real = Bucket.send

    def send(self: Bucket, key: str, upload_id: str, number: int, body: Callable[[], object], md5: bytes) -> str:
        sent.append(number)
        return real(self, key, upload_id, number, body, md5)

    monkeypatch.setattr(Bucket, "send", send)
    stored = upload(made)
    assert len(times) == 4
    assert sent == [2]
    assert hashlib.sha256(store.read(stored.key)).hexdigest() == made.sha256
    assert store.pending() == []


def test_parts_that_were_cut_in_another_way_are_dropped(store: ObjectStore, tmp_path: Path) -> None:
    made = artefact(tmp_path)
    key = opened().key(made)
    client = store.client()
    begun = client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    client.upload_part(Bucket=BUCKET, Key=key, UploadId=begun, PartNumber=1, Body=made.image.read_bytes()[: 5 * MIB])
    assert upload(made).verified == "etag"
    assert store.pending() == []


def test_an_old_upload_of_the_recipe_is_dropped_and_a_young_one_and_others_stay(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store.client()
    for key in ("nginx/0.9.0/aa/nginx-0.9.0.qcow2", "postgresql/1/aa/x.qcow2"):
        client.create_multipart_upload(Bucket=BUCKET, Key=key)
    upload(artefact(tmp_path))
    assert len(store.pending()) == 2
    monkeypatch.setattr("factory.publish.store.STALE", timedelta(seconds=-5))
    upload(artefact(tmp_path, seed=3))
    assert [each["Key"] for each in store.pending()] == ["postgresql/1/aa/x.qcow2"]


def test_an_image_that_changes_meanwhile_is_not_published(store: ObjectStore, tmp_path: Path) -> None:
    made = artefact(tmp_path)
    console = Console.quiet()
    with (
        pytest.raises(PublishError) as caught,
        console.stage("upload") as stage,
        opened(console).begin(made, stage) as going,
    ):
        with made.image.open("r+b") as file:
            file.seek(100)
            file.write(b"changed")
        going.commit()
    assert caught.value.code == "publish.image-changed"
    assert (store.keys(), store.pending()) == ([], [])


def test_an_image_that_changed_after_it_was_read_and_checked_is_not_published(
    store: ObjectStore, tmp_path: Path
) -> None:
    made = artefacts.read(replace(artefact(tmp_path), sha256=""))
    with made.image.open("r+b") as file:
        file.seek(100)
        file.write(b"changed")
    with pytest.raises(PublishError) as caught:
        upload(made)
    assert caught.value.code == "publish.image-changed"
    assert (store.keys(), store.pending()) == ([], [])


def test_a_store_whose_etag_says_nothing_is_read_back_and_damage_is_found(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.publish.arrived.whole_etag", lambda digests: "something else")
    made = artefact(tmp_path)
    assert upload(made).verified == "read back"
    wrong = replace(artefact(tmp_path, seed=5), sha256="0" * 64)
    with pytest.raises(PublishError) as caught:
        upload(wrong)
    assert caught.value.code == "publish.upload-mismatch"
    assert len(store.keys()) == 1


def test_the_storage_class_is_what_was_asked_for(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORY_S3_STORAGE_CLASS", "STANDARD_IA")
    stored = upload(artefact(tmp_path, 1000))
    assert store.client().head_object(Bucket=BUCKET, Key=stored.key)["StorageClass"] == "STANDARD_IA"


def test_documents_lie_beside_and_the_pointer_flips(store: ObjectStore, tmp_path: Path) -> None:
    made = artefact(tmp_path)
    stored = upload(made)
    target = opened()
    target.put_beside(made, {"manifest.json": b"{}", "SHA256SUMS": b"x"})
    target.point(made, stored)
    folder = stored.key.rpartition("/")[0]
    assert set(store.keys()) == {
        stored.key, f"{folder}/manifest.json", f"{folder}/SHA256SUMS", "nginx/latest.json"
    }  # fmt: skip
    pointer = json.loads(store.read("nginx/latest.json"))
    assert (pointer["key"], pointer["sha256"], pointer["schema"]) == (stored.key, made.sha256, 1)
    assert store.client().head_object(Bucket=BUCKET, Key="nginx/latest.json")["ContentType"] == "application/json"


def test_a_badly_behaved_store_takes_an_image_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "rclone", "rclone") as bad:
        lead_to(bad, monkeypatch)
        made = artefact(tmp_path)
        stored = upload(made)
        assert hashlib.sha256(bad.read(stored.key)).hexdigest() == made.sha256
        assert not upload(made).fresh
        monkeypatch.setenv("FACTORY_S3_CHECKSUMS", "when_supported")
        with pytest.raises(PublishError) as caught:
            opened(patience=1).put_beside(made, {"x.json": b"{}"})
        assert caught.value.code == "publish.checksum-mode"
        assert "FACTORY_S3_CHECKSUMS=when_required" in caught.value.command
