"""Clients that ask again as soon as they are answered, in front of queue, batcher and pool, on the fake clock."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

from batching import Batcher, FixedTiming, ProxyError
from batching.timing.rule import FULL, MAX_WAIT
from tests.batching.isolation.bench import PickyUpstream, Sign, verdict_on
from tests.support.fakes import FakeClock, call_of, capacity_of, queue_of, take
from tests.support.observers import RecordingObserver
from upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batching import Call

#: Seconds of an upstream call, of a client's deadline, and after which a client that was refused comes again.
LATENCY, DEADLINE, REFUSED_PAUSE = 0.01, 30.0, 0.01
#: How finely (s) time passes while no call waits.
STEP = 0.0005
#: Batches that each upstream takes at once.
EACH = 4


def texts_without_end(name: str) -> Iterator[str]:
    return (f"{name}, text {number}" for number in itertools.count())


class Asked(NamedTuple):
    """One request of a client: when it was made, how many seconds it took, and the error that ended it, if any."""

    moment: float
    latency: float
    error: ProxyError | None


class Client:
    """Asks for one text after the other, ``pause`` seconds after each answer."""

    def __init__(self, texts: Iterator[str], pause: float) -> None:
        self.texts = texts
        self.pause = pause
        self.asked: list[Asked] = []

    @property
    def errors(self) -> list[ProxyError]:
        return [each.error for each in self.asked if each.error is not None]


class Simulation:
    """One thread sends the batches; whatever else happens does so while it waits for the upstream or for a batch."""

    def __init__(
        self, *, upstreams: int = 1, sign: Sign = Sign.FAILURE, bad: Iterable[str] = (), unavailable_wait: float = 5.0
    ) -> None:
        self.clock = FakeClock()
        self.upstreams = []
        for number in range(upstreams):
            upstream = PickyUpstream(self.clock, bad=list(bad), latency=LATENCY, sign=sign)
            upstream.url = f"http://{number}"
            upstream.on_send = self._reap
            self.upstreams.append(upstream)
        self.observer = RecordingObserver()
        capacity = capacity_of(max_inflight_batches=EACH * upstreams)
        self.pool = UpstreamPool(
            self.upstreams,
            capacity,
            EACH,
            self.clock,
            unavailable_wait=unavailable_wait,
            observer=self.observer,
            jitter=lambda low, high: (low + high) / 2,
        )
        self.queue = queue_of(self.clock, lambda: FixedTiming(0.001), capacity=capacity)
        self.batcher = Batcher(self.queue, self.pool, self.clock, threads=4, observer=self.observer)
        self._pending: list[tuple[Call, Client]] = []
        self._ends_at = 0.0

    def clients(self, count: int, *, pause: float = 0.0) -> list[Client]:
        """Let so many clients ask for texts of their own, never the same again."""
        return [self.client(texts_without_end(f"client {number}"), pause=pause) for number in range(count)]

    def client(self, texts: Iterator[str], *, pause: float = 0.0, begins_at: float = 0.0) -> Client:
        client = Client(texts, pause)
        self.clock.at(begins_at, lambda: self._ask(client))
        return client

    def run(self, seconds: float) -> None:
        """Let the clients ask for so long, and then wait until each has its answer."""
        self._ends_at = self.clock.now() + seconds
        while self.clock.now() < self._ends_at or self.queue.calls:
            if not self.queue.calls:
                self.clock.sleep(STEP)
                continue
            self.batcher.dispatch(take(self.queue))
            self._reap()

    @property
    def asked(self) -> list[int]:
        """How many calls each upstream has got."""
        return [len(upstream.batches) for upstream in self.upstreams]

    @property
    def calls(self) -> int:
        return sum(self.asked)

    @property
    def extra_calls(self) -> int:
        """How many calls were made to find out what is bad: those of searches, of single items, and of witnesses."""
        ordinary = (FULL.reason, MAX_WAIT.reason)
        return sum(batch.reason not in ordinary for upstream in self.upstreams for batch in upstream.batches)

    def _ask(self, client: Client) -> None:
        call = call_of(next(client.texts), deadline=self.clock.now() + DEADLINE)
        call.arrived = self.clock.now()
        try:
            self.batcher.submit(call)
        except ProxyError as error:
            self._answered(client, Asked(self.clock.now(), 0.0, error), REFUSED_PAUSE)
        else:
            self._pending.append((call, client))

    def _reap(self) -> None:
        """Let the clients whose calls have ended ask again."""
        pending, self._pending = self._pending, []
        for call, client in pending:
            if call.done:
                took = self.clock.now() - call.arrived
                self._answered(client, Asked(call.arrived, took, verdict_on(call)), 0.0)
            else:
                self._pending.append((call, client))

    def _answered(self, client: Client, asked: Asked, pause: float) -> None:
        client.asked.append(asked)
        moment = self.clock.now() + max(pause, client.pause)
        if moment < self._ends_at:
            self.clock.at(moment, lambda: self._ask(client))


def errors_of(clients: Iterable[Client]) -> list[ProxyError]:
    return [error for client in clients for error in client.errors]


def slowest(clients: Iterable[Client], share: float = 0.99) -> float:
    """Return how many seconds the request took that is slower than this share of all."""
    latencies = sorted(asked.latency for client in clients for asked in client.asked)
    return latencies[int(share * len(latencies))]
