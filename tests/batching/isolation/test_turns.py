"""Few batches are searched at the same time; the others wait for their turn, at most until their deadline."""

from __future__ import annotations

from contextlib import suppress

import pytest

from batching import Answer, Batch, Batcher
from batching.errors import UpstreamError, UpstreamFailed, UpstreamRejected
from batching.isolation.isolation import DOUBTFUL
from tests.batching.isolation.bench import IsolationBench, Sign, errors, kinds, texts_of
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


@pytest.mark.parametrize(("failures", "is_searched"), [(DOUBTFUL - 2, True), (DOUBTFUL - 1, False), (DOUBTFUL, False)])
def test_while_it_is_doubtful_what_is_to_blame_one_failed_batch_is_searched_at_a_time(
    failures: int, is_searched: bool
) -> None:
    """A batch that would have to wait for the other search, and whose deadline has passed, gives up at once."""
    bench = IsolationBench("a", sign=Sign.FAILURE, at_once=3)
    others = []

    def fail_another() -> None:
        if len(bench.upstream.batches) == 1 + failures:  # the first call of the search
            bench.upstream.on_send = lambda: None
            late = bench.batch(*texts_of(7), "a")
            late.deadline = bench.clock.now()
            others.append(bench.send(late))

    for number in range(failures):
        bench.upstream.accidents[1 + number] = UpstreamFailed("500")
        bench.send(bench.batch(f"fails {number}"))
    bench.upstream.on_send = fail_another
    assert "UpstreamFailed" in kinds(bench.send(bench.batch(*texts_of(7), "a")))
    (outcomes,) = others
    assert ("result" in kinds(outcomes)) is is_searched


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
