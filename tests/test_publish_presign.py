"""URLs for a cloud: who may use them, how long they live, and where they must never show."""

from __future__ import annotations

import json
import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from factory.console import Console
from factory.errors import HostError, PublishError
from factory.publish import Artefact, PresignedUrl, StoredObject, artefacts, signing
from factory.publish.probe import probe
from factory.publish.publications import Publication
from tests.command_line import inside, own_places
from tests.object_store import BUCKET, KEY_ID, SECRET, ObjectStore, artefact, lead_to, opened, running
from tests.publishing_site import a_build

pytestmark = [pytest.mark.real, pytest.mark.beside]
SIZE = 100_000


def uploaded(folder: Path) -> tuple[Artefact, StoredObject]:
    made = artefact(folder, SIZE)
    console = Console.quiet()
    with console.stage("upload") as stage, opened(console).begin(made, stage) as going:
        return made, going.commit()


def test_anybody_with_the_url_reads_the_image_and_nothing_else(store: ObjectStore, tmp_path: Path) -> None:
    made, stored = uploaded(tmp_path)
    url = opened().presign(stored, 3600)
    probe(url, SIZE, str(store.ca_bundle))
    got = requests.get(url.secret, verify=str(store.ca_bundle), timeout=30)
    assert got.content == made.image.read_bytes()
    assert requests.head(url.secret, verify=str(store.ca_bundle), timeout=30).status_code == 403
    other = url.secret.replace("nginx-1.0.0.qcow2?", "other.qcow2?")
    assert requests.get(other, verify=str(store.ca_bundle), timeout=30).status_code == 403
    assert abs((url.expires - datetime.now(UTC)).total_seconds() - 3600) < 30
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url.secret


def test_an_image_that_is_removed_before_its_url_is_tried_is_told(store: ObjectStore, tmp_path: Path) -> None:
    made, stored = uploaded(tmp_path)
    made.image.unlink()
    with pytest.raises(HostError) as caught:
        signing.signed(opened(), stored, made, 3600)
    assert caught.value.code == "host.missing" and str(made.image) in caught.value.message


def test_a_url_for_head_is_another_one(store: ObjectStore, tmp_path: Path) -> None:
    made, stored = uploaded(tmp_path)
    url = signing.signed(opened(), stored, made, 3600, method="HEAD")
    got = requests.head(url.secret, verify=str(store.ca_bundle), timeout=30)
    assert (got.status_code, got.headers["Content-Length"]) == (200, str(SIZE))
    assert requests.get(url.secret, verify=str(store.ca_bundle), timeout=30).status_code == 403


def test_the_life_is_the_least_of_what_was_asked_the_stores_limit_and_the_credentials(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stored = uploaded(tmp_path)
    limits: dict[str, Any] = {"least_life": 43201, "longest_life": 604000}
    assert opened(**limits).presign(stored, 86400).note == ""
    capped = opened(**limits).presign(stored, 700000)
    assert 603900 < capped.seconds_left <= 604000
    assert "what the store signs at most" in capped.note
    with pytest.raises(PublishError) as caught:
        opened(**limits).presign(stored, 43200)
    assert caught.value.code == "publish.url-life"
    assert "Ask for a longer life" in caught.value.hint
    opened(**limits).presign(stored, 43201)

    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    for hours, fits in ((20, True), (6, False)):
        end = datetime.now(UTC) + timedelta(hours=hours)
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat())
        if fits:
            url = opened(**limits).presign(stored, 86400)
            assert abs((url.expires - end).total_seconds()) < 5
            assert "temporary credentials" in url.note
        else:
            with pytest.raises(PublishError) as caught:
                opened(**limits).presign(stored, 86400)
            assert "the life of the temporary credentials" in caught.value.cause
            assert "lasting credentials" in caught.value.hint
    monkeypatch.delenv("AWS_CREDENTIAL_EXPIRATION")
    assert "do not say until when" in opened(**limits).presign(stored, 86400).note


