"""What is refused before it is sent to Magalu Cloud, and how its errors are told."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from factory import http
from factory.errors import PublishError, UsageError
from factory.publish import PresignedUrl, mgc
from factory.publish.importer import Wishes
from factory.publish.mgc_request import Requirements
from tests.magalu_cloud import KEY, Cloud, Fault
from tests.magalu_scene import QUIET, SIGNATURE, Scene, failing, open_scene


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with open_scene(tmp_path, monkeypatch) as opened:
        yield opened


# What is refused before anything is sent


@pytest.mark.parametrize(
    ("wishes", "artefact", "said"),
    [
        (Wishes(name="a.b"), {}, "write 'a-b'"),
        (Wishes(name="a b"), {}, "letters, digits"),
        (Wishes(name="ação"), {}, "letters, digits"),
        (Wishes(name="a\n"), {}, "letters, digits"),
        (Wishes(name="a" * 256), {}, "1 to 255"),
        (Wishes(description="x" * 201), {}, "201 characters"),
        (Wishes(description="a\x1b[2Jb"), {}, "cannot be shown"),
        (Wishes(description=" "), {}, "nothing but blanks"),
        (Wishes(version="1\n2"), {}, "cannot be shown"),
        (Wishes(vcpus=-1), {}, "requirement vcpu is -1"),
        (Wishes(memory=-4), {}, "requirement ram is -4"),
        (Wishes(disk=2**31), {}, "requirement disk"),
        (Wishes(disk=3), {}, "write --disk 4"),
        (Wishes(), {"architecture": "aarch64"}, "only x86_64"),
        (Wishes(), {"format": "raw"}, "only qcow2"),
    ],
)
def test_what_the_cloud_would_refuse_is_refused_here(
    scene: Scene, wishes: Wishes, artefact: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match="Nothing was sent") as caught:
        scene.bring(wishes, **artefact)
    assert said in caught.value.message
    assert caught.value.code == "usage.publish"
    assert scene.cloud.requests == []


def test_every_fault_is_told_at_once(scene: Scene) -> None:
    with pytest.raises(UsageError) as caught:
        scene.prepare(Wishes(name="a.b", description="x" * 201, disk=1))
    assert all(said in caught.value.message for said in ("the name", "the description", "--disk 4"))


@pytest.mark.parametrize(("seconds", "taken"), [(43200, False), (43100, False), (43260, True), (700000, False)])
def test_the_url_must_live_more_than_twelve_hours_and_no_longer_than_is_signed(
    scene: Scene, seconds: int, taken: bool
) -> None:
    if taken:
        assert scene.bring(url=scene.url(seconds)).status == "active"
        return
    error = failing(scene, url=scene.url(seconds))
    assert error.code == "publish.url-life"
    assert scene.cloud.count("POST") == 0


def test_the_longest_name_and_description_are_taken(scene: Scene) -> None:
    scene.bring(Wishes(name="n" * 255, description="ç" * 200))
    assert scene.cloud.broken == []


# A dry run


def test_a_dry_run_tells_the_exact_request_and_the_same_command(scene: Scene) -> None:
    wishes = replace(QUIET, description='it\'s "quoted" $HOME', uefi=True)
    preparation = scene.prepare(wishes)
    scene.bring(wishes)
    told = preparation.describe("https://store/b/k?***")
    request, _, command = told.rpartition("\n\n")
    head, _, body = request.partition("\n\n")
    assert head.splitlines()[0] == f"POST {scene.cloud.url}/v1/images/custom"
    assert KEY not in told
    assert json.loads(body) == scene.sent() | {"url": "https://store/b/k?***"}
    words = shlex.split(command)
    assert words[:5] == ["mgc", "vm", "images", "custom", "create"]
    options = dict(zip(words[5:-1:2], words[6:-1:2], strict=True))
    assert words[-1] == "--uefi"
    assert options == {
        "--name": "web-1-0",
        "--url": "https://store/b/k?***",
        "--platform": "linux",
        "--license": "unlicensed",
        "--architecture": "x86/64",
        "--version": "1.0",
        "--description": wishes.description,
        "--requirements.vcpu": "1",
        "--requirements.ram": "1",
        "--requirements.disk": "4",
        "--server-url": scene.cloud.url,
    }


# The rest of the API


def test_images_are_listed_page_by_page(scene: Scene) -> None:
    scene.cloud.page = 7  # the service may give less than was asked for
    made = [scene.cloud.add(f"n{number}").id for number in range(20)]
    assert [image.id for image in scene.images().list()] == made
    assert scene.cloud.count("LIST") == 3
    assert scene.cloud.broken == []


def test_an_image_is_changed_and_deleted(scene: Scene) -> None:
    image = scene.cloud.add("x")
    scene.images().change(image.id, description="new", version="2", requirements=Requirements(2, 4, 10))
    found = scene.images().show(image.id)
    assert (found.description, found.version) == ("new", "2")
    assert found.requirements == {"vcpu": 2, "ram": 4, "disk": 10}
    scene.cloud.fail("DELETE", Fault(503))
    scene.images().delete(image.id)
    assert scene.images().show(image.id).status == "deleted"
    assert scene.images().find("x") is None
    assert scene.cloud.broken == []


@pytest.mark.parametrize("image", ["", "../custom", "a/b", "a?b", "a b", "-x", "é", "x" * 200])
def test_an_id_that_cannot_be_one_is_not_sent(scene: Scene, image: str) -> None:
    with pytest.raises(UsageError):
        mgc.resume(image, Wishes(), scene.console)
    assert scene.cloud.requests == []


def test_an_id_that_nobody_knows_ends_at_once(scene: Scene) -> None:
    with pytest.raises(PublishError, match="image not found") as caught:
        mgc.resume("0a892d8a-9ee9-4c10-9efc-3c8c88f7cd61", Wishes(), scene.console)
    assert caught.value.code == "publish.api-not-found"
    assert scene.cloud.count("GET") == 1


def test_an_import_of_another_api_is_not_looked_for_here(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scene.bring(replace(QUIET, wait=0))
    monkeypatch.setenv("FACTORY_MGC_API_URL", "https://api.magalu.cloud/br-ne1/compute")
    with pytest.raises(UsageError, match="was asked of") as caught:
        mgc.resume(first.id, Wishes(), scene.console)
    assert scene.cloud.url in caught.value.command


# Errors of the service and of the way to it


@pytest.mark.parametrize(
    ("status", "body", "said", "code"),
    [
        (400, b'{"message": "Bad size", "slug": "bad_request"}', "Bad size [bad_request]", "publish.api-invalid"),
        (
            400,
            b'{"slug": "quota", "message": "Quota exceeded", "details": {"limit": 5}}',
            "Quota exceeded [quota]; limit: 5",
            "publish.quota",
        ),
        (
            409,
            b'{"slug": "quota_exceeded", "message": "You reached the limit of custom images"}',
            "You reached the limit of custom images [quota_exceeded]",
            "publish.quota",
        ),
        (403, b'{"message": "image limit reached"}', "image limit reached", "publish.quota"),
        (409, b'{"message": "quota-tool already exists"}', "quota-tool already exists", "publish.name-taken"),
        (409, b'{"message": "conflict"}', "conflict", "publish.name-taken"),
        (422, b'{"message": "ram is above the limit"}', "ram is above the limit", "publish.api-invalid"),
        (
            422,
            b'{"detail": [{"loc": ["body", "requirements", "ram"], "msg": "value is not a valid integer", "type": "t"},'
            b'{"loc": ["body", "name"], "msg": "field required", "type": "t"}]}',
            "body.requirements.ram: value is not a valid integer; body.name: field required",
            "publish.api-invalid",
        ),
        (404, b'{"detail": "Not Found"}', "Not Found", "publish.api-not-found"),
        (403, b'{"error": "no scope virtual-machine.write"}', "no scope virtual-machine.write", "publish.api-key"),
        (401, b'{"error": {"message": "invalid key", "code": "E1"}}', "invalid key [E1]", "publish.api-key"),
        (
            403,
            b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>"
            b"<Message>Request has expired &amp; gone</Message></Error>",
            "AccessDenied: Request has expired & gone",
            "publish.api-key",
        ),
        (400, b"<html><head><title>400 Bad Request</title></head></html>", "400 Bad Request", "publish.api-invalid"),
        (418, b"short and \x1b[31mstout", "short and", "publish.api-refused"),
        (400, b"", "without a word", "publish.api-invalid"),
        (400, b"[" * 100_000, "[[[", "publish.api-invalid"),
        (400, b"\xff\xfe{", "", "publish.api-invalid"),
        (301, b"", "without a word", "publish.api-redirect"),
    ],
)
def test_each_shape_of_an_error_is_readable(scene: Scene, status: int, body: bytes, said: str, code: str) -> None:
    scene.cloud.fail("POST", Fault(status, body, {"Location": scene.store.url("/stolen")}))
    error = failing(scene)
    assert said in error.message
    assert str(status) in error.message
    assert "request id req-" in error.message
    assert "trace id trace-" in error.message
    assert error.code == code
    assert len(error.message) < 1000
    assert scene.store.requests == []
    assert scene.cloud.count("POST") == 1
    assert scene.record().state == "failed"
    scene.console.error(error)
    assert "\x1b" not in scene.shown.getvalue()


@pytest.mark.parametrize(
    "echo",
    [
        {"message": "{url} cannot be fetched"},
        {"slug": "bad_url", "message": "cannot fetch {url}", "details": {"hint": "the url {url} answered 403"}},
        {"message": f"{'p' * 480} {{url}} cannot be fetched"},
        {"message": f"{'p' * 300} {{quoted}} cannot be fetched"},
        {"message": "{query} is not signed well"},
        {"message": f"{'word ' * 115}{{key}}"},
    ],
)
def test_half_of_a_secret_is_not_shown_when_long_words_are_cut(scene: Scene, echo: dict[str, Any]) -> None:
    """Temporary credentials make a URL longer than what is kept of the service's words."""
    token = "IQoJb3JpZ2luX2VjE" + "aB3xY9" * 150
    url = scene.url(token=token)
    filled = {
        "url": url.secret,
        "quoted": quote(url.secret, safe=""),
        "query": url.secret.partition("?")[2],
        "key": KEY,
    }
    body = json.dumps(echo)
    for name, value in filled.items():
        body = body.replace(f"{{{name}}}", value)
    shown = [failing_with(scene, "POST", Fault(400, body.encode()), url)]
    scene.cloud.end, scene.cloud.metadata = "invalid_image", json.loads(body)
    shown.append(failing(scene, url=url))
    scene.cloud.images.clear()
    unreadable = Fault(200, json.dumps({"images": 3} | json.loads(body)).encode())
    shown.append(failing_with(scene, "LIST", unreadable, url))
    for error in shown:
        scene.console.error(error)
    said = scene.shown.getvalue()
    assert all(what in said for what in ("answered 400", "is invalid_image", "[publish.api-answer]"))
    assert token[:6] not in said
    assert SIGNATURE[:6] not in said
    assert KEY[:6] not in said


