"""The supervisor and the end, step by step on the test's own thread: which threads count as dead, and what follows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from batching import Batcher, Observer
from batching.errors import BatcherDied, ShuttingDown
from tests.support.concurrency import PATIENCE
from tests.support.fakes import FakeClock, FakeUpstream, call_of, queue_of, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching import Answer, Batch


class FakeThread:
    """As much of a thread as its supervisor looks at."""

    def __init__(self, ident: int, joined: list[tuple[int, float]]) -> None:
        self.ident = ident
        self.alive = True
        #: Called when it is joined.
        self.on_join: Callable[[], object] = lambda: None
        self._joined = joined

    def is_alive(self) -> bool:
        return self.alive

    def join(self, timeout: float) -> None:
        self._joined.append((self.ident, timeout))
        self.on_join()


class Counting(Observer):
    def __init__(self) -> None:
        self.deaths = 0

    def on_thread_death(self) -> None:
        self.deaths += 1


class SupervisionBench:
    """A batcher with made-up threads, numbered from 1 in the order in which they were started."""

    def __init__(self, threads: int) -> None:
        self.clock = FakeClock()
        self.counting = Counting()
        self.threads: list[FakeThread] = []
        #: Raised instead of starting the next threads.
        self.refusals: list[Exception] = []
        #: Each a thread's identity and the seconds for which it was waited for.
        self.joined: list[tuple[int, float]] = []
        self.batcher = Batcher(
            queue_of(self.clock, max_batch_size=1),
            FakeUpstream(self.clock),
            self.clock,
            threads=threads,
            observer=self.counting,
            start_thread=self._start_thread,  # type: ignore[arg-type]
        )
        assert self.batcher.replace_the_dead() == 0  # starts those that are missing

    def _start_thread(self, body: Callable[[], None]) -> FakeThread:
        if self.refusals:
            raise self.refusals.pop()
        self.threads.append(FakeThread(len(self.threads) + 1, self.joined))
        return self.threads[-1]

    def die(self, *identities: int) -> None:
        """Let these threads end without having said so."""
        for ident in identities:
            self.threads[ident - 1].alive = False

    def kept(self) -> list[int]:
        """Stop the batcher; return the identities of the threads that it counts as its own."""
        self.batcher.stop(0.0)
        return [ident for ident, _ in self.joined]


@pytest.mark.parametrize("threads", [1, 2, 6])
def test_while_all_threads_live_nothing_is_done(threads: int) -> None:
    bench = SupervisionBench(threads)
    assert bench.batcher.replace_the_dead() == 0
    assert bench.counting.deaths == 0
    assert bench.kept() == list(range(1, threads + 1))


@pytest.mark.parametrize(
    ("dead", "kept"), [([1], [2, 3, 4]), ([2], [1, 3, 4]), ([1, 3], [2, 4, 5]), ([1, 2, 3], [4, 5, 6])], ids=str
)
def test_threads_that_have_ended_are_replaced(dead: list[int], kept: list[int]) -> None:
    bench = SupervisionBench(3)
    bench.die(*dead)
    assert bench.batcher.replace_the_dead() == len(dead)
    assert bench.batcher.replace_the_dead() == 0
    assert bench.counting.deaths == len(dead)
    assert bench.kept() == kept


class Reluctant(threading.Thread):
    """A thread that counts as alive for a long moment after its end."""

    def is_alive(self) -> bool:
        return True


class Deadly(FakeUpstream):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def send(self, batch: Batch) -> Answer:
        raise self.error


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt()], ids=repr)
def test_a_thread_that_reported_its_death_is_replaced_once_even_while_still_alive(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    clock, counting = FakeClock(), Counting()
    reluctant: list[Reluctant] = []
    others: list[FakeThread] = []

    def start_thread(body: Callable[[], None]) -> threading.Thread:
        if reluctant:
            others.append(FakeThread(1, []))
            return others[-1]  # type: ignore[return-value]
        reluctant.append(Reluctant(target=body))
        reluctant[0].start()
        return reluctant[0]

    queue = queue_of(clock, max_batch_size=1)
    batcher = Batcher(queue, Deadly(error), clock, threads=1, observer=counting, start_thread=start_thread)
    call = call_of("a")
    batcher.submit(call)
    batcher.replace_the_dead()  # starts it
    threading.Thread.join(reluctant[0], PATIENCE)
    assert "a batcher thread died" in caplog.text
    assert not call.done
    assert batcher.replace_the_dead() == 1
    assert isinstance(call.error, BatcherDied)
    assert batcher.replace_the_dead() == 0
    assert (counting.deaths, len(others)) == (1, 1)
    assert batcher._dying == []  # nor is it held on to


def test_a_thread_that_could_not_be_replaced_is_replaced_the_next_time() -> None:
    bench = SupervisionBench(3)
    bench.die(2, 3)
    bench.refusals = [RuntimeError("can't start new thread")]
    with pytest.raises(RuntimeError):
        bench.batcher.replace_the_dead()
    assert len(bench.threads) == 3
    assert bench.batcher.replace_the_dead() == 0
    assert bench.counting.deaths == 2
    assert bench.kept() == [1, 4, 5]


def test_no_thread_is_replaced_while_the_service_stops() -> None:
    bench = SupervisionBench(1)
    bench.batcher.stop(0.0)
    bench.die(1)
    assert bench.batcher.replace_the_dead() == 0
    assert (len(bench.threads), bench.counting.deaths) == (1, 0)


def test_only_the_batches_of_the_dead_are_failed() -> None:
    bench = SupervisionBench(2)
    calls = [call_of("a"), call_of("b")]
    for owner, call in enumerate(calls, start=1):
        bench.batcher.submit(call)
        take(bench.batcher.queue).owner = owner
    bench.die(2)
    bench.batcher.replace_the_dead()
    assert not calls[0].done
    assert isinstance(calls[1].error, BatcherDied)


def test_the_supervisor_looks_now_and_then_and_survives_its_own_mistakes(caplog: pytest.LogCaptureFixture) -> None:
    bench = SupervisionBench(1)
    bench.die(1)
    bench.refusals = [OSError("no new thread could be had")] * 3
    waits: list[float] = []

    class Attention:
        """Notes how long it is waited on, and lets no time pass."""

        cleared = 0

        def wait(self, timeout: float) -> None:
            waits.append(timeout)
            if len(waits) == 5:
                bench.batcher.stop(0.0)

        def clear(self) -> None:
            self.cleared += 1

        def set(self) -> None:
            pass

    attention = Attention()
    bench.batcher._attention = attention  # type: ignore[assignment]
    bench.batcher._supervise()
    assert waits == [Batcher.SUPERVISION_PERIOD] * 5
    assert attention.cleared == 5
    assert len(caplog.records) == 3
    assert [thread.ident for thread in bench.threads] == [1, 2]


def test_a_thread_that_ended_without_a_word_is_replaced_within_the_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Batcher, "SUPERVISION_PERIOD", 0.001)
    replaced = threading.Event()
    joined: list[tuple[int, float]] = []

    def start_thread(body: Callable[[], None]) -> FakeThread:
        thread = FakeThread(1, joined)
        thread.alive = started.is_set()
        (replaced if thread.alive else started).set()
        return thread

    started = threading.Event()
    clock = FakeClock()
    batcher = Batcher(queue_of(clock), FakeUpstream(), clock, threads=1, start_thread=start_thread)  # type: ignore[arg-type]
    batcher.start()
    assert replaced.wait(PATIENCE)
    batcher.stop(0.0)


def test_the_time_for_stopping_is_for_all_threads_together() -> None:
    bench = SupervisionBench(3)
    bench.clock.time = 100.0
    for thread, spent in zip(bench.threads, (2.0, 9.0, 0.0), strict=True):
        thread.on_join = lambda spent=spent: bench.clock.sleep(spent)  # type: ignore[misc]
    bench.batcher.stop(5.0)
    assert bench.joined == [(1, 5.0), (2, 3.0), (3, 0.0)]


def test_a_batcher_that_was_never_started_can_be_stopped() -> None:
    clock = FakeClock()
    batcher = Batcher(queue_of(clock), FakeUpstream(clock), clock, threads=2)
    call = call_of("a")
    batcher.submit(call)
    batcher.stop(1.0)
    assert isinstance(call.error, ShuttingDown)
