"""One request as it came in, and the means that a fault has to answer it."""

from __future__ import annotations

import select
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.support.upstream.forms import Reply, proper_reply
from tests.support.upstream.framing import chunked, framed, head

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from io import BufferedReader

    from tests.support.upstream.server import ScriptedUpstream

#: Answers one request. The server closes the connection afterwards, unless the fault returns ``KEEP``.
Fault: TypeAlias = "Callable[[Exchange], object]"
#: Reads the next request of a connection; None ends the connection.
ReadRequest: TypeAlias = "Callable[[socket.socket, BufferedReader], Request | None]"
#: Returned by a fault after which the connection goes on.
KEEP = object()


@dataclass(frozen=True)
class Request:
    """A request as it came in; ``headers`` with names as sent, in order."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    #: The bytes up to the body, blank line included.
    head: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


def read_head(stream: BufferedReader) -> Request | None:
    """Read up to the blank line; None if the client hangs up before."""
    lines = [stream.readline()]
    while lines[-1].strip():
        lines.append(stream.readline())
    if len(lines) == 1 or not lines[-1]:
        return None
    method, path, *_ = lines[0].decode("latin-1").split()
    fields = [line.decode("latin-1").partition(":") for line in lines[1:-1]]
    headers = [(name, value.strip()) for name, _, value in fields]
    return Request(method, path, headers, b"", b"".join(lines))


def read_body(stream: BufferedReader, request: Request) -> Request | None:
    """Return the request with the body that its length announces; None if the client hangs up before its end."""
    length = int(request.header("Content-Length") or 0)
    body = stream.read(length)
    return Request(request.method, request.path, request.headers, body, request.head) if len(body) == length else None


def read_request(sock: socket.socket, stream: BufferedReader) -> Request | None:
    """Read a whole request, as a proper server does."""
    request = read_head(stream)
    return None if request is None else read_body(stream, request)


class Exchange:
    """One request on its connection. The methods run on the connection's thread."""

    def __init__(self, server: ScriptedUpstream, sock: socket.socket, request: Request) -> None:
        self.server = server
        self.form = server.form
        self.sock = sock
        self.request = request

    @cached_property
    def reply(self) -> Reply:
        """The proper answer."""
        return proper_reply(self.form, self.request.method, self.request.path, self.request.body)

    @property
    def proper(self) -> bytes:
        """The body of the proper answer."""
        return self.reply.body

    @property
    def is_call(self) -> bool:
        return self.form.is_call(self.request.method, self.request.path)

    @property
    def inputs(self) -> list[Any]:
        return self.form.inputs(self.request.body)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def play(self, reply: Reply) -> object:
        """Send a reply of the form; return ``KEEP`` unless the server closes after it."""
        if reply.chunked:
            self.send(head(reply.status, *reply.headers, "Transfer-Encoding: chunked") + chunked(reply.body, b""))
        else:
            self.send(framed(reply.body, reply.status, *reply.headers))
        return None if reply.closes else KEEP

    def pause(self, seconds: float) -> bool:
        """Wait; return True as soon as the server stops, so that nothing hangs longer than its test."""
        return self.server.stopping.wait(seconds)

    def wait_for_hang_up(self, seconds: float = 60.0) -> None:
        """Wait without reading until the client hangs up, the server stops, or the time has passed."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        poll.poll(seconds * 1000)

    def drip(self, data: bytes, every: float) -> None:
        """Send byte by byte, with ``every`` seconds before each; end early when the server stops."""
        for position in range(len(data)):
            if self.pause(every):
                return
            self.send(data[position : position + 1])
