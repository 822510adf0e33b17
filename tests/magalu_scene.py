"""A cloud, a store that it can read from, and an image in it: what the tests of the import share."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from factory.console import Console
from factory.errors import PublishError
from factory.publish import Artefact, PresignedUrl, StoredObject, mgc, mgc_api, mgc_images, publications, transport
from factory.publish.importer import Brought, Wishes
from factory.publish.mgc import MagaluImport
from factory.publish.mgc_images import Images
from factory.publish.mgc_place import place
from tests.https_server import Server
from tests.magalu_cloud import KEY, Cloud

CONTENT = b"QFI\xfb\0\0\0\3" + bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SIGNATURE = "5d1f0c2a9be84f6c8b7a"
QUIET = Wishes(name="web-1-0")


@dataclass
class Scene:
    """The cloud, the store, an image in it, and what people saw."""

    cloud: Cloud
    store: Server
    shown: io.StringIO
    console: Console
    image: Path

    def url(self, seconds: int = 86400, content: bytes = CONTENT, token: str = "") -> PresignedUrl:
        """The URL of *content*; *token* is that of temporary credentials."""
        now = datetime.now(UTC)
        query = f"X-Amz-Date={now:%Y%m%dT%H%M%SZ}&X-Amz-Expires={seconds}&X-Amz-Signature={SIGNATURE}"
        query += f"&X-Amz-Security-Token={token}" if token else ""
        path = f"/images/web/1.0/web.qcow2?{query}"
        self.store.files[path] = content
        return PresignedUrl(self.store.url(path), now + timedelta(seconds=seconds))

    def prepare(self, wishes: Wishes = QUIET, **changes: Any) -> MagaluImport:
        artefact = Artefact(self.image, SHA256, len(CONTENT), "web", "1.0", virtual_size=4 << 30)
        return mgc.prepare(replace(artefact, **changes), wishes, transport.load("mgc"), self.console)

    def bring(self, wishes: Wishes = QUIET, *, url: PresignedUrl | None = None, **changes: Any) -> Brought:
        stored = StoredObject(self.store.url(""), "br-se1", "images", "web/1.0/web.qcow2", len(CONTENT), SHA256)
        preparation = self.prepare(wishes, **changes)
        brought = preparation.before_upload() or preparation.bring(stored, url or self.url())
        publications.told(brought.id)  # as the whole of a publication does in the end
        return brought

    def sent(self) -> dict[str, Any]:
        (body,) = [body for method, _, body in self.cloud.requests if method == "POST"]
        assert isinstance(body, dict)
        return body

    def record(self, name: str = "web-1-0") -> publications.Publication:
        found = publications.find(self.cloud.url, name, SHA256)
        assert found is not None
        return found

    def images(self) -> Images:
        return Images(place(), KEY, self.console)


@contextlib.contextmanager
def open_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """A cloud and a store that run, the settings that lead to them, and no long pauses."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "MGC_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("PAUSE", 0.01), ("LONGEST_PAUSE", 0.03)):
        monkeypatch.setattr(mgc_api, name, value)
    for name, value in (("POLL", 0.01), ("LONGEST_POLL", 0.03)):
        monkeypatch.setattr(mgc_images, name, value)
    store = Server(tmp_path)
    cloud = Cloud(tmp_path, trust=store.ca_bundle)
    monkeypatch.setenv("FACTORY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("FACTORY_CA_BUNDLE", str(cloud.ca_bundle))
    monkeypatch.setenv("FACTORY_MGC_API_URL", cloud.url)
    monkeypatch.setenv("MGC_API_KEY", KEY)
    image = tmp_path / "web.qcow2"
    image.write_bytes(CONTENT)
    shown = io.StringIO()
    yield Scene(cloud, store, shown, Console.create("text", shown), image)
    for server in (cloud, store):
        server.shutdown()
        server.server_close()


def failing(scene: Scene, wishes: Wishes = QUIET, **more: Any) -> PublishError:
    with pytest.raises(PublishError) as caught:
        scene.bring(wishes, **more)
    assert caught.value.status == 6
    return caught.value