def failing_with(scene: Scene, method: str, fault: Fault, url: PresignedUrl) -> PublishError:
    scene.cloud.fail(method, fault)
    return failing(scene, url=url)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"<html>captive portal</html>", b'{"images": 3}', b'{"images": [1]}']
)
def test_an_answer_that_is_no_list_is_told_and_nothing_is_made(scene: Scene, body: bytes) -> None:
    scene.cloud.fail("LIST", Fault(200, body))
    error = failing(scene)
    assert error.code == "publish.api-answer"
    assert scene.cloud.count("POST") == 0


def test_an_api_that_cannot_be_reached_ends_soon(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.cloud.shutdown()
    scene.cloud.server_close()
    began = time.monotonic()
    error = failing(scene)
    assert error.code == "http.unreachable"
    assert time.monotonic() - began < 5


def test_an_api_whose_certificate_is_not_trusted_is_asked_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_CA_BUNDLE", str(scene.store.ca_bundle))
    error = failing(scene)
    assert error.code == "http.tls"
    assert "FACTORY_CA_BUNDLE" in error.hint


def test_a_wrong_key_is_told_and_not_shown(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGC_API_KEY", "wrong-key-of-somebody")
    error = failing(scene)
    assert error.code == "publish.api-key"
    assert "wrong-key" not in str(error)


def test_no_password_of_netrc_is_sent(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine localhost login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setattr(http, "loopback", lambda url: False)  # as for any other host
    assert scene.bring().status == "active"
    assert scene.cloud.broken == []


def test_a_proxy_never_sees_what_goes_to_this_host(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    assert scene.bring().status == "active"


def test_an_api_on_this_host_may_speak_plain_http(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = Cloud(tmp_path, trust=scene.store.ca_bundle, plain=True)
    monkeypatch.setenv("FACTORY_MGC_API_URL", cloud.url)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    try:
        assert scene.bring().status == "active"
    finally:
        cloud.shutdown()
        cloud.server_close()
    assert cloud.broken == []
    assert cloud.count("POST") == 1


def test_http_is_for_this_host_only(scene: Scene) -> None:
    with pytest.raises(PublishError) as caught:
        http.exchange("GET", "http://api.magalu.cloud/", headers={}, failure=PublishError)
    assert caught.value.code == "http.insecure"


def test_a_quota_is_no_name_that_is_taken(scene: Scene) -> None:
    scene.cloud.fail("POST", Fault(409, b'{"slug": "quota_exceeded", "message": "limit of custom images reached"}'))
    error = failing(scene, replace(QUIET, if_exists="skip"))
    assert (error.code, scene.cloud.count("POST")) == ("publish.quota", 1)
    assert scene.cloud.count("LIST") == 2, "nobody looks for an image of that name"
    assert scene.record().state == "failed"
