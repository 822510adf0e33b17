"""Stores and clouds that are dead or do not answer: people are told at once that it waits, and it ends in time."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory import http
from factory.console import Console
from factory.errors import PublishError
from factory.publish import PresignedUrl, mgc, probe, s3, store
from tests.command_line import Done, inside, own_places
from tests.magalu_cloud import Fault
from tests.magalu_scene import QUIET, Scene, open_scene
from tests.object_store import opened

FACTORY = Callable[..., Done]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "small.qcow2", "1M"], check=True)
    return tmp_path / "small.qcow2"


@pytest.fixture
def factory(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> FACTORY:
    own_places(tmp_path, monkeypatch)
    for name in ("AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_SESSION_TOKEN", "http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (
        ("FACTORY_S3_BUCKET", "images"),
        ("AWS_ACCESS_KEY_ID", "an-id"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret-of-somebody"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    return inside(capsys, monkeypatch)


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> str:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        host = f"localhost:{closed.getsockname()[1]}"
    monkeypatch.setenv("FACTORY_S3_ENDPOINT", f"https://{host}")
    return host


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where somebody takes the call and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host = f"localhost:{listening.getsockname()[1]}"
        monkeypatch.setenv("FACTORY_S3_ENDPOINT", f"https://{host}")
        yield host


def impatient(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(store, "PROMPT", seconds)
    monkeypatch.setattr("factory.publish.signing.PROMPT", seconds)
    monkeypatch.setattr(s3, "LEAST_SILENCE", seconds / 3)


def test_nobody_waits_longer_than_half_a_minute_for_a_store() -> None:
    assert store.PROMPT <= 30
    assert s3.LEAST_SILENCE < store.PROMPT / 3


@pytest.mark.parametrize("verb", [("presign",), ("publish", "--target", "generic")])
def test_a_dead_store_is_told_at_once_and_given_up_in_time(
    factory: FACTORY, dead: str, image: Path, verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, 2)
    # Of a publication the store is asked before the image is read and checked.
    monkeypatch.setattr("factory.publish.gate.passed", lambda *_: pytest.fail("the image was read first"))
    began = time.monotonic()
    done = factory(verb[0], image, *verb[1:])
    assert done.returncode == 6 and time.monotonic() - began < 5
    lines = done.stderr.splitlines()
    waits = [line for line in lines if f"Waiting for {dead}" in line]
    assert len(waits) >= 2 and ": Failed to establish a new connection: [Errno 111] Connection refused" in waits[0]
    assert "Connection(" not in done.stderr and re.search(r"[12] s more at most", waits[0])
    assert re.match(rf"error: the object storage {dead} cannot be reached(, tried for [12] s)?\. Failed", lines[-1])
    assert "FACTORY_S3_ENDPOINT" in lines[-1] and lines[-1].endswith("[publish.unreachable]")


def test_a_life_that_is_too_short_is_told_before_anybody_is_asked(factory: FACTORY, silent: str, image: Path) -> None:
    done = factory("presign", image, "--target", "mgc", "--expires", "2h")
    assert done.returncode == 6
    assert "the URL would live 2h," in done.stderr and "store" not in done.stderr


def test_a_store_that_does_not_answer_is_told_and_given_up_in_time(
    factory: FACTORY, silent: str, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, 3)
    began = time.monotonic()
    done = factory("presign", image)
    assert done.returncode == 6 and time.monotonic() - began < 8
    assert f"store: {silent}" in done.stderr, "before the first answer is missed"
    assert f"Waiting for {silent}" in done.stderr and "No answer within 1 s" in done.stderr
    assert f"error: the object storage {silent} does not answer" in done.stderr


def test_an_upload_tells_each_time_that_it_tries_again(
    factory: FACTORY, dead: str, image: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from factory.publish import artefacts

    console = Console.create("text")
    with console.log_to(tmp_path / "log"), pytest.raises(PublishError), console.stage("upload") as stage:
        opened(console, patience=2).begin(artefacts.read(artefacts.of(image)), stage)
    assert (tmp_path / "log").read_text().count(f"upload: Waiting for {dead}") >= 2


def test_a_url_that_nobody_answers_is_given_up_in_time(
    factory: FACTORY, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime

    assert probe.SILENCE * 5 <= 30  # the tries of factory.http
    monkeypatch.setattr(probe, "SILENCE", 0.2)
    began = time.monotonic()
    with pytest.raises(PublishError) as caught:
        probe.probe(PresignedUrl(f"https://{silent}/images/a?X-Amz-Signature=0", datetime.now(UTC)), 1, True)
    assert caught.value.code == "publish.url-unreachable" and silent.partition(":")[0] in caught.value.message
    assert time.monotonic() - began < 15


# The cloud


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with open_scene(tmp_path, monkeypatch) as opened_scene:
        yield opened_scene


def test_a_url_is_fetched_without_a_password_of_this_host(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the cloud will fetch it; and a store refuses a request that is signed and has a password too."""
    (tmp_path / "netrc").write_text("machine localhost login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sent: list[str | None] = []
    handler: Any = scene.store.RequestHandlerClass
    answer = handler.do_GET

    def listen(this: Any) -> None:
        sent.append(this.headers["Authorization"])
        answer(this)

    monkeypatch.setattr(handler, "do_GET", listen)
    probe.probe(scene.url(), scene.image.stat().st_size, str(scene.store.ca_bundle))
    assert sent == [None]


def test_an_api_that_is_away_is_told_with_the_setting_that_leads_there(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"https://localhost:{closed.getsockname()[1]}/br-se1/compute"
    monkeypatch.setenv("FACTORY_MGC_API_URL", url)
    with pytest.raises(PublishError) as caught:
        scene.prepare().before_upload()
    assert caught.value.code == "http.unreachable"
    assert f"FACTORY_MGC_API_URL, which is {url} (from environment)" in caught.value.hint
    assert "Magalu Cloud's API" in caught.value.message and "Connection refused" in caught.value.cause
    assert scene.shown.getvalue().count("trying again in") == 5


def test_an_api_that_no_setting_names_is_told_with_its_address(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACTORY_MGC_API_URL")
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody: the network is not asked
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(PublishError) as caught:
        scene.prepare().before_upload()
    assert "FACTORY_MGC_API_URL is not set, so the API is https://api.magalu.cloud/br-se1/compute" in caught.value.hint


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, b'{"message": "slow down"}', {"Retry-After": "4"}),
        Fault(503, b'{"message": "slow down"}', {"Retry-After": "300"}),
        Fault(seconds=4),
    ],
)
@pytest.mark.parametrize("how", ["publish", "resume"])
def test_the_time_to_wait_is_kept_while_the_api_is_busy_or_silent(scene: Scene, fault: Fault, how: str) -> None:
    scene.cloud.statuses = ["importing"] * 10_000
    scene.cloud.fail("GET", *[fault] * 50)
    wishes = replace(QUIET, wait=1)
    began = time.monotonic()
    with pytest.raises(PublishError) as caught:
        if how == "resume":
            mgc.resume(scene.cloud.add("other", "importing").id, wishes, scene.console)
        else:
            scene.bring(wishes)
    assert time.monotonic() - began < 3.5
    assert caught.value.code == "publish.import-timeout"
    assert "is not active after 1s" in caught.value.message


