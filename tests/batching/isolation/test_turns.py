"""Few batches are searched at the same time; the others wait for their turn, at most until their deadline."""

from __future__ import annotations

from contextlib import suppress

import pytest

from batching import Answer, Batch, Batcher
from batching.errors import UpstreamError, UpstreamRejected
from tests.batching.isolation.bench import IsolationBench, errors, kinds
from tests.support.fakes import FakeClock, FakeUpstream, call_of, queue_of, take


@pytest.mark.parametrize(("now", "deadline"), [(1000.0, 1000.05), (1000.0, 900.0)])
def test_a_batch_waits_for_another_search_to_end_until_its_deadline(now: float, deadline: float) -> None:
    bench = IsolationBench("a")
    bench.clock.time = now
    waits: list[float] = []

    class Taken:
        """A semaphore that is never released."""

        def acquire(self, timeout: float) -> bool:
            waits.append(timeout)
            return False

    bench.isolation._turns = Taken()  # type: ignore[assignment]
    batch = bench.batch("a", "b")
    batch.deadline = deadline
    outcomes = bench.send(batch)
    assert waits == [pytest.approx(max(0.0, deadline - now))]
    assert kinds(outcomes) == ["Unresolved", "Unresolved"]
    assert {error.retry_after for error in errors(outcomes)} == {1}
    assert (outcomes.rejected, outcomes.judged) == (2, 2)
    assert bench.upstream.sizes == [2]


@pytest.mark.parametrize("accident", [None, UpstreamError("500"), KeyError("a bug"), SystemExit()], ids=repr)
def test_a_search_leaves_room_for_the_next_however_it_ends(accident: BaseException | None) -> None:
    bench = IsolationBench("a")
    bench.upstream.accidents = {} if accident is None else {2: accident}  # type: ignore[dict-item]
    with suppress(KeyError, SystemExit):
        bench.send(bench.batch("a", "b"))
    bench.upstream.accidents = {}
    # Without room, a batch whose deadline has passed is not searched.
    batch = bench.batch("c", "a")
    batch.deadline = bench.clock.now()
    assert kinds(bench.send(batch)) == ["result", "UpstreamRejected"]


@pytest.mark.parametrize(("threads", "searches"), [(1, 1), (2, 1), (3, 2), (6, 5)])
def test_all_threads_but_one_may_search_at_once(clock: FakeClock, threads: int, searches: int) -> None:
    """A batch that is taken but whose deadline has passed gives up at once where there is no room for its search."""

    class Nested(FakeUpstream):
        """Refuses each batch of two, and lets the next one be dispatched while a search is under way."""

        depth = deepest = 0

        def send(self, batch: Batch) -> Answer:
            if batch.parts:
                raise UpstreamRejected("refused", status=422)
            self.depth += 1
            self.deepest = max(self.deepest, self.depth)
            if waiting:
                batcher.dispatch(waiting.pop())
            self.depth -= 1
            return super().send(batch)

    upstream = Nested(clock)
    queue = queue_of(clock, max_batch_size=2, max_inflight_batches=20)
    batcher = Batcher(queue, upstream, clock, threads=threads)
    waiting: list[Batch] = []
    for _ in range(10):
        for text in "ab":
            batcher.submit(call_of(text, deadline=1.0))
        waiting.append(take(queue))
    clock.time = 1.0
    batcher.dispatch(waiting.pop())
    assert upstream.deepest == searches
