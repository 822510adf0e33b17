"""Uploads of runs that were killed: noted, and aborted by ``factory gc``; those of living runs are left alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.console import Console
from factory.publish import pending
from tests import command_line
from tests.command_line import TOP, run
from tests.object_store import MIB, ObjectStore, artefact, lead_to, opened, running

pytestmark = [pytest.mark.real, pytest.mark.beside]

UPLOAD = """
import sys, time
from pathlib import Path
from factory.console import Console
from factory.publish import upload
from tests.object_store import artefact, opened, MIB
upload.Section.read = (lambda read: lambda self, size=-1: (time.sleep(0.05), read(self, 65536))[1])(upload.Section.read)
console = Console.quiet()
with console.stage("upload") as stage:
    started = opened(console).begin(artefact(Path(sys.argv[1])), stage)
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    command_line.own_places(tmp_path, monkeypatch)
    with running(tmp_path / "store") as found:
        lead_to(found, monkeypatch)
        yield found


def notes(folder: Path) -> list[Path]:
    return list((folder / "state" / "uploads").glob("*"))


def test_gc_aborts_what_a_killed_upload_left(store: ObjectStore, tmp_path: Path) -> None:
    words = [sys.executable, "-c", UPLOAD, str(tmp_path)]
    process = subprocess.Popen(words, cwd=TOP, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "begun\n"
    assert len(store.pending()) == 1 and len(notes(tmp_path)) == 1
    assert run("gc").stdout == "There was nothing to remove.\n", "it lives"
    assert len(store.pending()) == 1
    process.kill()
    process.communicate()
    time.sleep(0.5)
    assert "aborted the upload of" in run("gc").stdout
    assert store.pending() == [] and notes(tmp_path) == []
    assert run("gc").stdout == "There was nothing to remove.\n"


def test_a_store_that_does_not_answer_keeps_the_note(store: ObjectStore, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", UPLOAD, str(tmp_path)], cwd=TOP, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate()
    store.kill()
    (line,) = pending.reap()
    assert "cannot be aborted" in line
    store.start()
    assert len(notes(tmp_path)) == 1
    pending.reap()
    assert store.pending() == [] and notes(tmp_path) == []


def test_what_lies_in_another_bucket_than_the_settings_name_keeps_its_note(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", UPLOAD, str(tmp_path)], cwd=TOP, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate()
    store.client().create_bucket(Bucket="others")
    with monkeypatch.context() as patch:
        patch.setenv("FACTORY_S3_BUCKET", "others")
        (line,) = pending.reap()
    assert f"lies in {store.endpoint}/images" in line and f"name {store.endpoint}/others" in line
    assert len(store.pending()) == 1 and len(notes(tmp_path)) == 1
    assert "aborted" in pending.reap()[0]
    assert store.pending() == [] and notes(tmp_path) == []


def test_settings_that_cannot_be_right_keep_the_note(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = left_note()
    for name, value in (
        ("FACTORY_S3_ENDPOINT", "https://my_store:8333"),
        ("AWS_CREDENTIAL_EXPIRATION", "tomorrow"),
        ("FACTORY_S3_CA_BUNDLE", "/not/there.pem"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            (line,) = pending.reap()
        assert str(left) in line and "cannot be aborted" in line, name
        assert left.exists(), name
    assert pending.reap() == [] and notes(tmp_path) == [], "nothing is there any more"


def test_an_upload_that_a_living_run_goes_on_with_is_left_alone(store: ObjectStore, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", UPLOAD, str(tmp_path)], cwd=TOP, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate()
    (left,) = store.pending()
    console, made = Console.quiet(), artefact(tmp_path)
    store_of_it = opened(console)
    with console.stage("upload") as stage, store_of_it.begin(made, stage) as upload:
        assert [each["UploadId"] for each in store.pending()] == [left["UploadId"]], "it is taken up"
        assert len(notes(tmp_path)) == 2
        assert pending.reap(dry_run=True) == [] and pending.reap() == []
        assert [each["UploadId"] for each in store.pending()] == [left["UploadId"]]
        left_note("https://elsewhere.example/images", store_of_it.key(made))
        upload.commit()
    (other,) = notes(tmp_path)
    assert "elsewhere" in other.read_text(), "only the notes of this upload go with its end"


def left_note(place: str = "", key: str = "nginx/x.qcow2") -> Path:
    """A note of an upload whose run has ended."""
    path = pending.note("generic", key, place)
    place = path.name.split("-", 2)[2].split(".")[0]
    return path.rename(path.with_name(f"1-1-{place}.x.json"))


def test_an_upload_that_ends_leaves_no_note(store: ObjectStore, tmp_path: Path) -> None:
    console = Console.quiet()
    with console.stage("upload") as stage:
        with opened(console).begin(artefact(tmp_path, 6 * MIB), stage) as upload:
            assert len(notes(tmp_path)) == 1
            upload.commit()
        assert notes(tmp_path) == []
        opened(console).begin(artefact(tmp_path, 6 * MIB, seed=2), stage).abort()
    assert notes(tmp_path) == []


def test_a_note_that_cannot_be_read_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command_line.own_places(tmp_path, monkeypatch)
    path = pending.note("mgc", "x")
    assert pending.reap() == [] and path.exists(), "we live"
    path.unlink()
    left_note().write_text("{")
    assert pending.reap() == [] and notes(tmp_path) == []
