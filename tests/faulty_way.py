"""The way to a store, with faults on demand: a TLS server that passes requests on, breaks them, or answers itself."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.object_store import ObjectStore

Fault = tuple[int, bytes, dict[str, str]]
"""An answer in place of the store's: status, body and headers."""


def xml(code: str, message: str = "", **more: str) -> bytes:
    """An error as S3 writes it."""
    inside = "".join(f"<{name}>{text}</{name}>" for name, text in {"Code": code, "Message": message, **more}.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><Error>{inside}<RequestId>REQ4711</RequestId></Error>'.encode()


class FaultyWay(ThreadingHTTPServer):
    """*fault* is asked for each request (method and path): what to answer, ``reset`` to break it half-way, ``lose`` to
    drop the store's answer, ``cut`` to end the connection in the middle of it, or None.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.fault: Callable[[str, str], Fault | str | None] = lambda method, path: None
        self.requests: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(store.certificate, store.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"https://localhost:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    server: FaultyWay
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _pass_on(self) -> None:
        self.server.requests.append((self.command, self.path))
        fault = self.server.fault(self.command, self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if fault == "reset":
            self.rfile.read(length // 2)
            # No farewell: the other side sees "connection reset by peer".
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            with contextlib.suppress(OSError):
                socket.socket.close(self.connection)
            return
        body = self.rfile.read(length)
        if isinstance(fault, tuple):
            self._answer(*fault)
            return
        try:
            status, answer, headers = self._ask(body)
        except OSError:
            self.close_connection = True
            return
        if fault == "lose":  # the store did it, and nobody hears of it
            self.close_connection = True
            return
        self._answer(status, answer, headers, len(answer) // 2 if fault == "cut" else len(answer))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815

    def _ask(self, body: bytes) -> Fault:
        context = ssl.create_default_context(cafile=str(self.server.store.ca_bundle))
        store = http.client.HTTPSConnection("localhost", self.server.store.ports[0], context=context, timeout=60)
        with contextlib.closing(store):
            store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    store.putheader(name, value)
            store.endheaders(body)
            answer = store.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() != "connection"}
            return answer.status, answer.read(), headers

    def _answer(self, status: int, body: bytes, headers: dict[str, str], sent: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
        self.close_connection = self.close_connection or (sent is not None and sent < len(body))


@contextlib.contextmanager
def faulty_way(store: ObjectStore) -> Iterator[FaultyWay]:
    """A way to *store* that has no fault yet."""
    way = FaultyWay(store)
    try:
        yield way
    finally:
        way.shutdown()
        way.server_close()
