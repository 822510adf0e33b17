"""A fresh URL that a store does not serve at once: it is tried again while that may pass, and no longer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factory.errors import PublishError
from factory.publish import PresignedUrl
from factory.publish.probe import probe
from tests.https_server import Server

IMAGE = b"QFI\xfb" + bytes(96)
PATH = "/bucket/image?X-Amz-Signature=secret"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as made:
        made.files[PATH] = IMAGE
        yield made
        made.shutdown()


def try_out(server: Server, patience: float, said: list[str]) -> None:
    url = PresignedUrl(server.url(PATH), datetime.now(UTC) + timedelta(hours=1))
    probe(url, len(IMAGE), str(server.ca_bundle), patience=patience, told=said.append)


@pytest.mark.parametrize("status", ["503", "404"])
def test_what_may_pass_is_tried_again_and_told(server: Server, status: str) -> None:
    said: list[str] = []
    server.faults[PATH] = [status] * (2 if status == "404" else 6)  # a few tries are HTTP's own
    try_out(server, 60, said)
    assert said and status in said[0] and "secret" not in "".join(said)
    server.faults[PATH] = [status] * 6
    with pytest.raises(PublishError):
        try_out(server, 0, said)


@pytest.mark.parametrize(
    ("status", "patience", "hint"),
    [("404", 10.0, "Run the same command again"), ("403", 300.0, "right to read")],
)
def test_what_does_not_pass_is_given_up_in_time(server: Server, status: str, patience: float, hint: str) -> None:
    server.faults[PATH] = [status] * 1000
    begun = time.monotonic()
    with pytest.raises(PublishError) as caught:
        try_out(server, patience, [])
    assert time.monotonic() - begun < 20
    assert caught.value.code == "publish.url-refused" and hint in caught.value.hint
    assert (len(server.requests) > 1) == (status != "403")
