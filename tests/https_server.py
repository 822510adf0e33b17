"""A real HTTPS server on the loopback interface, with a certificate authority of its own and faults on demand."""

from __future__ import annotations

import email.utils
import hashlib
import re
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme


class Server(ThreadingHTTPServer):
    """Serves *files* by path. A path in *faults* has a list of faults, of which each request uses up one:

    ``cut`` (half of the body, then the end), ``drop`` (no answer), a status number, or ``->URL`` (a redirect).
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.ranges = True  # whether Range is honoured
        self.etags = True  # whether files have an ETag
        self.lengths = True  # whether the length is told
        self.requests: list[tuple[str, str]] = []  # path and Range header of each request
        self.on_request: Callable[[str], None] = lambda path: None
        super().__init__(("127.0.0.1", 0), _Handler)
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        self.ca_bundle = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_bundle))
        self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, path: str) -> str:
        return f"https://localhost:{self.server_port}{path}"

    def asked(self, path: str) -> list[str]:
        """The Range headers of the requests for *path*."""
        return [range_ for asked, range_ in self.requests if asked == path]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away, or do not trust us, are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        server = self.server
        range_ = self.headers.get("Range", "")
        server.requests.append((self.path, range_))
        server.on_request(self.path)
        self.close_connection = True
        faults = server.faults.get(self.path, [])
        fault = faults.pop(0) if faults else ""
        if fault == "drop":
            return
        if fault.startswith("->"):
            self._answer(302, {"Location": fault[2:], "Content-Length": "0"})
        elif fault.isdigit():
            self._answer(int(fault), {"Content-Length": "0", "Retry-After": "0"})
        elif self.path not in server.files:
            self._answer(404, {"Content-Length": "0"})
        else:
            self._file(server.files[self.path], range_, cut=fault == "cut")

    def _file(self, body: bytes, range_: str, *, cut: bool) -> None:
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"Content-Type": "application/octet-stream", "Last-Modified": email.utils.formatdate(0, usegmt=True)}
        if self.server.etags:
            headers["ETag"] = etag
        status, rest = 200, body
        wanted = re.fullmatch(r"bytes=(\d+)-", range_)
        condition = self.headers.get("If-Range", etag)
        if wanted and self.server.ranges and condition in (etag, headers["Last-Modified"]):
            start = int(wanted[1])
            if start >= len(body):
                self._answer(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
                return
            status, rest = 206, body[start:]
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        if self.server.lengths:
            headers["Content-Length"] = str(len(rest))
        self._answer(status, headers)
        self.wfile.write(rest[: len(rest) // 2] if cut else rest)

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