def test_a_url_that_does_not_work_is_told_without_showing_it(store: ObjectStore, tmp_path: Path) -> None:
    _, stored = uploaded(tmp_path)
    url = opened().presign(stored, 3600)
    trusted = str(store.ca_bundle)
    tampered = PresignedUrl(url.secret[:-3] + "000", url.expires)
    longer = PresignedUrl(url.secret.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000"), url.expires)
    ended = opened().presign(stored, 1)
    time.sleep(2.5)
    elsewhere = PresignedUrl(url.secret.replace(store.endpoint, "https://localhost:9"), url.expires)
    cases: list[tuple[PresignedUrl, int, str | bool, bytes, str, str]] = [
        (tampered, SIZE, trusted, b"QFI\xfb", "publish.url-refused", "SignatureDoesNotMatch"),
        (longer, SIZE, trusted, b"QFI\xfb", "publish.url-refused", "SignatureDoesNotMatch"),
        (ended, SIZE, trusted, b"QFI\xfb", "publish.url-refused", "factory presign"),
        (elsewhere, SIZE, trusted, b"QFI\xfb", "publish.url-unreachable", ""),
        (url, SIZE, True, b"QFI\xfb", "publish.url-unreachable", "certificate"),
        (url, SIZE + 1, trusted, b"QFI\xfb", "publish.url-content", f"{SIZE} bytes"),
        (url, SIZE, trusted, b"KDMV", "publish.url-content", "first bytes"),
    ]
    for tried, size, bundle, magic, code, words in cases:
        with pytest.raises(PublishError) as caught:
            probe(tried, size, bundle, magic)
        said = f"{caught.value} {caught.value.as_dict()}"
        assert caught.value.code == code, said
        assert words in said
        assert "X-Amz-" not in said
        chain = caught.value.__cause__
        assert chain is None or "X-Amz-" not in str(chain)


def test_a_store_that_answers_a_range_with_200_is_looked_at_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "rclone", "rclone") as bad:
        lead_to(bad, monkeypatch)
        made, stored = uploaded(tmp_path)
        signing.signed(opened(), stored, made, 3600)
        with pytest.raises(PublishError):
            probe(opened().presign(stored, 3600), SIZE + 1, str(bad.ca_bundle))


def test_no_secret_ever_reaches_a_console(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    console = Console.create()
    with console.log_to(tmp_path / "build.log"):
        target = opened(console)
        url = target.presign(StoredObject(store.endpoint, "", BUCKET, "a/b.qcow2", 1, "0" * 64), 3600)
        for text in (
            url.secret,
            f"curl '{url.secret}'",
            SECRET,
            "a-session-token",
            repr(url),
            url.secret.partition("?")[2],
        ):
            console.say(text)
            console.output(text)
            console.error(PublishError(text, cause=text, output=text))
        signature = url.secret.partition("X-Amz-Signature=")[2]
        console.say(f"signature {signature}")
    said = (tmp_path / "build.log").read_text() + capsys.readouterr().err
    assert "curl" in said
    for secret in (SECRET, "a-session-token", signature, "X-Amz-Credential"):
        assert secret not in said
    assert KEY_ID not in repr(target)
    assert SECRET not in repr(target._bucket.settings)


# The verb


def test_presign_prints_a_url_or_writes_it_for_its_owner_only(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_places(tmp_path, monkeypatch)
    lead_to(store, monkeypatch)
    factory = inside(capsys, monkeypatch)
    image = tmp_path / "small.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"], check=True)
    done = factory("presign", image)
    assert (done.returncode, done.stdout) == (6, "")
    assert "[publish.not-uploaded]" in done.stderr
    with monkeypatch.context() as other:
        other.setenv("FACTORY_S3_BUCKET", "imagez")
        done = factory("presign", image)
        assert (done.returncode, done.stdout) == (6, "")
        assert "[publish.bucket-missing]" in done.stderr

    made = artefacts.read(artefacts.of(image))
    assert (made.virtual_size, made.format) == (1 << 20, "qcow2")
    console = Console.quiet()
    with console.stage("upload") as stage, opened(console).begin(made, stage) as going:
        going.commit()

    done = factory("presign", image, "--expires", "1h")
    assert done.returncode == 0, done.stderr
    url = done.stdout.strip()
    assert requests.get(url, verify=str(store.ca_bundle), timeout=30).content == image.read_bytes()
    assert "X-Amz" not in done.stderr

    file = tmp_path / "url"
    done = factory("presign", image, "--url-file", file)
    assert (done.returncode, done.stdout) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert requests.get(file.read_text().strip(), verify=str(store.ca_bundle), timeout=30).status_code == 200

    told = json.loads(factory("presign", image, "--json", "--head").stdout)
    assert told["method"] == "HEAD"
    assert requests.head(told["url"], verify=str(store.ca_bundle), timeout=30).status_code == 200

    done = factory("presign", image, "--target", "mgc", "--expires", "12h")
    assert done.returncode == 6
    assert "[publish.url-life]" in done.stderr
    assert factory("presign", "nothing-there").returncode == 2


