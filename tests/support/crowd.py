"""A crowd of clients that all ask at once, cheap enough for what is measured to be the service and not the crowd."""

from __future__ import annotations

import select
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Requests sent between two looks for answers: an answer that waits unread counts against the service.
SENT_AT_ONCE = 16
PATIENCE = 20.0


@dataclass
class _Client:
    """One connection, its request, and what has come back. Nothing is parsed before all have been answered."""

    sock: socket.socket
    request: bytes
    sent: float = 0.0
    came: float = 0.0
    missing: int | None = None
    received: list[bytes] = field(default_factory=list)

    def send(self) -> None:
        self.sent = time.monotonic()
        rest = self.request[self.sock.send(self.request) :]
        if rest:
            self.sock.setblocking(True)
            self.sock.sendall(rest)
            self.sock.setblocking(False)

    def receive(self) -> bool:
        """Take what has come; return whether that was all."""
        try:
            data = self.sock.recv(1_000_000)
        except ConnectionError:
            data = b""
        self.came = time.monotonic()
        self.received.append(data)
        if self.missing is not None:
            self.missing -= len(data)
        else:
            whole = b"".join(self.received)
            head, found, body = whole.partition(b"\r\n\r\n")
            if found:
                self.missing = int(_fields(head)["content-length"]) - len(body)
        return not data or (self.missing is not None and self.missing <= 0)

    def answer(self) -> Answer | None:
        head, found, body = b"".join(self.received).partition(b"\r\n\r\n")
        if not found:
            return None
        fields = _fields(head)
        assert len(body) == int(fields["content-length"]), "an answer broke off"
        return Answer(int(head[9:12]), fields, body, self.sent, self.came)


def _fields(head: bytes) -> Mapping[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def ask_at_once(port: int, requests: Sequence[bytes], *, gap: float = 0.0) -> list[Answer | None]:
    """Open one connection per request, then send all; None stands for a connection closed without a word.

    ``gap``: seconds between two sends.
    """
    with ExitStack() as stack:
        clients = {}
        poll = stack.enter_context(select.epoll())
        for request in requests:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            sock.setblocking(False)
            clients[sock.fileno()] = _Client(sock, request)
            poll.register(sock, select.EPOLLIN)
        waiting = set(clients)

        def collect(seconds: float) -> None:
            end = time.monotonic() + seconds
            while waiting:
                for number, _ in poll.poll(max(0.0, end - time.monotonic())):
                    if clients[number].receive():
                        poll.unregister(number)
                        waiting.discard(number)
                if time.monotonic() >= end:
                    return

        for position, client in enumerate(clients.values()):
            client.send()
            if gap or position % SENT_AT_ONCE == 0:
                collect(gap)
        collect(PATIENCE)
        assert not waiting, f"{len(waiting)} clients got no answer"
        return [client.answer() for client in clients.values()]
