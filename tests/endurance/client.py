"""Cheap clients that check what they get: kept-alive connections, one request at a time, nothing parsed needlessly."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.endurance.vectors import vectors_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Seconds after which a request without an answer counts as forgotten.
ANSWERED_WITHIN = 60.0
LOST, REFUSED, HUNG_UP, FORGOTTEN = "lost", "refused", "hung up", "forgotten"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb"\r\nx-request-id: *([^\r]+)", re.IGNORECASE)
_numbers = itertools.count(1)


class LostError(Exception):
    """The connection ended before a whole answer; ``stale``: it was a used one, and not a byte had come."""

    def __init__(self, *, stale: bool) -> None:
        super().__init__("the connection ended")
        self.stale = stale


@dataclass
class Tally:
    """What became of all requests."""

    begun: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Answers with another's vectors, or another's request id; how many had been answered with the first one.
    mixed_up: int = 0
    first_mixed_up: int = 0
    #: Answers, or parts of them, that came without a request.
    unasked: int = 0
    #: Requests sent again because the kept-alive connection had just been closed.
    retried: int = 0
    under_way: int = 0
    #: Moment and seconds of each answer, by its outcome; None if they are not kept.
    timed: list[tuple[float, float, str]] | None = None

    @property
    def without_outcome(self) -> int:
        return self.begun - sum(self.outcomes.values()) + self.outcomes[FORGOTTEN]


class Connection(asyncio.Protocol):
    """One connection; ``ask`` sends a request and returns status, request id and body of the answer."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._data = bytearray()
        self._size = 0
        self._body_at = 0
        self._used = False
        self._waiting: asyncio.Future[tuple[str, bytes, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(LostError(stale=self._used and not self._data))

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, request: bytes) -> tuple[str, bytes, bytes]:
        if self._transport is None:
            raise LostError(stale=self._used)
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():
            self._tally.unasked += 1
            self.close()
            return
        self._data += data
        if not self._size:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._data, 0, end)
            self._body_at = end + 4
            self._size = self._body_at + (int(length[1]) if length else 0)
        if len(self._data) >= self._size:
            self._finish()

    def _finish(self) -> None:
        assert self._waiting is not None
        if len(self._data) > self._size:
            self._tally.unasked += 1
        found = _ID.search(bytes(self._data[: self._body_at]))
        status = self._data[9:12].decode("latin-1")
        body = bytes(self._data[self._body_at : self._size])
        if b"\r\nconnection: close" in self._data[: self._body_at].lower():
            self.close()
        self._data.clear()
        self._size = 0
        self._used = True
        self._waiting.set_result((status, found[1] if found else b"", body))


@dataclass(frozen=True)
class Wish:
    """One request. ``hang_up``: seconds after which its client goes away."""

    texts: list[str]
    headers: str = ""
    options: str = ""
    hang_up: float | None = None


def embed(port: int, wish: Wish, identity: str) -> bytes:
    body = (f'{{"inputs":{json.dumps(wish.texts)}' + wish.options + "}").encode()
    head = (
        f"POST /embed HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"X-Request-Id: {identity}\r\n{wish.headers}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client:
    """Asks one request at a time. ``retries``: do once more what a closed kept-alive connection swallowed."""

    def __init__(self, port: int, tally: Tally, *, retries: bool = True) -> None:
        self._port = port
        self._tally = tally
        self._retries = retries
        self._connection: Connection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def ask(self, wish: Wish) -> str:
        """Send the request, check the answer, count and return what became of it."""
        tally = self._tally
        tally.begun += 1
        tally.under_way += 1
        began = time.monotonic()
        try:
            outcome = await self._outcome(wish)
        finally:
            tally.under_way -= 1
        tally.outcomes[outcome] += 1
        if tally.timed is not None:
            tally.timed.append((began, time.monotonic() - began, outcome))
        return outcome

    async def _outcome(self, wish: Wish) -> str:
        identity = f"r{next(_numbers)}"
        request = embed(self._port, wish, identity)
        timeout = ANSWERED_WITHIN if wish.hang_up is None else wish.hang_up
        try:
            async with asyncio.timeout(timeout):
                status, echoed, body = await self._answer(request)
        except TimeoutError:
            self.close()
            return FORGOTTEN if wish.hang_up is None else HUNG_UP
        except LostError:
            self.close()
            return LOST
        except OSError:
            self.close()
            return REFUSED
        # What is refused unread gets an identity of its own; what a load balancer refuses has none.
        strange = echoed != identity.encode() and (status == "200" or echoed) and status not in {"408", "429"}
        if strange or (status == "200" and body != vectors_for(wish.texts)):
            self._tally.mixed_up += 1
            self._tally.first_mixed_up = self._tally.first_mixed_up or sum(self._tally.outcomes.values()) + 1
        return status

    async def _answer(self, request: bytes) -> tuple[str, bytes, bytes]:
        try:
            return await (await self._connected()).ask(request)
        except LostError as lost:
            if not (self._retries and lost.stale):
                raise
        self._tally.retried += 1
        self.close()
        return await (await self._connected()).ask(request)

    async def _connected(self) -> Connection:
        if self._connection is None or not self._connection.usable:
            loop = asyncio.get_running_loop()
            _, self._connection = await loop.create_connection(lambda: Connection(self._tally), "127.0.0.1", self._port)
        return self._connection


class Crowd:
    """Clients that ask again as soon as they are answered, ``requests`` in all or until they are stopped."""

    def __init__(
        self,
        port: int,
        clients: int,
        wish: Callable[[random.Random, int], Wish],
        *,
        requests: int | None = None,
        retries: bool = True,
        timed: bool = False,
        pause: float = 0.0,
        think: float = 0.0,
    ) -> None:
        """``pause``: seconds that a client waits after anything but a 200.

        ``think``: seconds until it asks again, uniform within half of them either side.
        """
        self.tally = Tally(timed=[] if timed else None)
        self._clients = [Client(port, self.tally, retries=retries) for _ in range(clients)]
        self._wish = wish
        self._numbers = itertools.count() if requests is None else iter(range(requests))
        self._pause = pause
        self._think = think
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._go_on(*each)) for each in enumerate(self._clients)]

    @property
    def over(self) -> bool:
        return all(task.done() for task in self._tasks)

    async def finish(self) -> Tally:
        """Wait for the last answer."""
        await asyncio.gather(*self._tasks)
        for client in self._clients:
            client.close()
        await asyncio.sleep(0.05)
        return self.tally

    async def stop(self) -> Tally:
        """Ask no more; take the answers that are still owed."""
        self._stopping = True
        return await self.finish()

    async def hang_up(self) -> None:
        """Go away; the answers that are still owed do not come."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self._clients:
            client.close()

    async def _go_on(self, seed: int, client: Client) -> None:
        chance = random.Random(seed)
        for number in self._numbers:
            outcome = await client.ask(self._wish(chance, number))
            if outcome == REFUSED or (self._pause and outcome != "200"):
                await asyncio.sleep(self._pause or 0.02)
            if self._stopping:
                return
            if self._think:
                await asyncio.sleep(self._think * (0.5 + chance.random()))


def one_text(chance: random.Random, number: int) -> Wish:
    """The plainest request."""
    return Wish([f"text {number} {chance.random()}"])


async def every(seconds: float, act: Callable[[], Awaitable[object]], until: Callable[[], bool]) -> None:
    """Do something every so often until the condition holds."""
    while not until():
        began = time.monotonic()
        while time.monotonic() - began < seconds and not until():
            await asyncio.sleep(0.05)
        if not until():
            with contextlib.suppress(OSError):
                await act()