def test_a_pause_that_the_api_asks_for_is_kept_while_waiting(scene: Scene) -> None:
    scene.cloud.fail("GET", Fault(429, headers={"Retry-After": "1"}))
    began = time.monotonic()
    assert scene.bring().status == "active"
    assert time.monotonic() - began >= 1
    assert scene.cloud.count("GET") == 5, "one that was busy, three statuses and the end"


def test_nobody_waits_for_a_list_of_machine_types_that_only_warns(scene: Scene) -> None:
    scene.cloud.fail("TYPES", Fault(429, b'{"message": "slow down"}', {"Retry-After": "9"}))
    began = time.monotonic()
    assert scene.prepare().before_upload() is None
    assert time.monotonic() - began < 4
    assert scene.cloud.count("TYPES") == 1
    assert "MGC-R06: whether a machine type is large enough was not found out" in scene.shown.getvalue()


def test_machine_types_are_asked_for_again_after_a_short_pause(scene: Scene) -> None:
    scene.cloud.fail("TYPES", Fault(503, headers={"Retry-After": "1"}))
    assert scene.prepare().before_upload() is None
    assert scene.cloud.count("TYPES") == 2
    assert "MGC-R06" not in scene.shown.getvalue()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("head", [b"Content-Length: 500\r\n\r\n", b"Connection: close\r\n\r\n"])
def test_an_answer_that_trickles_is_given_up(head: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            with contextlib.suppress(OSError), server.accept()[0] as client:
                client.recv(9999)
                client.sendall(HEAD + head)
                for _ in range(50):
                    client.sendall(b" ")
                    time.sleep(0.2)

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises(http.Unanswered) as caught:
            http.exchange("GET", f"http://127.0.0.1:{server.getsockname()[1]}/", headers={}, seconds=0.5)
        assert time.monotonic() - began < 5
        assert caught.value.error.code == "http.timeout"
        thread.join(15)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"Content-Length: 9\r\n\r\n[1, 2, 3]", b"[1, 2, 3]"),
        (b"Transfer-Encoding: chunked\r\n\r\n4\r\n[1, \r\n5\r\n2, 3]\r\n0\r\n\r\n", b"[1, 2, 3]"),
        (b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"[1, 2, 3]"), b"[1, 2, 3]"),
        (b"Content-Length: 0\r\n\r\n", b""),
        (b"Content-Length: 9\r\n\r\n[1, 2", None),
        (b"Transfer-Encoding: chunked\r\n\r\n4\r\n[1, \r\n", None),
    ],
)
def test_an_answer_is_whole_or_none(answer: bytes, body: bytes | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as client:
                client.recv(9999)
                client.sendall(HEAD + answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        if body is None:
            with pytest.raises(http.Unanswered):
                http.exchange("GET", url, headers={}, seconds=5)
        else:
            assert http.exchange("GET", url, headers={}, seconds=5).body == body
        thread.join(5)