def test_presign_of_what_is_no_image_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_places(tmp_path, monkeypatch)
    factory = inside(capsys, monkeypatch)
    text = tmp_path / "notes.txt"
    text.write_text("# not a disk\n" * 500)
    inside_another = tmp_path / "overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(tmp_path / "base.qcow2"), "1M"], check=True)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", str(inside_another)], check=True
    )
    for subject, said in (
        (text, f"{text} is no disk image"),
        (inside_another, "is an unsafe qcow2 image"),
        (tmp_path / "away.qcow2", "there is no image file"),
        (tmp_path, "there is no build"),
    ):
        done = factory("presign", subject)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr and " base" not in done.stderr.replace("base.qcow2", "")
    assert factory("presign", inside_another, "--url-file", tmp_path / "away" / "url").returncode == 2


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that a URL was asked for."""
    found: list[str] = []

    def fresh(artefact: Artefact, target: str, seconds: int, console: Console, *, head: bool) -> PresignedUrl:
        found.append(target)
        return PresignedUrl("https://store.example/image", datetime.now(UTC))

    monkeypatch.setattr(signing, "fresh", fresh)
    return found


@pytest.mark.parametrize(
    ("targets", "published", "target"),
    [
        (["mgc"], None, "mgc"),
        ([], None, "generic"),
        (["generic", "mgc"], "mgc", "mgc"),
        (["mgc"], "generic", "generic"),
        (["mgc", "generic"], None, ""),
    ],
)
def test_presign_looks_where_the_build_was_published(
    targets: list[str],
    published: str | None,
    target: str,
    asked: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own_places(tmp_path, monkeypatch)
    entry = {"target": published, "sha256": "ab" * 32, "moment": datetime.now(UTC)} if published else None
    folder = a_build(tmp_path / "out" / "nginx", targets=targets, publication=entry)
    done = inside(capsys, monkeypatch)("presign", folder)
    assert (done.returncode, asked) == ((0, [target]) if target else (2, [])), done.stderr
    assert ("[usage.target]" in done.stderr) is not bool(target)


def test_presign_looks_where_a_bare_image_was_published(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_places(tmp_path, monkeypatch)
    factory = inside(capsys, monkeypatch)
    image = tmp_path / "small.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"], check=True)
    assert factory("presign", image).returncode == 0
    sha256 = artefacts.read(artefacts.of(image)).sha256
    Publication("mgc", "https://api.example", "other", "0" * 64).write(state="active", id="x")
    assert factory("presign", image).returncode == 0
    Publication("mgc", "https://api.example", "small", sha256).write(state="active", id="y")
    assert factory("presign", image).returncode == 0
    assert factory("presign", image, "--target", "generic").returncode == 0
    assert asked == ["generic", "generic", "mgc", "generic"]
