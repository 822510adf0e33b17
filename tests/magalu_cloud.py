"""Magalu Cloud's custom images on the loopback interface, stricter than its documents, with faults on demand.

Every request is held against the published schema; what the documents do not know is refused, and noted in ``broken``.
The URL of an image is fetched as the cloud would do it: later, anonymously, by a plain GET, and all its bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
import time
import urllib.request
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import jsonschema
import trustme

KEY = "2b7e1516-28ae-d2a6-abf7-158809cf4f3c"
REQUIREMENTS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["vcpu", "ram", "disk"],
    "properties": {name: {"type": "integer", "minimum": 1} for name in ("vcpu", "ram", "disk")},
}
CREATE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "url", "platform", "license", "architecture", "requirements"],
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,255}$"},
        "url": {"type": "string", "pattern": "^https://"},
        "platform": {"enum": ["linux"]},
        "license": {"enum": ["unlicensed", "licensed"]},
        "architecture": {"enum": ["x86/64"]},
        "uefi": {"type": "boolean"},
        "requirements": REQUIREMENTS,
        "version": {"type": "string", "minLength": 1},
        "description": {"type": "string", "minLength": 1, "maxLength": 200},
    },
}
PATCH = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "properties": {name: CREATE["properties"][name] for name in ("version", "description")}  # type: ignore[index]
    | {"requirements": REQUIREMENTS},
}
HEADERS = {
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "x-api-key",
}
LEAST_LIFE = timedelta(hours=12)
MACHINE_TYPES = [  # as the published schema has them: memory in GB for some callers, in MB for others
    {"name": "BV1-1-10", "vcpus": 1, "ram": 1024, "disk": 10, "status": "active"},
    {"name": "BV4-8-100", "vcpus": 4, "ram": 8192, "disk": 100, "status": "active"},
    {"name": "DP2-16-40", "vcpus": 2, "ram": 16, "disk": 40, "status": "active", "sku": "sku0102"},
    {"name": "BV64-512-9999", "vcpus": 64, "ram": 524288, "disk": 9999, "status": "deprecated"},
]


@dataclass
class Fault:
    """What happens to a request in place of the proper answer, or (*after*) once it was carried out."""

    status: int = 0  # 0: the connection just ends
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False
    seconds: float = 0.0  # of silence before it


@dataclass
class Image:
    """One image, and what the cloud found at its URL."""

    id: str
    request: dict[str, Any]
    statuses: list[str]  # what each look shows; the last one stays
    fetched: bytes = b""
    sha256: str = ""
    fault: str = ""
    metadata: dict[str, Any] = field(default_factory=lambda: {"uefi": "true"})
    read: bool = False  # whether the cloud is done with the URL; before that no image is active
    hidden: int = 0  # looks (by id and in lists) before it is found


class Cloud(ThreadingHTTPServer):
    """*faults* maps a method (``POST``, ``GET``, ``LIST``, ...) to the faults of its next requests, in order."""

    daemon_threads = True

    def __init__(self, folder: Path, *, trust: Path | None = None, plain: bool = False) -> None:
        self.images: dict[str, Image] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.requests: list[tuple[str, str, Any]] = []  # method, path with query, body
        self.broken: list[str] = []  # what no document allows
        self.statuses = ["pending", "creating", "importing"]  # of an image before it becomes active
        self.end = ""  # the status in place of active
        self.metadata: dict[str, Any] = {"uefi": "true"}
        self.hidden = 0
        self.active_only = False  # whether lists hold active images only, as one document says
        self.page = 50
        self.machine_types: list[dict[str, Any]] = [{"id": str(uuid.uuid4()), **each} for each in MACHINE_TYPES]
        self.trust = trust  # certificates of the store
        self.lock = threading.RLock()
        super().__init__(("127.0.0.1", 0), _Handler)
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        self.ca_bundle = folder / "cloud-ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_bundle))
        self.plain = plain  # http, as the factory allows on this very host
        if not plain:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http{'' if self.plain else 's'}://localhost:{self.server_port}/br-se1/compute"

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _, _ in self.requests)

    def fail(self, method: str, *faults: Fault) -> None:
        self.faults.setdefault(method, []).extend(faults)

    def add(self, name: str, status: str = "active", **fields: Any) -> Image:
        """An image that is there already."""
        request = {"name": name, "platform": "linux", "license": "unlicensed"} | fields
        image = Image(str(uuid.uuid4()), request, [status], read=True)
        self.images[image.id] = image
        return image

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are part of the tests."""

    def fetch(self, image: Image) -> None:
        """Read the file as the cloud does, without any credentials of ours."""
        try:
            context = ssl.create_default_context(cafile=str(self.trust) if self.trust else None)
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
            )
            with opener.open(image.request["url"], timeout=30) as answer:
                image.fetched = answer.read()
        except OSError as error:
            image.fault = str(error)
            image.statuses = ["importing", "importing_error"]
            image.read = True
            return
        image.sha256 = hashlib.sha256(image.fetched).hexdigest()
        if image.fetched[:4] != b"QFI\xfb":
            image.fault = "not a qcow2"
            image.statuses = ["importing", "invalid_image"]
            image.metadata = {"message": "the file is not in format qcow2"}
        image.read = True


