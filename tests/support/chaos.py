"""An upstream that misbehaves on purpose: raw sockets, and one small function for each fault.

``Chaos`` answers ``POST /embed`` with hash-derived vectors, ``GET /health`` and ``GET /info`` properly, until a test
sets ``fault`` or queues some with ``script``: a fault replaces the answer to one request. It gets the
``Exchange`` (the socket, the request, the proper answer) and does with the socket what it likes; the connection is
closed when it returns, unless it returns ``KEEP``.

Faults of connections rather than answers are the address of a ``closed_port`` and ``Chaos(accepting=False)``.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tests.support.fakes import vector_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Fault = Callable[["Exchange"], object]

#: Returned by a fault after which the connection goes on.
KEEP = object()


@dataclass(frozen=True)
class Request:
    """A request as it came in; ``headers`` with names as sent, in order."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def items(self) -> list[bytes]:
        """The JSON of each input, as our client writes it."""
        return [json.dumps(item).encode() for item in json.loads(self.body)["inputs"]]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Exchange:
    """One request, and the means to answer it."""

    def __init__(self, server: Chaos, sock: socket.socket, request: Request, proper: bytes) -> None:
        self.server = server
        self.sock = sock
        self.request = request
        #: The body of the proper answer.
        self.proper = proper

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def pause(self, seconds: float) -> bool:
        """Wait; True when the server stops, so that nothing hangs longer than its test."""
        return self.server.stopping.wait(seconds)

    def drip(self, data: bytes, every: float) -> None:
        """Send byte by byte, slowly."""
        for position in range(len(data)):
            if self.pause(every):
                return
            self.send(data[position : position + 1])


def head(status: int = 200, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *headers, "", ""]).encode("latin-1")


def framed(body: bytes, status: int = 200, *headers: str) -> bytes:
    return head(status, "Content-Type: application/json", f"Content-Length: {len(body)}", *headers) + body


def _length(exchange: Exchange) -> str:
    return f"Content-Length: {len(exchange.proper)}"


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


# ---- answers that are framed well but say something else -----------------------------------------


def answer(body: bytes, status: int = 200, *headers: str) -> Fault:
    """Answer this, and go on."""

    def fault(exchange: Exchange) -> object:
        exchange.send(framed(body, status, *headers))
        return KEEP

    return fault


def vectors(*each: bytes) -> Fault:
    """Answer these vectors, whatever was asked."""
    return answer(b"[" + b",".join(each) + b"]")


def ok(exchange: Exchange) -> object:
    exchange.send(framed(exchange.proper))
    return KEEP


def ok_with(*headers: str) -> Fault:
    """Answer properly, with more headers."""

    def fault(exchange: Exchange) -> object:
        exchange.send(framed(exchange.proper, 200, *headers))
        return KEEP

    return fault


def ok_chunked(exchange: Exchange) -> object:
    middle = len(exchange.proper) // 2
    chunks = chunked(exchange.proper[:middle], exchange.proper[middle:], b"")
    exchange.send(head(200, "Transfer-Encoding: chunked") + chunks)
    return KEEP


def ok_then_close(exchange: Exchange) -> None:
    """What a server does whose keep-alive ends without a word."""
    ok(exchange)


def after_100_continue(exchange: Exchange) -> object:
    exchange.send(head(100))
    return ok(exchange)


def html(status: int) -> Fault:
    return answer(b"<html><body><h1>Hello</h1></body></html>", status, "X-Served-By: some proxy")


def refusal(status: int, text: str = "no", *headers: str) -> Fault:
    """Refuse as TEI does."""
    return answer(json.dumps({"error": text, "error_type": "Validation"}).encode(), status, *headers)


def redirect(location: str) -> Fault:
    return answer(b"", 307, f"Location: {location}")


def one_vector_too_few(exchange: Exchange) -> object:
    return answer(json.dumps(json.loads(exchange.proper)[1:]).encode())(exchange)


def one_vector_too_many(exchange: Exchange) -> object:
    return answer(json.dumps([*json.loads(exchange.proper), [0.5] * 8]).encode())(exchange)


def every_vector(vector: bytes) -> Fault:
    """Answer the right number of vectors, all of them this."""

    def fault(exchange: Exchange) -> object:
        return vectors(*[vector] * len(exchange.request.items))(exchange)

    return fault


# ---- broken framing --------------------------------------------------------------------------------


