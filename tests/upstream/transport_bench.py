"""An adapter in a session, as an endpoint has one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import requests

from tests.support.upstream import vector_for
from upstream.transport import ExchangeAdapter

if TYPE_CHECKING:
    from collections.abc import Callable

    from upstream.http_reply import Reply
    from upstream.stream import Stream

#: Seconds that an exchange may take, and that it may end late.
TIMEOUT, LATE = 0.5, 0.25


class Client:
    """An adapter in a session, as an endpoint has one."""

    def __init__(self, url: str, *, size: int = 1, now: Callable[[], float] = time.monotonic, **options: Any) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.adapter = ExchangeAdapter(pool_connections=1, pool_maxsize=size, now=now, **options)
        self.session.mount(url, self.adapter)
        self.adapter.connect_to(self.session.prepare_request(requests.Request("GET", url)))
        self.now = now
        #: How often a connection was stale.
        self.stale = 0

    def ask(self, text: str = "a", *, timeout: float = TIMEOUT) -> Reply:
        return self.adapter.exchange(message_of(text), self.now() + timeout, 1_000_000, self.note_stale)

    def begin(self, text: str = "a", *, timeout: float = TIMEOUT) -> Stream:
        """Ask for an answer in pieces."""
        return self.adapter.stream(message_of(text), self.now() + timeout, 1_000_000, self.note_stale)

    def read(self, stream: Stream, *, timeout: float = TIMEOUT) -> bytes:
        """Read a stream to its end."""
        return b"".join(iter(lambda: stream.read(self.now() + timeout), b""))

    def note_stale(self) -> None:
        self.stale += 1


def message_of(text: str) -> bytes:
    """What the upstream is sent."""
    body = b'{"inputs":["%b"]}' % text.encode()
    return b"POST /embed HTTP/1.1\r\nHost: upstream\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def vectors_of(text: str) -> bytes:
    """What the upstream answers properly."""
    return b"[%b]" % vector_for(text)