class _Handler(BaseHTTPRequestHandler):
    server: Cloud
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PATCH(self) -> None:
        self._handle("PATCH")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def do_HEAD(self) -> None:
        self._handle("HEAD")

    def _handle(self, method: str) -> None:
        self.close_connection = True
        server = self.server
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path)
        kind = "LIST" if method == "GET" and path.path.endswith("/custom") else method
        kind = "TYPES" if method == "GET" and path.path.endswith("/machine-types") else kind
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw
        with server.lock:
            server.requests.append((kind, self.path, body))
            faults = server.faults.get(kind, [])
            fault = faults.pop(0) if faults else None
            if fault and not fault.after:
                status, answer = 0, b""
            else:
                status, answer = self._answer(kind, path.path, parse_qsl(path.query, keep_blank_values=True), body)
        if fault:
            time.sleep(fault.seconds)
            if fault.status:
                self._send(fault.status, fault.body, fault.headers)
            return
        self._send(status, answer, {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        given = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Request-Id": f"req-{len(self.server.requests)}",
            "X-Mgc-Trace-Id": f"trace-{len(self.server.requests)}",
            "Connection": "close",
        }
        for name, value in (given | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, message: str, slug: str = "bad_request") -> tuple[int, bytes]:
        if status in (400, 422):
            self.server.broken.append(f"{self.command} {self.path.partition('?')[0]}: {message}")
        if status == 422:
            detail = [{"loc": ["body"], "msg": message, "type": "value_error"}]
            return 422, json.dumps({"detail": detail}).encode()
        return status, json.dumps({"message": message, "slug": slug}).encode()

    def _answer(self, kind: str, path: str, query: list[tuple[str, str]], body: Any) -> tuple[int, bytes]:
        if odd := {name.lower() for name in self.headers} - HEADERS:
            return self._refuse(400, f"headers that no document knows: {sorted(odd)}")
        if self.headers.get_all("x-api-key") != [KEY]:
            return self._refuse(401, "Unauthorized", "unauthorized")
        if kind == "TYPES" and path == "/br-se1/compute/v1/machine-types":
            return self._types(query)
        match = re.fullmatch(r"/br-se1/compute/v1/images/custom(?:/([^/]+))?", path)
        if match is None:
            return self._refuse(400, "no such path")
        if (body is not None) != (kind in ("POST", "PATCH")):
            return self._refuse(400, f"{kind} with the wrong body")
        if body is not None and self.headers.get("Content-Type") != "application/json":
            return self._refuse(415, "the body is not application/json", "media_type")
        if query and kind != "LIST":
            return self._refuse(400, "a query that no document knows")
        if kind == "POST" and not match[1]:
            return self._create(body)
        if kind == "LIST":
            return self._list(query)
        if not match[1] or kind not in ("GET", "PATCH", "DELETE"):
            return self._refuse(405, "Method Not Allowed", "method_not_allowed")
        return self._one(kind, match[1], body)

    def _create(self, body: Any) -> tuple[int, bytes]:
        server = self.server
        error = jsonschema.Draft202012Validator(CREATE).iter_errors(body)
        if first := next(iter(error), None):
            return self._refuse(422, first.message)
        if any(
            image.request["name"] == body["name"] and image.statuses[0] != "deleted" for image in server.images.values()
        ):
            return self._refuse(409, "image name already exists", "conflict")
        signed = {name: values[0] for name, values in parse_qs(urlsplit(body["url"]).query).items()}
        if "X-Amz-Expires" in signed:
            began = datetime.strptime(signed["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            left = began + timedelta(seconds=int(signed["X-Amz-Expires"])) - datetime.now(UTC)
            if left <= LEAST_LIFE or int(signed["X-Amz-Expires"]) > 604000:
                return self._refuse(400, "the url must live longer than 12 hours")
        ends = [*server.statuses, server.end or "active"]
        image = Image(str(uuid.uuid4()), body, ends, metadata=dict(server.metadata), hidden=server.hidden)
        server.images[image.id] = image
        threading.Thread(target=server.fetch, args=(image,), daemon=True).start()
        return 202, json.dumps({"id": image.id}).encode()

    def _list(self, query: list[tuple[str, str]]) -> tuple[int, bytes]:
        asked = dict(query)
        if len(asked) != len(query) or set(asked) - {"_limit", "_offset", "_sort", "name"}:
            return self._refuse(422, f"query: {query}")
        if not all(asked.get(name, "0").isdigit() for name in ("_limit", "_offset")):
            return self._refuse(422, "value is not a valid integer")
        limit, offset = min(int(asked.get("_limit", 50)), self.server.page), int(asked.get("_offset", 0))
        found = []
        for image in self.server.images.values():
            if image.hidden:
                image.hidden -= 1
            elif asked.get("name", "") in image.request["name"]:  # a filter that also finds longer names
                found.append(_told(image))
        if self.server.active_only:
            found = [each for each in found if each["status"] == "active"]
        page = found[offset : offset + limit]
        meta = {"page": {"limit": limit, "offset": offset, "count": len(page), "total": len(found)}}
        return 200, json.dumps({"images": page, "meta": meta}).encode()

    def _types(self, query: list[tuple[str, str]]) -> tuple[int, bytes]:
        asked = dict(query)
        if len(asked) != len(query) or set(asked) - {"_limit", "_offset", "_sort", "name", "availability-zone"}:
            return self._refuse(422, f"query: {query}")
        if (
            not all(asked.get(name, "0").isdigit() for name in ("_limit", "_offset"))
            or int(asked.get("_limit", 0)) > 1000
        ):
            return self._refuse(422, "value is not a valid integer")
        limit, offset = min(int(asked.get("_limit", 200)), self.server.page), int(asked.get("_offset", 0))
        page = self.server.machine_types[offset : offset + limit]
        total = len(self.server.machine_types)
        meta = {"page": {"limit": limit, "offset": offset, "count": len(page), "total": total}}
        return 200, json.dumps({"machine_types": page, "meta": meta}).encode()

    def _one(self, kind: str, id_: str, body: Any) -> tuple[int, bytes]:
        image = self.server.images.get(id_)
        if image is not None and image.hidden:
            image.hidden -= 1
            image = None
        if image is None:
            return 404, json.dumps({"slug": "not_found", "message": "image not found", "details": {"id": id_}}).encode()
        if kind == "DELETE":
            image.statuses = ["deleted"]
            return 204, b""
        if kind == "PATCH":
            if first := next(iter(jsonschema.Draft202012Validator(PATCH).iter_errors(body)), None):
                return self._refuse(422, first.message)
            image.request |= body
            return 204, b""
        told = _told(image)
        if len(image.statuses) > (1 if image.read else 2):
            image.statuses.pop(0)
        return 200, json.dumps(told).encode()


def _told(image: Image) -> dict[str, Any]:
    kept = ("name", "platform", "license", "version", "description", "requirements")
    fields = {name: image.request.get(name) for name in kept}
    return {"id": image.id, "status": image.statuses[0], "metadata": image.metadata, **fields}
