"""An upstream in a process of its own: its form says what it answers, its behaviour when it is slow or fails.

``POST /behave`` takes a JSON object of the fields of ``Behaviour``, which hold from then on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
from dataclasses import dataclass, replace

from benchmarks import wire
from tests.endurance.vectors import vector_for
from tests.support.upstream.forms import Form, TeiForm

#: Texts that begin like this are bad; ``Behaviour.shows`` says how that is seen.
POISON = "poison"
REFUSALS = {
    422: ("Unprocessable", "Validation"),
    424: ("Failed Dependency", "Backend"),
    429: ("Too Many", "Overloaded"),
    500: ("Internal Server Error", "Backend"),
    502: ("Bad Gateway", "Gateway"),
    503: ("Unavailable", "Unhealthy"),
    504: ("Gateway Timeout", "Gateway"),
}
#: What stands in the row of a bad text instead of its vector.
BAD_ROWS = {"null": b"null", "nan": b"[NaN,NaN]", "short": b"[1.5]"}
#: The path that is not batched, and the bytes of its answer that are sent at once.
PASSED, PIECE = "/similarity", 16_384
INFO = {"model_id": "endurance", "max_client_batch_size": 1000, "max_concurrent_requests": 4096}


@dataclass(frozen=True)
class Behaviour:
    """Milliseconds and chances. A call takes ``fixed`` + ``per_item`` for each item + up to ``random`` more.

    ``serial``: one call after the other, as a model on one device does. ``shows``: how a bad text is seen, a status of
    the whole call or one of ``BAD_ROWS``. ``blocks``: health checks too wait for the calls under way.
    """

    fixed: float = 2.0
    per_item: float = 0.0
    random: float = 0.0
    #: Chance that a call takes ``stall`` instead.
    stalls: float = 0.0
    stall: float = 5000.0
    #: Chance that a call fails: by a reset where ``status`` is 0, else by this answer.
    fails: float = 0.0
    status: int = 0
    shows: str = "422"
    serial: bool = False
    blocks: bool = False
    #: Bytes of the answer to a request that is not batched, and the milliseconds over which they are sent.
    passed: int = 2
    passed_in: float = 0.0


class Embedder:
    """What all connections share."""

    def __init__(self, form: Form, behaviour: Behaviour) -> None:
        self.form = form
        self.behaviour = behaviour
        self._random = random.Random(1)
        self._free_at = 0.0

    def delay(self, items: int) -> float:
        now = self.behaviour
        if now.stalls and self._random.random() < now.stalls:
            return now.stall / 1e3
        return (now.fixed + now.per_item * items + now.random * self._random.random()) / 1e3

    def failing(self) -> bool:
        return self._random.random() < self.behaviour.fails

    def reply(self, texts: list[str]) -> bytes | None:
        """Return the reply to a call; None stands for a reset."""
        if self.failing():
            return self._refusal(self.behaviour.status) if self.behaviour.status else None
        shows = self.behaviour.shows
        if shows.isdigit() and any(text.startswith(POISON) for text in texts):
            return self._refusal(int(shows))
        rows = [BAD_ROWS[shows] if text.startswith(POISON) else self.form.vector(text) for text in texts]
        return wire.build_reply(200, "OK", self.form.answer(rows))

    def due(self, delay: float) -> float:
        """Return how many seconds from now a call ends that takes ``delay``; a serial server begins it later."""
        now = asyncio.get_running_loop().time()
        if not self.behaviour.serial:
            return delay
        self._free_at = max(self._free_at, now) + delay
        return self._free_at - now

    def _refusal(self, status: int) -> bytes:
        reason, error_type = REFUSALS[status]
        return wire.build_reply(status, reason, self.form.refusal(reason, error_type))

    def page(self, path: str) -> bytes:
        """Return the reply to a request that is no call."""
        page = self.form.page(path)
        return wire.build_reply(page.status, "Whatever", page.body)


class Connection(asyncio.Protocol):
    """One kept-alive connection, one request at a time."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._data = bytearray()
        self._transport: asyncio.Transport
        self._passing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head = wire.read_request_head(self._data)
        if head is None or len(self._data) < head.size:
            return
        body = bytes(self._data[head.body_at : head.size])
        del self._data[: head.size]
        method, path = head.method.decode(), head.path.decode()
        if self._embedder.form.is_call(method, path):
            texts = self._embedder.form.inputs(body)
            delay = self._embedder.due(self._embedder.delay(len(texts)))
            asyncio.get_running_loop().call_later(delay, self._answer, self._embedder.reply(texts))
        elif path == PASSED:
            self._passing = asyncio.get_running_loop().create_task(self._pass(self._embedder.behaviour))
        elif path == "/behave":
            self._embedder.behaviour = replace(Behaviour(), **json.loads(body))
            self._answer(wire.build_reply(200, "OK", b"{}"))
        else:
            delay = self._embedder.due(0.0) if self._embedder.behaviour.blocks else 0.0
            asyncio.get_running_loop().call_later(delay, self._answer, self._embedder.page(path))

    async def _pass(self, behaviour: Behaviour) -> None:
        """Send a list of zeros piece by piece."""
        left = behaviour.passed
        self._answer(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n[" % left)
        body = memoryview((b"0," * (left // 2))[: left - 2] + b"]")
        for at in range(0, len(body), PIECE):
            await asyncio.sleep(behaviour.passed_in / 1e3 * PIECE / left)
            self._answer(bytes(body[at : at + PIECE]))

    def _answer(self, reply: bytes | None) -> None:
        if reply is None:
            self._transport.abort()
        elif not self._transport.is_closing():
            self._transport.write(reply)


async def serve(port: int, behaviour: Behaviour) -> None:
    """Listen until SIGTERM."""
    loop = asyncio.get_running_loop()
    embedder = Embedder(TeiForm(INFO, vector_for), behaviour)
    await loop.create_server(lambda: Connection(embedder), "127.0.0.1", port, backlog=1024, reuse_address=True)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--behaviour", type=json.loads, default={})
    options = parser.parse_args()
    asyncio.run(serve(options.port, Behaviour(**options.behaviour)))