def half_a_body(exchange: Exchange) -> None:
    whole = framed(exchange.proper)
    exchange.send(whole[: len(whole) - len(exchange.proper) // 2])


def shorter_than_it_says(exchange: Exchange) -> None:
    """A body that makes sense, but is not all that was announced."""
    exchange.send(head(200, f"Content-Length: {len(exchange.proper) + 10}") + exchange.proper)


def truncated_chunks(exchange: Exchange) -> None:
    exchange.send(head(200, "Transfer-Encoding: chunked") + chunked(exchange.proper) + b"ff\r\n[")


def no_last_chunk(exchange: Exchange) -> None:
    exchange.send(head(200, "Transfer-Encoding: chunked") + chunked(exchange.proper))


def bad_chunk_size(exchange: Exchange) -> None:
    exchange.send(head(200, "Transfer-Encoding: chunked") + b"zz\r\n" + exchange.proper + b"\r\n0\r\n\r\n")


def no_framing(exchange: Exchange) -> None:
    exchange.send(head(200, "Content-Type: application/json") + exchange.proper)


def status_without_framing(status: int) -> Fault:
    """What HAProxy answers while it has no server to ask."""

    def fault(exchange: Exchange) -> None:
        exchange.send(head(status, "Connection: close") + b"<html>no server is available</html>")

    return fault


def odd_length(value: str) -> Fault:
    def fault(exchange: Exchange) -> None:
        exchange.send(head(200, f"Content-Length: {value}") + exchange.proper)

    return fault


def two_lengths(exchange: Exchange) -> None:
    exchange.send(head(200, _length(exchange), _length(exchange)) + exchange.proper)


def length_and_chunks(exchange: Exchange) -> None:
    exchange.send(head(200, _length(exchange), "Transfer-Encoding: chunked") + chunked(exchange.proper, b""))


def compressed_chunks(exchange: Exchange) -> None:
    chunks = chunked(gzip.compress(exchange.proper), b"")
    exchange.send(head(200, "Transfer-Encoding: gzip, chunked") + chunks)


def extra_bytes(exchange: Exchange) -> object:
    """A second answer that nobody asked for, to be taken for the next one."""
    exchange.send(framed(exchange.proper) + framed(b"[[6,6,6,6,6,6,6,6]]"))
    return KEEP


def gzipped(exchange: Exchange) -> object:
    return answer(gzip.compress(exchange.proper), 200, "Content-Encoding: gzip")(exchange)


def huge_body(exchange: Exchange) -> None:
    """Send on and on, until the other side has had enough."""
    exchange.send(head(200, "Transfer-Encoding: chunked"))
    while not exchange.server.stopping.is_set():
        exchange.send(chunked(b"[" * 65_536))


def announced_as_huge(exchange: Exchange) -> None:
    exchange.send(head(200, "Content-Length: 99999999999"))
    exchange.pause(60)


def huge_header(exchange: Exchange) -> None:
    exchange.send(head(200, "X-Padding: " + "x" * 100_000, _length(exchange)) + exchange.proper)


def interim_without_end(exchange: Exchange) -> None:
    while not exchange.pause(0):
        exchange.send(head(103, "Link: </x>") * 1000)


def upgrade(exchange: Exchange) -> None:
    exchange.send(head(101, "Upgrade: websocket", "Connection: upgrade") + exchange.proper)


def many_headers(exchange: Exchange) -> None:
    exchange.send(head(200, *[f"X-{number}: x" for number in range(200)], _length(exchange)) + exchange.proper)


def not_http(exchange: Exchange) -> None:
    exchange.send(b"SSH-2.0-OpenSSH_9.2\r\n")


# ---- silence -----------------------------------------------------------------------------------------


def hang(exchange: Exchange) -> None:
    exchange.pause(60)


def hang_in_the_body(exchange: Exchange) -> None:
    exchange.send(framed(exchange.proper)[:-3])
    exchange.pause(60)


def drip_headers(exchange: Exchange) -> None:
    exchange.drip(framed(exchange.proper), every=0.05)


def drip_body(exchange: Exchange) -> None:
    exchange.send(head(200, f"Content-Length: {len(exchange.proper)}"))
    exchange.drip(exchange.proper, every=0.05)


def endless_100_continue(exchange: Exchange) -> None:
    while not exchange.pause(0.01):
        exchange.send(head(100))


def close(exchange: Exchange) -> None:
    """Close without an answer."""


def reset(exchange: Exchange) -> None:
    """Close with RST instead of FIN."""
    exchange.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset_in_the_body(exchange: Exchange) -> None:
    exchange.send(framed(exchange.proper)[:-3])
    reset(exchange)


# ---- the server ----------------------------------------------------------------------------------------


def closed_port() -> str:
    """Return the URL of a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


class Chaos:
    """The misbehaving upstream: one thread a connection, on a port of the system's choosing."""

    def __init__(self, fault: Fault = ok, *, accepting: bool = True, tls: ssl.SSLContext | None = None) -> None:
        """``accepting=False``: connections lie in the backlog, and nobody takes them up."""
        #: What is done with every request that no script covers.
        self.fault = fault
        self.info: dict[str, Any] = {"model_id": "chaos", "max_client_batch_size": 32, "max_concurrent_requests": 512}
        self.requests: list[Request] = []
        self.connections = 0
        #: Released once for every connection that this side has closed.
        self.closed = threading.Semaphore(0)
        self.stopping = threading.Event()
        self._scripted: list[Fault] = []
        self._accepting = accepting
        self._tls = tls
        # Guards the counters, the script and the list of sockets.
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def script(self, *faults: Fault) -> None:
        """Answer the next requests to ``/embed`` like this, one fault each."""
        with self._lock:
            self._scripted += faults

    def calm(self) -> None:
        """Answer properly from now on, and forget all that was seen."""
        with self._lock:
            self._scripted.clear()
            self.fault = ok
            self.requests.clear()
            self.connections = 0

    @property
    def batches(self) -> list[Request]:
        """The calls to ``/embed``."""
        return [request for request in self.requests if request.method == "POST"]

    @property
    def sizes(self) -> list[int]:
        """How many items each of them had."""
        return [len(request.items) for request in self.batches]

    def __enter__(self) -> Self:
        if self._accepting:
            self._start(self._accept)
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all connections and threads."""
        self.stopping.set()
        for sock in [self._listener, *self._sockets]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with self._lock:
                    self.connections += 1
                self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        # The other side may hang up at any moment, which is the point.
        with suppress(OSError), self._secured(sock) as secured, secured.makefile("rb") as stream:
            while (request := _read_request(stream)) is not None:
                fault = self._choose(request)
                if fault(Exchange(self, secured, request, self._proper(request))) is not KEEP:
                    break
        self.closed.release()

    def _secured(self, sock: socket.socket) -> socket.socket:
        secured = sock if self._tls is None else self._tls.wrap_socket(sock, server_side=True)
        with self._lock:
            self._sockets.append(secured)
        return secured

    def _choose(self, request: Request) -> Fault:
        with self._lock:
            self.requests.append(request)
            if request.method == "POST" and self._scripted:
                return self._scripted.pop(0)
            return self.fault

    def _proper(self, request: Request) -> bytes:
        if request.method == "POST":
            return b"[" + b",".join(vector_of(item) for item in request.items) + b"]"
        return json.dumps(self.info).encode() if request.path == "/info" else b""


def read_the_head_only(stream: Any) -> Request:
    """What a server does (instead of ``_read_request``) that refuses before it has read all."""
    while stream.readline().strip():
        pass
    return Request("POST", "/embed", [], b'{"inputs":[]}')


def refuse_and_hang(exchange: Exchange) -> None:
    refusal(413, "too large")(exchange)
    hang(exchange)


def read_with_an_interim_reply(stream: Any) -> Request | None:
    """What a server does that tells its client to have patience, before it reads the body."""
    line = stream.readline().decode("latin-1").split()
    if not line:
        return None
    length = 0
    while header := stream.readline().decode("latin-1").strip():
        name, _, value = header.partition(":")
        length = int(value) if name == "Content-Length" else length
    stream.raw._sock.sendall(head(102))
    return Request(line[0], line[1], [], stream.read(length))


def _read_request(stream: Any) -> Request | None:
    line = stream.readline().decode("latin-1").split()
    if not line:
        return None
    headers = []
    while (header := stream.readline().decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = header.partition(":")
        headers.append((name, value.strip()))
    request = Request(line[0], line[1], headers, b"")
    body = stream.read(int(request.header("Content-Length") or 0))
    return Request(line[0], line[1], headers, body)
