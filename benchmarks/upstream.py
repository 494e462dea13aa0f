"""A simulated accelerator behind TEI's HTTP contract: it has the latency of a model but does not compute.

`python -m benchmarks.upstream --fixed-ms 20 --per-item-ms 0.5` answers a call of n texts after
20 + 0.5·n ms of service; calls queue first in, first out for `--servers` servers. It costs tens of
microseconds of processor time a call, so on a shared machine the simulated latency limits, not this process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from benchmarks import openai_form, precise_loop, wire
from benchmarks.openai_form import OpenAiForm
from benchmarks.rate_limits import BUCKET, DURATIONS, NONE, SECONDS, SLIDING, WINDOW, Account, Rates
from benchmarks.vectors import HashVectors, PaletteVectors, VectorSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_CLIENT_BATCH_SIZE = 1000
MAX_CONCURRENT_REQUESTS = 4096

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
}


class _EmbedBody(msgspec.Struct):
    inputs: str | list[str]


_decode_body = msgspec.json.Decoder(_EmbedBody).decode


@dataclass(frozen=True, slots=True)
class Cost:
    """Service time a + b·n, in seconds.

    With `pad_chars` every item is as long as the longest of its pass, and an item of
    `pad_chars` characters costs `per_item`: a + b · n · longest / pad_chars.
    """

    fixed: float
    per_item: float
    pad_chars: int = 0

    def seconds(self, items: int, longest: int) -> float:
        """Time for one pass of `items`, the longest of which has `longest` characters."""
        weight = items * longest / self.pad_chars if self.pad_chars else items
        return self.fixed + self.per_item * weight


@dataclass(slots=True)
class _Call:
    """One request waiting for, or in, service."""

    items: int
    longest: int
    arrived: float
    respond: Callable[[], None]


class Accelerator:
    """`servers` servers and one first-in-first-out queue of calls.

    A pass is what a server works on at a time: one call, or, with a `rebatch_limit`, as many
    waiting calls as fit that many items (what TEI does by itself).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cost: Cost,
        *,
        servers: int = 1,
        rebatch_limit: int = 0,
        noise: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._loop = loop
        self._cost = cost
        self._free = servers
        self._rebatch_limit = rebatch_limit
        self._noise = noise
        self._waiting: deque[_Call] = deque()
        self.items_inside = self.calls_inside = 0
        self.reset()

    def reset(self) -> None:
        """Start counting anew; what is in service stays there."""
        self.calls = 0
        self.items = 0
        self.busy = 0.0
        self.call_sizes: Counter[int] = Counter()
        self.pass_sizes: Counter[int] = Counter()

    def submit(self, items: int, longest: int, respond: Callable[[], None]) -> None:
        """Queue a call; `respond` runs when its service ends."""
        now = self._loop.time()
        self.calls += 1
        self.items += items
        self.call_sizes[items] += 1
        self.items_inside += items
        self.calls_inside += 1
        self._waiting.append(_Call(items, longest, now, respond))
        self._start(now)

    def _start(self, free_since: float) -> None:
        while self._free and self._waiting:
            calls = self._take()
            items = sum(call.items for call in calls)
            longest = max(call.longest for call in calls)
            seconds = self._cost.seconds(items, longest) * self._noise()
            # A late timer must not slow the accelerator: a call that was waiting starts when the
            # one before it was due to end, not when the timer ran.
            end = max(free_since, calls[0].arrived) + seconds
            self._free -= 1
            self.busy += seconds
            self.pass_sizes[items] += 1
            self._loop.call_at(end, self._finish, calls, end)

    def _take(self) -> list[_Call]:
        calls = [self._waiting.popleft()]
        room = self._rebatch_limit - calls[0].items
        while self._waiting and self._waiting[0].items <= room:
            room -= self._waiting[0].items
            calls.append(self._waiting.popleft())
        return calls

    def _finish(self, calls: list[_Call], end: float) -> None:
        self._free += 1
        self._start(end)
        for call in calls:
            self.items_inside -= call.items
            self.calls_inside -= 1
            call.respond()


