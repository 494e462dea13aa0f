"""Hand-written stand-ins: a clock that only moves when told, an upstream that answers from memory."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from typing import TYPE_CHECKING

from batching import Answer, Batch, BatchKey, BatchQueue, Call, Capacity, FixedTiming, Limits, Outcomes, Task
from batching.errors import Unsupported
from upstream.health import Health

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from batching import Item, Timing
    from upstream.dialects.dialect import UpstreamInfo
    from upstream.rate_headers import RateLimits
    from upstream.request import Request
    from upstream.spoken import Finding
    from upstream.stream import Stream

KEY = BatchKey(Task.EMBED)


class Deadlock(AssertionError):
    """A thread waits for ever, and nothing is scheduled that could change that."""


class FakeClock:
    """Time that passes only while a thread waits, and then jumps to the next thing that happens.

    ``at(moment, action)`` schedules an action. ``wait`` runs the actions due before the time-out until one of
    them notifies the condition, or jumps to the time-out: as with a real condition, a thread that is not
    notified sleeps on. An endless wait with nothing scheduled raises ``Deadlock``, and fails the test.
    """

    def __init__(self) -> None:
        self.time = 0.0
        #: How many waits were ended by a notification.
        self.notifications = 0
        self._order = itertools.count()
        self._actions: list[tuple[float, int, Callable[[], object]]] = []

    def now(self) -> float:
        return self.time

    def at(self, moment: float, action: Callable[[], object]) -> None:
        heapq.heappush(self._actions, (moment, next(self._order), action))

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        end = None if timeout is None else self.time + timeout
        notified: list[bool] = []
        condition.notify = lambda n=1: notified.append(True)  # type: ignore[method-assign]
        while not notified and (end is None or self.time < end):
            self._pass(None if end is None else end - self.time)
        self.notifications += bool(notified)

    def wait_for(self, event: threading.Event, timeout: float) -> bool:
        end = self.time + timeout
        while not event.is_set() and self.time < end:
            self._pass(end - self.time)
        return event.is_set()

    def sleep(self, seconds: float) -> None:
        """Let time pass, running what is scheduled meanwhile."""
        end = self.time + seconds
        while self.time < end:
            self._pass(end - self.time)

    def _pass(self, timeout: float | None) -> None:
        if self._actions and (timeout is None or self._actions[0][0] <= self.time + timeout):
            moment, _, action = heapq.heappop(self._actions)
            self.time = max(self.time, moment)
            action()
        elif timeout is None:
            raise Deadlock("a thread waits for ever and nothing is scheduled")
        else:
            self.time += timeout


def vector_of(item: bytes) -> bytes:
    """Return the JSON of a vector that no other item has."""
    digest = hashlib.sha256(item).digest()
    return json.dumps([byte / 256 for byte in digest[:8]], separators=(",", ":")).encode()


class FakeUpstream:
    """Answers every batch with hash-derived vectors, after ``latency(size)`` seconds of the fake clock."""

    def __init__(self, clock: FakeClock | None = None, latency: Callable[[int], float] = lambda size: 0.0) -> None:
        self.url = "http://upstream"
        self.timeout = 30.0
        self.speaks = "tei"
        self.known: UpstreamInfo | None = None
        self.on_limits: Callable[[Batch, RateLimits], None] | None = None
        self.batches: list[Batch] = []
        self.failures: list[Exception] = []
        #: Why it cannot do what a key asks for.
        self.refusals: dict[BatchKey, str] = {}
        self.healthy = True
        self._clock = clock
        self._latency = latency

    @property
    def sizes(self) -> list[int]:
        return [len(batch.items) for batch in self.batches]

    def send(self, batch: Batch) -> Answer:
        self.batches.append(batch)
        if self._clock is not None:
            self._clock.sleep(self._latency(len(batch.items)))
        if self.failures:
            raise self.failures.pop(0)
        return Answer(results_of(batch))

    def find_out(self, timeout: float, *, may_call: bool = False) -> Finding | None:
        return None

    def fit(self, key: BatchKey, items: Sequence[Item]) -> BatchKey:
        if key in self.refusals:
            raise Unsupported(self.refusals[key])
        return key

    def forwards(self, path: str) -> bool:
        return False

    def forward(self, request: Request, end: float, look: Callable[[], None]) -> Stream:
        raise NotImplementedError

    def health(self, timeout: float) -> Health:
        return Health(self.healthy, "" if self.healthy else "down")

    def try_out(self, timeout: float) -> Health:
        """Say whether a call would be answered, and keep the failures for the calls that follow."""
        return Health(False, str(self.failures[0])) if self.failures else self.health(timeout)

    def went_away(self) -> None:
        pass

    def info(self, timeout: float) -> UpstreamInfo | None:
        return None


def items_of(*texts: str) -> list[bytes]:
    return [json.dumps(text).encode() for text in texts]


def call_of(*texts: str, key: BatchKey = KEY, deadline: float = 1e9) -> Call:
    return Call(items_of(*texts), key, deadline)


#: What nothing runs into.
ROOMY = {"max_batch_size": 32, "max_batch_bytes": 1_000_000, "max_calls": 1000, "max_queued_items": 1000}


def limits_of(**limits: float) -> Limits:
    """Return limits that nothing runs into, but for those given."""
    return Limits(**{name: value for name, value in ROOMY.items() if name != "max_batch_size"} | limits)  # type: ignore[arg-type]


def capacity_of(
    *, max_inflight_batches: int = 4, max_batch_size: int = 32, max_inflight_items: int = 1_000_000
) -> Capacity:
    """Return what upstreams take that take four batches of 32 items at once."""
    return Capacity(batches=max_inflight_batches, batch_size=max_batch_size, items=max_inflight_items)


def queue_of(
    clock: FakeClock,
    timing: Callable[[], Timing] = lambda: FixedTiming(0.1),
    *,
    capacity: Capacity | None = None,
    **bounds: float,
) -> BatchQueue:
    """Return a queue that sends when a batch is full or its first item has waited 100 ms.

    ``bounds``: of the limits, and of the capacity if none is given.
    """
    names = ("max_inflight_batches", "max_batch_size", "max_inflight_items")
    own = {name: int(bounds.pop(name)) for name in names if name in bounds}
    return BatchQueue(limits_of(**bounds), capacity or capacity_of(**own), timing, clock)


def put(queue: BatchQueue, *texts: str, key: BatchKey = KEY, deadline: float = 1e9) -> Call:
    """Put a call with these texts into the queue."""
    call = call_of(*texts, key=key, deadline=deadline)
    queue.put(call)
    return call


def take(queue: BatchQueue) -> Batch:
    """Take a batch; there is to be one."""
    batch = queue.take()
    assert batch is not None
    return batch


def results_of(batch: Batch) -> list[bytes]:
    """Return a vector for each item that tells which one it is."""
    return [vector_of(item) for item in batch.items]


def succeed(queue: BatchQueue, batch: Batch) -> list[Call]:
    """Settle a batch as its upstream would have answered it."""
    return queue.settle(batch, Outcomes.results(results_of(batch)))
