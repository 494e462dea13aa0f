"""The supervisor and the end, step by step on the test's own thread: who counts as dead, and what is done about it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from batching import Batcher, Observer, SystemClock
from batching.errors import BatcherDied, ShuttingDown, UpstreamRejected
from tests.support.fakes import FakeClock, FakeUpstream, call_of, queue_of

if TYPE_CHECKING:
    from batching import BatchReport

PATIENCE = 10.0


class FakeThread:
    """As much of a thread as its supervisor looks at."""

    def __init__(self, ident: int, *, alive: bool = True) -> None:
        self.ident: int | None = ident
        self.alive = alive
        self.timeouts: list[float] = []

    def is_alive(self) -> bool:
        return self.alive

    def join(self, timeout: float) -> None:
        self.timeouts.append(timeout)


class Counting(Observer):
    def __init__(self) -> None:
        self.deaths = 0

    def on_thread_death(self) -> None:
        self.deaths += 1


class Bench:
    """A batcher with made-up threads."""

    def __init__(self, *threads: FakeThread) -> None:
        self.clock = FakeClock()
        self.counting = Counting()
        self.batcher = Batcher(
            queue_of(self.clock, max_batch_size=1),
            FakeUpstream(self.clock),
            self.clock,
            threads=len(threads),
            observers=[self.counting],
        )
        self.batcher._threads = list(threads)  # type: ignore[arg-type]
        self.batcher._start_thread = lambda: FakeThread(99 + self.counting.deaths)  # type: ignore[assignment, return-value]

    @property
    def identities(self) -> list[int | None]:
        return [thread.ident for thread in self.batcher._threads]


def test_while_all_live_nothing_is_done() -> None:
    bench = Bench(FakeThread(1), FakeThread(2))
    assert bench.batcher.replace_the_dead() == 0
    assert bench.identities == [1, 2]
    assert bench.counting.deaths == 0


def test_who_ended_without_a_word_is_dead() -> None:
    bench = Bench(FakeThread(1), FakeThread(2, alive=False), FakeThread(3))
    assert bench.batcher.replace_the_dead() == 1
    assert bench.identities == [1, 3, 100]
    assert bench.counting.deaths == 1


def test_who_says_so_is_dead_though_alive_for_a_moment_and_only_once() -> None:
    dying = FakeThread(2)
    bench = Bench(FakeThread(1), dying)
    bench.batcher._dying.append(dying)  # type: ignore[arg-type]
    assert bench.batcher.replace_the_dead() == 1
    assert bench.identities == [1, 100]
    assert bench.batcher._dying == []
    assert bench.batcher.replace_the_dead() == 0


def test_who_could_not_be_replaced_is_replaced_the_next_time() -> None:
    bench = Bench(FakeThread(1), FakeThread(2, alive=False), FakeThread(3, alive=False))
    start = bench.batcher._start_thread
    refusals = [RuntimeError("can't start new thread")]

    def refuse() -> object:
        if refusals:
            raise refusals.pop()
        return start()

    bench.batcher._start_thread = refuse  # type: ignore[assignment, method-assign]
    with pytest.raises(RuntimeError):
        bench.batcher.replace_the_dead()
    assert bench.identities == [1]
    assert bench.batcher.replace_the_dead() == 0
    assert bench.identities == [1, 101, 101]
    assert bench.counting.deaths == 2


def test_nobody_is_replaced_while_the_service_stops() -> None:
    bench = Bench(FakeThread(1, alive=False))
    bench.batcher._stopping = True
    assert bench.batcher.replace_the_dead() == 0
    assert bench.identities == [1]


def test_only_the_batches_of_the_dead_are_failed() -> None:
    bench = Bench(FakeThread(1), FakeThread(2, alive=False))
    calls = [call_of("a"), call_of("b")]
    for owner, call in enumerate(calls, start=1):
        bench.batcher.submit(call)
        batch = bench.batcher.queue.take()
        assert batch is not None
        batch.owner = owner
    bench.batcher.replace_the_dead()
    assert not calls[0].done
    assert isinstance(calls[1].error, BatcherDied)


def test_a_thread_that_dies_says_so_to_the_supervisor(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()

    def die() -> None:
        raise SystemExit

    bench.batcher.run = die  # type: ignore[method-assign]
    bench.batcher._live()
    assert bench.batcher._dying == [threading.current_thread()]
    assert bench.batcher._attention.is_set()
    assert "died" in caplog.text


def test_the_supervisor_looks_now_and_then_and_survives_its_own_mistakes(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    waits: list[float] = []

    class Attention:
        """Notes how long it is waited on, and lets no time pass."""

        cleared = 0

        def wait(self, timeout: float) -> None:
            waits.append(timeout)

        def clear(self) -> None:
            self.cleared += 1

    def replace() -> int:
        bench.batcher._stopping = len(waits) == 3
        raise OSError("no new thread could be had")

    attention = Attention()
    bench.batcher._attention = attention  # type: ignore[assignment]
    bench.batcher.replace_the_dead = replace  # type: ignore[method-assign]
    bench.batcher._supervise()
    assert waits == [Batcher.SUPERVISION_PERIOD] * 3
    assert attention.cleared == 3
    assert len(caplog.records) == 3


def test_the_time_for_stopping_is_for_all_threads_together() -> None:
    threads = [FakeThread(1), FakeThread(2), FakeThread(3)]
    bench = Bench(*threads)
    bench.clock.time = 100.0
    spent = iter([2.0, 9.0, 0.0])

    def join(thread: FakeThread, timeout: float) -> None:
        thread.timeouts.append(timeout)
        bench.clock.time += next(spent)

    for thread in threads:
        thread.join = lambda timeout, thread=thread: join(thread, timeout)  # type: ignore[method-assign, misc]
    bench.batcher.stop(5.0)
    assert [thread.timeouts for thread in threads] == [[5.0], [3.0], [0.0]]
    assert bench.batcher._stopping
    assert bench.batcher._attention.is_set()


def test_threads_have_names_and_keep_no_process_alive() -> None:
    clock = SystemClock()
    batcher = Batcher(queue_of(clock), FakeUpstream(), clock, threads=2)  # type: ignore[arg-type]
    before = set(threading.enumerate())
    batcher.start()
    threads = sorted(set(threading.enumerate()) - before, key=lambda thread: thread.name)
    try:
        assert [thread.name for thread in threads] == ["batcher", "batcher", "batcher-supervisor"]
        assert all(thread.daemon for thread in threads)
    finally:
        batcher.stop(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize(("threads", "searches"), [(1, 1), (2, 1), (3, 2), (6, 5)])
def test_all_threads_but_one_may_search_at_once(threads: int, searches: int) -> None:
    clock = FakeClock()
    batcher = Batcher(queue_of(clock), FakeUpstream(clock), clock, threads=threads)
    assert batcher._isolation._turns._value == searches


def test_a_batcher_that_was_never_started_can_be_stopped() -> None:
    clock = FakeClock()
    batcher = Batcher(queue_of(clock), FakeUpstream(clock), clock, threads=2)
    call = call_of("a")
    batcher.submit(call)
    batcher.stop(1.0)
    assert isinstance(call.error, ShuttingDown)


class Reporting(Observer):
    def __init__(self) -> None:
        self.reports: list[BatchReport] = []

    def on_batch(self, report: BatchReport) -> None:
        self.reports.append(report)


def test_a_call_over_two_batches_is_reported_with_its_share_in_each() -> None:
    clock, reporting = FakeClock(), Reporting()
    batcher = Batcher(queue_of(clock, max_batch_size=2), FakeUpstream(clock), clock, threads=1, observers=[reporting])
    batcher.submit(call_of("a", "b", "c"))
    batcher.queue.close()
    batcher.run()
    assert [report.queue_delays for report in reporting.reports] == [[(0.0, 2)], [(0.0, 1)]]


def test_a_refused_batch_and_the_search_through_it_teach_no_latency() -> None:
    clock = FakeClock()
    upstream = FakeUpstream(clock, latency=lambda size: 1.0)
    batcher = Batcher(queue_of(clock, max_batch_size=2), upstream, clock, threads=1)
    for refusals, latency in ((1, 0.0), (0, 1.0)):
        upstream.failures = [UpstreamRejected("refused", status=422)] * refusals
        calls = [call_of("a"), call_of("b")]
        for call in calls:
            batcher.submit(call)
        batch = batcher.queue.take()
        assert batch is not None
        batcher._dispatch(batch)
        assert all(call.done for call in calls)
        (lane,) = batcher.queue._lanes.values()
        assert lane.latency == latency
