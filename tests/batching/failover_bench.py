"""A pool of upstreams with queue and batcher in front of it, on the fake clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import Batch, Batcher, BatchKey, Call
from batching.errors import UpstreamError
from tests.support.fakes import KEY, call_of, queue_of, take, vector_of
from tests.upstream.pool_bench import PoolBench
from upstream.breaker import Breaker
from upstream.pool import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import Callable

    FailoverOf = Callable[..., "FailoverBench"]

#: Items of a full batch, and batches that each upstream takes at once.
SIZE, EACH = 4, 4


class FailoverBench(PoolBench):
    """A pool with a queue in front of it. The test's own thread is the one batcher thread that is idle."""

    def __init__(self, count: int = 2, *, permits: int = 1_000_000, unavailable_wait: float = 0.0) -> None:
        """``permits``: items that the upstreams take at once, together.

        ``unavailable_wait``: seconds for which calls wait where no upstream can be reached.
        """
        super().__init__(count, each=EACH)
        self.pool = UpstreamPool(
            self.upstreams,
            self.capacity,
            EACH,
            self.clock,
            unavailable_wait=unavailable_wait,
            observer=self.observer,
            jitter=self._jitter,
        )
        self.capacity.change(batch_size=SIZE, items=permits)
        self.queue = queue_of(self.clock, capacity=self.capacity)
        self.batcher = Batcher(self.queue, self.pool, self.clock, threads=8, observer=self.observer)
        self._numbers = iter(range(1_000_000))

    def submit(self, count: int = 1, *, key: BatchKey = KEY, lasts: float = 1e9) -> list[Call]:
        """Let calls of one item each arrive; SIZE of them fill a batch."""
        deadline = self.clock.now() + lasts
        calls = [call_of(f"{next(self._numbers)}", key=key, deadline=deadline) for _ in range(count)]
        for call in calls:
            self.batcher.submit(call)
        return calls

    def work(self) -> Batch:
        """Let the idle thread wait for a batch and send it; return the batch."""
        batch = take(self.queue)
        self.batcher.dispatch(batch)
        return batch

    def run(self) -> None:
        """Send batches until each call has ended."""
        while self.queue.calls:
            self.work()

    def eject(self, number: int) -> None:
        self.upstreams[number].failures = [UpstreamError("500") for _ in range(Breaker.FAILURES)]
        while f"http://{number}" not in self.observer.ejections:
            self.submit(SIZE)
            self.work()

    def hang(self, number: int, batches: int) -> list[Call]:
        """Have batches under way at an upstream that does not answer; return their calls."""
        self.upstreams[number].is_held = True
        calls = []
        for _ in range(batches):
            calls += self.submit(SIZE)
            self.workers.start(self.work, self.upstreams[number])
        return calls

    def hang_at_each(self, batches: int) -> None:
        """Have so many batches under way at each upstream."""
        for _ in range(batches):
            for upstream in self.upstreams:
                upstream.is_held = True
                self.submit(SIZE)
                self.workers.start(self.work, upstream)

    def end(self, number: int, *, count: int) -> None:
        """Let all calls that hang at an upstream end; there are so many."""
        self.upstreams[number].is_held = False
        self.workers.let_go_on(self.upstreams[number], count)


class StillWaiting(Exception):
    """The idle thread has no batch so far."""


def assert_waits(bench: FailoverBench, moment: float) -> None:
    """No batch leaves before this moment."""

    def stop() -> None:
        raise StillWaiting

    bench.clock.at(moment, stop)
    with pytest.raises(StillWaiting):
        take(bench.queue)


def assert_answered(*calls: Call) -> None:
    assert [call.results for call in calls] == [[vector_of(item) for item in call.items] for call in calls]