class Service:
    """Answers requests by method and path; it uses no socket."""

    def __init__(
        self,
        accelerator: Accelerator,
        vectors: VectorSource,
        account: Account | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`account`: has rate limits, on OpenAI's route."""
        self._accelerator = accelerator
        self._account = account
        self._now = now
        self._vectors = vectors
        self._openai = OpenAiForm(vectors)

    def handle(self, method: bytes, path: bytes, body: bytes, reply: Callable[[bytes], None]) -> None:
        """Answer through `reply`, at once or when the accelerator is through."""
        if path == b"/embed" and method == b"POST":
            self._embed(body, reply)
        elif path == b"/v1/embeddings" and method == b"POST":
            self._embeddings(body, reply)
        elif path == b"/reset" and method == b"POST":
            self._accelerator.reset()
            reply(_json_reply(200, {}))
        elif path in _GET_ROUTES and method == b"GET":
            reply(_json_reply(200, _GET_ROUTES[path](self._accelerator)))
        elif path == b"/limits" and method == b"GET":
            reply(_json_reply(200, self._limits()))
        else:
            reply(_error(404, "no such route", "NotFound"))

    def _embed(self, body: bytes, reply: Callable[[bytes], None]) -> None:
        try:
            inputs = _decode_body(body).inputs
        except msgspec.ValidationError as error:
            reply(_error(422, str(error), "Validation"))
            return
        except msgspec.DecodeError as error:
            reply(_error(400, str(error), "Validation"))
            return
        texts = [inputs] if isinstance(inputs, str) else inputs
        if not texts:
            reply(_error(400, "`inputs` cannot be empty", "Empty"))
        elif len(texts) > MAX_CLIENT_BATCH_SIZE:
            message = f"batch size {len(texts)} > maximum allowed batch size {MAX_CLIENT_BATCH_SIZE}"
            reply(_error(422, message, "Validation"))
        elif self._accelerator.items_inside + len(texts) > MAX_CONCURRENT_REQUESTS:
            reply(_error(429, "Model is overloaded", "Overloaded"))
        else:
            # Built now, while the accelerator "computes", so that the reply leaves on time.
            vector = self._vectors.vector
            ready = wire.build_reply(200, "OK", b"[" + b",".join([vector(text) for text in texts]) + b"]")
            self._accelerator.submit(len(texts), max(map(len, texts)), lambda: reply(ready))

    def _embeddings(self, body: bytes, reply: Callable[[bytes], None]) -> None:
        try:
            asked = openai_form.decode(body)
        except msgspec.DecodeError as error:
            reply(_json_reply(400, {"error": {"message": str(error), "type": "invalid_request_error"}}))
            return
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        headers = b""
        if self._account is not None:
            now = self._now()
            refusal = self._account.ask(openai_form.tokens_of(texts), self._accelerator.calls_inside, now)
            if refusal is not None:
                reply(wire.build_reply(429, _REASONS[429], refusal.body, refusal.headers))
                return
            headers = self._account.headers(now)
        ready = wire.build_reply(200, "OK", self._openai.answer(texts, asked.encoding_format), headers)
        self._accelerator.submit(len(texts), max(map(len, texts), default=0), lambda: reply(ready))

    def _limits(self) -> dict[str, object]:
        account = self._account
        if account is None:
            return {}
        return {"admitted": account.admitted, "tokens": account.tokens, "refused": dict(account.refused)}


def _info(_: Accelerator) -> dict[str, object]:
    return {
        "model_id": "benchmarks.upstream",
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_concurrent_requests": MAX_CONCURRENT_REQUESTS,
        "max_client_batch_size": MAX_CLIENT_BATCH_SIZE,
        "max_input_length": 512,
        "max_batch_tokens": 16384,
        "version": "simulated",
    }


def _stats(accelerator: Accelerator) -> dict[str, object]:
    return {
        "calls": accelerator.calls,
        "items": accelerator.items,
        "busy_seconds": accelerator.busy,
        "batch_sizes": dict(sorted(accelerator.call_sizes.items())),
        "pass_sizes": dict(sorted(accelerator.pass_sizes.items())),
    }


_GET_ROUTES: dict[bytes, Callable[[Accelerator], dict[str, object]]] = {
    b"/health": lambda _: {},
    b"/info": _info,
    b"/stats": _stats,
    b"/v1/models": lambda _: {"object": "list", "data": [{"id": openai_form.MODEL, "object": "model"}]},
}


def _json_reply(status: int, content: dict[str, object]) -> bytes:
    return wire.build_reply(status, _REASONS[status], json.dumps(content).encode())


def _error(status: int, message: str, error_type: str) -> bytes:
    return _json_reply(status, {"error": message, "error_type": error_type})


class _ServerConnection(asyncio.BufferedProtocol):
    """One keep-alive connection: one request at a time, answered in order."""

    def __init__(self, service: Service, connections: set[_ServerConnection]) -> None:
        self._service = service
        self._connections = connections
        self._data = bytearray()
        self._needed = 0
        self._busy = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._connections.discard(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return wire.READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self._data += wire.READ_BUFFER[:nbytes]
        if not self._busy and len(self._data) >= self._needed:
            self._next_request()

    def _next_request(self) -> None:
        try:
            head = wire.read_request_head(self._data)
        except wire.WireError:
            self.transport.abort()
            return
        if head is None:
            return
        if len(self._data) < head.size:
            self._needed = head.size
            if head.expects_continue:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        body = bytes(self._data[head.body_at : head.size])
        del self._data[: head.size]
        self._needed = 0
        self._busy = True
        self._service.handle(head.method, head.path, body, self._reply)

    def _reply(self, reply: bytes) -> None:
        self._busy = False
        # A call whose client has disconnected still takes its service time, as on a real accelerator.
        if not self.transport.is_closing():
            self.transport.write(reply)
            if self._data:
                self._next_request()


def noise_source(deviation: float, seed: int) -> Callable[[], float]:
    """Factors round 1 with a relative standard `deviation`, never below a tenth."""
    if deviation == 0:
        return lambda: 1.0
    gauss = random.Random(seed).gauss
    return lambda: max(0.1, gauss(1.0, deviation))


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, see --help."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upstream", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (printed)")
    parser.add_argument("--fixed-ms", type=float, default=20.0, help="a: cost of a call")
    parser.add_argument("--per-item-ms", type=float, default=0.5, help="b: cost of an item")
    parser.add_argument("--servers", type=int, default=1, help="calls worked on at once")
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--noise", type=float, default=0.0, help="relative standard deviation of the latency")
    parser.add_argument("--seed", type=int, default=1, help="of the noise")
    parser.add_argument("--pad", action="store_true", help="cost counts n x the longest item")
    parser.add_argument("--pad-chars", type=int, default=40, help="with --pad: length that costs b")
    parser.add_argument("--rebatch", action="store_true", help="merge waiting calls into one pass, as TEI does")
    parser.add_argument("--rebatch-limit", type=int, default=32, help="with --rebatch: items in a pass")
    parser.add_argument("--verify", action="store_true", help="a vector of its own for every text (slower)")
    limits = parser.add_argument_group("rate limits", "of POST /v1/embeddings; GET /limits tells what they refused")
    limits.add_argument("--calls-per-minute", type=int, default=0)
    limits.add_argument("--tokens-per-minute", type=int, default=0)
    limits.add_argument("--limit-window", type=float, default=60.0, help="seconds over which they are judged")
    limits.add_argument("--limit-form", choices=(WINDOW, BUCKET, SLIDING), default=WINDOW)
    limits.add_argument("--limit-headers", choices=(DURATIONS, SECONDS, NONE), default=DURATIONS)
    limits.add_argument("--quota-calls", type=int, default=0, help="calls after which the quota is used up")
    limits.add_argument("--most-at-once", type=int, default=0, help="calls under way at once")
    return parser.parse_args(argv)


def account_of(options: argparse.Namespace) -> Account | None:
    """The account that has the limits of the command line; None without any."""
    rates = Rates(
        calls=options.calls_per_minute,
        tokens=options.tokens_per_minute,
        window=options.limit_window,
        counts_by=options.limit_form,
        headers=options.limit_headers,
        quota_calls=options.quota_calls,
        at_once=options.most_at_once,
    )
    return Account(rates) if rates.calls or rates.tokens or rates.quota_calls or rates.at_once else None


async def serve(options: argparse.Namespace) -> None:
    """Listen until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    accelerator = Accelerator(
        loop,
        Cost(options.fixed_ms / 1e3, options.per_item_ms / 1e3, options.pad_chars if options.pad else 0),
        servers=options.servers,
        rebatch_limit=options.rebatch_limit if options.rebatch else 0,
        noise=noise_source(options.noise, options.seed),
    )
    vectors = HashVectors(options.dimensions) if options.verify else PaletteVectors(options.dimensions)
    service = Service(accelerator, vectors, account_of(options), loop.time)
    connections: set[_ServerConnection] = set()
    server = await loop.create_server(
        lambda: _ServerConnection(service, connections), options.host, options.port, backlog=1024
    )
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"listening on http://{host}:{port}", flush=True)
    await stopped.wait()
    server.close()
    for connection in list(connections):
        connection.transport.abort()
    await server.wait_closed()


def main(argv: Sequence[str] | None = None) -> None:
    """Command-line entry."""
    precise_loop.run(serve(arguments(argv)))


if __name__ == "__main__":
    main()
