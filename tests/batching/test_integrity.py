"""The promise that matters most: no client ever gets another's vector, and none is forgotten.

64 real threads, an upstream that answers hash-derived vectors after random delays, calls of one and of many
items, tight deadlines, clients that give up or hang up; once more with thread switches as frequent as can be.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from batching import Answer, Batcher, BatchKey, Call, FixedTiming, Options, SystemClock, Task
from batching.errors import ClientGone, DeadlineExceeded, Hopeless, Overloaded, ProxyError, UpstreamError
from tests.support.concurrency import Nursery, frequent_switches
from tests.support.fakes import items_of, queue_of, results_of, vector_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batching import Batch, Sender

CLIENTS, THREADS = 64, 4
#: Seconds that a client waits for its answer; none comes near it but by a mistake.
LONGEST = 30.0
#: Seconds after which a client that was refused asks again.
COMES_AGAIN = 0.01
KEYS = [BatchKey(Task.EMBED), BatchKey(Task.EMBED, Options(normalize=False))]


class HashUpstream:
    """Takes up to a few milliseconds, fails now and then, and checks that batches are of one key."""

    def __init__(self, longest: float, failing: float) -> None:
        self._longest = longest
        self._failing = failing
        self._random = random.Random(1)

    def send(self, batch: Batch) -> Answer:
        time.sleep(self._random.random() * self._longest)
        if self._random.random() < self._failing:
            raise UpstreamError("now and then")
        return Answer(results_of(batch))


class RotatingUpstream(HashUpstream):
    """The planted fault: each item gets the vector of the one before."""

    def send(self, batch: Batch) -> Answer:
        vectors = super().send(batch).results
        return Answer([vectors[-1], *vectors[:-1]])


class CountingEvent(threading.Event):
    """Counts how often it was set."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def set(self) -> None:
        self.count += 1
        super().set()


@dataclass
class Tally:
    """What became of all requests, and which went wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    mixed_up: list[Call] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    slowest: float = 0.0

    @property
    def asked(self) -> int:
        return sum(self.outcomes.values())


class Client:
    """One of many: asks, checks that the answer is its own, and asks again."""

    def __init__(self, number: int, batcher: Batcher, tally: Tally, lock: threading.Lock) -> None:
        self._number = number
        self._random = random.Random(number)
        self._batcher = batcher
        self._tally = tally
        self._lock = lock

    def ask(self, requests: int) -> None:
        for request in range(requests):
            call = self._call(request)
            began = time.monotonic()
            outcome = self._outcome(call)
            took = time.monotonic() - began
            with self._lock:
                self._tally.slowest = max(self._tally.slowest, took)
                self._tally.outcomes[outcome] += 1
                if outcome == "ok" and call.results != [vector_of(item) for item in call.items]:
                    self._tally.mixed_up.append(call)
                if outcome != "refused":
                    self._tally.calls.append(call)

    def _call(self, request: int) -> Call:
        chance = self._random.random()
        count = self._random.randint(2, 40) if chance < 0.05 else 1
        allowed = self._random.random() * 0.01 if 0.05 < chance < 0.1 else LONGEST
        items = items_of(*[f"client {self._number} request {request} item {item}" for item in range(count)])
        hangs_up = 0.1 < chance < 0.12
        key = self._random.choice(KEYS)
        call = Call(items, key, time.monotonic() + allowed, (lambda: True) if hangs_up else None)
        call.event = CountingEvent()
        return call

    def _outcome(self, call: Call) -> str:
        try:
            self._batcher.submit(call)
        except Overloaded:
            # Without the pause the few clients that are refused would use up their requests in being refused.
            time.sleep(COMES_AGAIN)
            return "refused"
        if self._random.random() < 0.01:
            # The waiter gives up at any moment, perhaps as its results come in.
            time.sleep(self._random.random() * 0.005)
            self._batcher.queue.abandon(call, ClientGone("gave up"))
        try:
            self._batcher.result(call)
        except ProxyError as error:
            return type(error).__name__
        return "ok"


@pytest.fixture
def started() -> Iterator[Callable[[Sender], Batcher]]:
    batchers: list[Batcher] = []

    def start(upstream: Sender) -> Batcher:
        queue = queue_of(SystemClock(), lambda: FixedTiming(0.002), max_inflight_batches=THREADS, max_calls=60)  # type: ignore[arg-type]
        batcher = Batcher(queue, upstream, SystemClock(), threads=THREADS)
        batcher.start()
        batchers.append(batcher)
        return batcher

    yield start
    for batcher in batchers:
        batcher.stop(timeout=0.0)


def load(batcher: Batcher, requests: int) -> Tally:
    """Let all clients send ``requests`` in all, at the same time."""
    tally, lock = Tally(), threading.Lock()
    with Nursery() as nursery:
        for number in range(CLIENTS):
            share = requests // CLIENTS + (number < requests % CLIENTS)
            nursery.start(Client(number, batcher, tally, lock).ask, share)
    return tally


def assert_intact(batcher: Batcher, tally: Tally, requests: int) -> None:
    assert tally.mixed_up == []
    assert tally.asked == requests
    # No call is lost, and the ways to end that were asked for have all come up.
    assert set(tally.outcomes) <= {
        "ok",
        "refused",
        *(e.__name__ for e in (UpstreamError, DeadlineExceeded, Hopeless, ClientGone)),
    }
    assert all(tally.outcomes[name] for name in ("ok", "UpstreamError", "DeadlineExceeded", "ClientGone"))
    assert tally.outcomes["ok"] > 0.8 * requests
    assert tally.slowest < LONGEST / 2  # a waiter that is not woken wakes when its time is up
    batcher.stop(timeout=10.0)
    for call in tally.calls:
        assert call.done
        assert call.event.count == 1  # type: ignore[attr-defined]
    queue = batcher.queue
    assert (queue.calls, queue.queued_items, queue.in_flight, queue.in_flight_items) == (0, 0, 0, 0)


def test_20_000_requests_from_64_threads_each_get_their_own_vector(started: Callable[[Sender], Batcher]) -> None:
    batcher = started(HashUpstream(longest=0.003, failing=0.01))
    assert_intact(batcher, load(batcher, 20_000), 20_000)


def test_the_same_with_thread_switches_as_frequent_as_can_be(started: Callable[[Sender], Batcher]) -> None:
    batcher = started(HashUpstream(longest=0.003, failing=0.01))
    with frequent_switches():
        tally = load(batcher, 20_000)
    assert_intact(batcher, tally, 20_000)


def test_a_planted_mix_up_is_found_within_1_000_requests(started: Callable[[Sender], Batcher]) -> None:
    batcher = started(RotatingUpstream(longest=0.001, failing=0.0))
    tally = load(batcher, 1_000)
    assert len(tally.mixed_up) > 100
