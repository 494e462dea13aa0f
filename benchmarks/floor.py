"""The least work that a threaded Python service can do for a crowd: a bound for the proxy, not a service.

It has one thread for each client, one Event for each request and one batcher thread. It reads only the HTTP of this
benchmark's clients and has no checks, limits, errors or metrics. A flag tells it the size of the crowd, and it waits
for the whole crowd. What it loses against the optimum is the cost of threads, sockets and Python; what the proxy loses
beyond that is the proxy's own cost.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds after which an incomplete batch is sent, so that no call hangs at the end.
LONGEST_WAIT = 0.2
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


@dataclass(slots=True)
class _Call:
    item: bytes
    event: threading.Event = field(default_factory=threading.Event)
    result: bytes = b""
    follower: _Call | None = None


class Floor:
    """Gathers the crowd's items, sends them upstream and wakes the waiters, each by the one before."""

    def __init__(self, upstream: str, crowd: int) -> None:
        address = urlsplit(upstream)
        self._host = address.netloc.encode()
        self._upstream = socket.create_connection((address.hostname, address.port))
        self._upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._crowd = crowd
        self._waiting: list[_Call] = []
        self._all_here = threading.Condition()
        self._closed = False

    def embed(self, item: bytes) -> bytes:
        """Wait for the vector of one item, as JSON."""
        call = _Call(item)
        with self._all_here:
            self._waiting.append(call)
            if len(self._waiting) >= self._crowd:
                self._all_here.notify()
        call.event.wait()
        if call.follower is not None:
            call.follower.event.set()
        return call.result

    def close(self) -> None:
        """Send no more."""
        self._closed = True
        self._upstream.close()

    def run(self) -> None:
        """Send batch after batch, until ``close``."""
        while not self._closed:
            with self._all_here:
                if len(self._waiting) < self._crowd:
                    self._all_here.wait(LONGEST_WAIT)
                batch, self._waiting = self._waiting[: self._crowd], self._waiting[self._crowd :]
            if batch:
                for call, vector in zip(batch, self._ask(batch), strict=True):
                    call.result = b"[[" + vector + b"]]"
                for call, follower in itertools.pairwise(batch):
                    call.follower = follower
                batch[0].event.set()

    def _ask(self, batch: list[_Call]) -> list[bytes]:
        body = b'{"inputs":[' + b",".join(call.item for call in batch) + b"]}"
        head = b"POST /embed HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._upstream.sendall(head % (self._host, len(body)) + body)
        _, reply = next(_messages(self._upstream))
        return reply[2:-2].split(b"],[")

    def serve(self, client: socket.socket) -> None:
        """Answer one client's requests, one after the other."""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, contextlib.suppress(ConnectionError):
            for head, body in _messages(client):
                answer = self.embed(body[body.index(b":") + 1 : -1]) if head.startswith(b"POST") else b"{}"
                client.sendall(_OK % (len(answer), answer))


def _messages(sock: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    """Yield the heads and bodies of the messages that come, as this benchmark's own clients and upstream send them."""
    data = b""
    while chunk := sock.recv(65_536):
        data += chunk
        head, found, body = data.partition(b"\r\n\r\n")
        if not found:
            continue
        _, named, length = head.lower().partition(b"content-length:")
        if len(body) >= (int(length.partition(b"\r\n")[0]) if named else 0):
            yield head, body
            data = b""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--crowd", type=int, required=True, help="clients, which is the size of every batch")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # as the proxy's workers do
    floor = Floor(options.upstream, options.crowd)
    threading.Thread(target=floor.run, daemon=True).start()
    with socket.create_server(("127.0.0.1", options.port), backlog=1024) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=floor.serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
