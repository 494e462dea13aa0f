"""A pool of upstreams that requests are passed on to, and streams that bring what a test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamUnavailable
from tests.support.fakes import FakeClock, FakeUpstream, capacity_of
from tests.support.observers import RecordingObserver
from upstream.breaker import Breaker
from upstream.http_reply import Reply
from upstream.pool import UpstreamPool
from upstream.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching.errors import ProxyError
    from upstream.stream import Stream

PATH = "/decode"


class FakeStream:
    """Brings these pieces; an error among them is raised in its place."""

    def __init__(self, *pieces: bytes | ProxyError) -> None:
        self.reply = Reply(200, {"content-type": "application/json"}, b"")
        self.is_over = not pieces
        self.is_closed = False
        self.ends: list[float] = []
        self._pieces = list(pieces)

    def read(self, end: float) -> bytes:
        self.ends.append(end)
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        self.is_over = not self._pieces or not isinstance(piece, bytes)
        try:
            if not isinstance(piece, bytes):
                raise piece
            return piece
        finally:
            del piece  # an error's frames would refer to the error

    def close(self) -> None:
        self.is_over = self.is_closed = True


class PassingUpstream(FakeUpstream):
    """Answers what is passed on with its stream, or with the next of its failures."""

    def __init__(self, clock: FakeClock, url: str) -> None:
        super().__init__(clock)
        self.url = url
        self.paths = {PATH}
        self.passed: list[Request] = []
        self.ends: list[float] = []
        #: Seconds that it takes to begin its answer, during which the request is looked after.
        self.takes = 0.0
        #: What the next answers bring, and the stream of the latest.
        self.pieces: tuple[bytes | ProxyError, ...] = (b"[1", b",2]")
        self.stream = FakeStream()

    def forwards(self, path: str) -> bool:
        return path in self.paths

    def forward(self, request: Request, end: float, look: Callable[[], None]) -> Stream:
        self.passed.append(request)
        self.ends.append(end)
        assert self._clock is not None
        self._clock.sleep(self.takes)
        look()
        if self.failures:
            raise self.failures.pop(0)
        self.stream = FakeStream(*self.pieces)
        return self.stream  # type: ignore[return-value]


class ForwardingBench:
    """A pool of ``count`` upstreams with ``each`` places."""

    def __init__(self, count: int = 1, *, each: int = 1, wait: float = 0.0) -> None:
        """``wait``: seconds for which requests wait where no upstream can be reached."""
        self.clock = FakeClock()
        self.upstreams = [PassingUpstream(self.clock, f"http://{number}") for number in range(count)]
        self.capacity = capacity_of(max_inflight_batches=each * count)
        self.observer = RecordingObserver()
        self.pool = UpstreamPool(
            self.upstreams, self.capacity, each, self.clock, unavailable_wait=wait, observer=self.observer
        )
        self.forwarding = self.pool.forwarding

    def ask(self, *, lasts: float = 100.0, body: bytes = b"{}", has_left: Callable[[], bool] | None = None) -> bytes:
        """Pass a request on, and return the body of its answer."""
        passage = self.forwarding.enter(PATH, self.clock.now() + lasts, has_left)
        try:
            answer = passage.open(Request(PATH, body))
            try:
                return b"".join(iter(answer.read, b""))
            finally:
                answer.close()
        finally:
            passage.leave()

    def eject(self, number: int = 0) -> None:
        """Let an upstream fail until it gets no calls any more; without others, and where none waits."""
        upstream = self.upstreams[number]
        upstream.failures = [UpstreamUnavailable("no connection") for _ in range(Breaker.FAILURES)]
        while upstream.failures:
            with pytest.raises(UpstreamUnavailable):
                self.ask()

    @property
    def asked(self) -> list[int]:
        """How many requests each upstream got."""
        return [len(upstream.passed) for upstream in self.upstreams]
