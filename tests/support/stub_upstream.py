"""A cheap embedding server that counts: hash-derived vectors, and whatever fault a test asks for."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tests.support.fakes import vector_of

if TYPE_CHECKING:
    from collections.abc import Callable

#: Writes raw bytes on the connection instead of a proper answer; the connection is closed afterwards.
Fault = "Callable[[socket.socket], None]"


def vector_for(text: str) -> bytes:
    """Return the JSON of the vector that this upstream gives for one text, and for no other."""
    return vector_of(text.encode())


@dataclass(frozen=True)
class Seen:
    """One call to ``POST /embed`` as it arrived."""

    inputs: list[Any]
    options: dict[str, Any]
    at: float = field(default_factory=time.monotonic)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    upstream: StubUpstream

    def handle_error(self, request: object, client_address: object) -> None:
        """The proxy may hang up at any time; that is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.upstream.connections.add(self.connection)

    def finish(self) -> None:
        self.server.upstream.connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        upstream = self.server.upstream
        if upstream.fault is not None:
            self._fail(upstream.fault)
        elif self.path == "/info":
            self._answer(200, json.dumps(upstream.info).encode())
        else:
            self._answer(200 if self.path == "/health" else 404, b"")

    def do_POST(self) -> None:
        upstream = self.server.upstream
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        inputs = body.pop("inputs")
        upstream.saw(Seen(inputs, body))
        if upstream.fault is not None:
            self._fail(upstream.fault)
            return
        if upstream.delay:
            upstream.stopping.wait(upstream.delay)
        upstream.gate.wait()
        vectors = [vector_for(each if isinstance(each, str) else json.dumps(each)) for each in inputs]
        self._answer(200, b"[" + b",".join(vectors) + b"]")

    def _answer(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def _fail(self, fault: Callable[[socket.socket], None]) -> None:
        self.close_connection = True
        fault(self.connection)

    def log_message(self, *args: object) -> None:
        pass


class StubUpstream:
    """Serves in threads of the test process. ``calls`` and ``sizes`` tell what came.

    ``delay``: seconds before each answer. ``gate``: answers wait while it is cleared. ``fault``: replaces answers.
    """

    def __init__(self, *, delay: float = 0.0, info: dict[str, Any] | None = None) -> None:
        self.delay = delay
        self.info = info or {"model_id": "stub"}
        self.fault: Callable[[socket.socket], None] | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.stopping = threading.Event()
        self.calls: list[Seen] = []
        self.connections: set[socket.socket] = set()
        self._arrived = threading.Condition()
        self._server: _Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def sizes(self) -> list[int]:
        return [len(call.inputs) for call in self.calls]

    @property
    def inputs(self) -> list[Any]:
        return [each for call in self.calls for each in call.inputs]

    def saw(self, call: Seen) -> None:
        with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()

    def wait_for_calls(self, count: int, timeout: float = 10.0) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.calls) >= count, timeout), self.calls

    def start(self) -> Self:
        """Listen: on any free port the first time, on the same one after a ``stop``."""
        self.stopping.clear()
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.upstream = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Go down: nobody listens, and open connections break."""
        if self._server is None:
            return
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        for connection in list(self.connections):
            hang_up(connection)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.stop()


def hang_up(connection: socket.socket) -> None:
    """End a connection under whoever is using it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


# ---- faults ----------------------------------------------------------------------------------------


def saying(raw: bytes) -> Callable[[socket.socket], None]:
    """Send these bytes and close."""
    return lambda connection: connection.sendall(raw)


def answering(
    body: bytes, *, status: int = 200, headers: str = "Content-Type: application/json\r\n"
) -> Callable[[socket.socket], None]:
    """Send a well-framed answer with this body, the last on its connection."""
    return saying(
        f"HTTP/1.1 {status} Whatever\r\nConnection: close\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def hanging(connection: socket.socket) -> None:
    """Say nothing until the proxy hangs up."""
    while connection.recv(4096):
        pass


def dripping(connection: socket.socket) -> None:
    """Send an answer so slowly that it never ends, though something always comes."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n[")
    connection.settimeout(0.05)
    while True:
        try:
            if not connection.recv(4096):
                return
        except TimeoutError:
            connection.sendall(b" ")
