"""The batcher with real threads on the real clock: they share the work, outlive their own deaths, and end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from batching import AdaptiveTiming, Answer, Batcher, FixedTiming, Observer, Observers, SystemClock
from batching.batcher import start_daemon
from batching.call import ISOLATION
from batching.errors import BatcherDied, ShuttingDown, UpstreamRejected
from tests.batching.isolation.bench import PickyUpstream
from tests.support.concurrency import Nursery
from tests.support.fakes import FakeClock, FakeUpstream, call_of, items_of, queue_of, vector_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batching import Batch, Call, Sender

#: Seconds after which a thread counts as hung.
HUNG = 10.0


class Recorder(Observer):
    """Counts the deaths of threads."""

    def __init__(self) -> None:
        self.deaths = threading.Semaphore(0)

    def on_thread_death(self) -> None:
        self.deaths.release()


class BrokenObserver(Observer):
    def on_thread_death(self) -> None:
        raise ZeroDivisionError


class Doomed(FakeUpstream):
    """Kills the first threads that come, as a bug or an interpreter shutting down would."""

    def __init__(self, deaths: int) -> None:
        super().__init__()
        self.deaths = deaths

    def send(self, batch: Batch) -> Answer:
        if self.deaths:
            self.deaths -= 1
            raise SystemExit
        return super().send(batch)


class Gated(FakeUpstream):
    """Answers nothing before its gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.arrived = threading.Semaphore(0)

    def send(self, batch: Batch) -> Answer:
        self.arrived.release()
        self.gate.wait(HUNG)
        return super().send(batch)


class Started:
    """Batchers with real threads, and all batcher threads that they started."""

    def __init__(self) -> None:
        self.batchers: list[Batcher] = []
        self.threads: list[threading.Thread] = []

    def __call__(
        self,
        upstream: Sender,
        *,
        threads: int = 2,
        wait: float = 0.0,
        observer: Observer | None = None,
        **options: object,
    ) -> Batcher:
        timing = options.pop("timing", lambda: FixedTiming(wait))
        queue = queue_of(SystemClock(), timing, **{"max_inflight_batches": threads} | options)  # type: ignore[arg-type]
        batcher = Batcher(
            queue, upstream, SystemClock(), threads=threads, observer=observer, start_thread=self._start_thread
        )
        batcher.start()
        self.batchers.append(batcher)
        return batcher

    def _start_thread(self, body: Callable[[], None]) -> threading.Thread:
        self.threads.append(start_daemon(body))
        return self.threads[-1]


@pytest.fixture
def started() -> Iterator[Started]:
    """Start batchers, and stop them afterwards."""
    started = Started()
    yield started
    for batcher in started.batchers:
        batcher.stop(timeout=0.0)


def submitted(batcher: Batcher, *texts: str) -> Call:
    call = call_of(*texts, deadline=SystemClock().now() + HUNG)
    batcher.submit(call)
    return call


def ask(batcher: Batcher, *texts: str) -> list[bytes]:
    return batcher.ask(call_of(*texts, deadline=SystemClock().now() + HUNG))


def own_results(call: Call) -> list[bytes]:
    return [vector_of(item) for item in call.items]


def test_a_killed_thread_costs_its_batch_a_503_and_the_next_request_works(started: Started) -> None:
    recorder = Recorder()
    batcher = started(Doomed(1), threads=1, observer=Observers(BrokenObserver(), recorder))
    with pytest.raises(BatcherDied) as raised:
        ask(batcher, "a")
    assert (raised.value.status, raised.value.retry_after) == (503, 1)
    assert recorder.deaths.acquire(timeout=HUNG)
    assert ask(batcher, "b") == [vector_of(b'"b"')]
    assert batcher.queue.calls == 0


def test_every_thread_may_die_and_more_than_once_and_is_replaced_at_once(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Batcher, "SUPERVISION_PERIOD", 10 * HUNG)
    recorder = Recorder()
    batcher = started(Doomed(12), threads=4, observer=recorder)
    for _ in range(12):
        with pytest.raises(BatcherDied):
            ask(batcher, "a")
    for _ in range(12):
        assert recorder.deaths.acquire(timeout=HUNG)
    with Nursery() as nursery:
        for number in range(8):
            nursery.start(ask, batcher, str(number))
    assert not recorder.deaths.acquire(blocking=False)
    assert len(started.threads) == 16


def test_clients_in_several_threads_are_merged_and_each_gets_its_own(started: Started) -> None:
    upstream = FakeUpstream()
    batcher = started(upstream, wait=HUNG, max_batch_size=16)

    def client(text: str) -> None:
        assert ask(batcher, text) == [vector_of(f'"{text}"'.encode())]

    with Nursery() as nursery:
        for number in range(64):
            nursery.start(client, f"text {number}")
    assert upstream.sizes == [16, 16, 16, 16]


def test_a_thread_wakes_by_itself_for_a_partial_batch(started: Started) -> None:
    batcher = started(FakeUpstream(), threads=4, wait=0.02)
    for number in range(5):
        began = SystemClock().now()
        assert ask(batcher, str(number))
        assert 0.02 <= SystemClock().now() - began < 0.5


def test_one_client_alone_waits_for_no_other_under_adaptive_timing(started: Started) -> None:
    batcher = started(FakeUpstream(), threads=4, timing=lambda: AdaptiveTiming(32, 5.0))
    began = SystemClock().now()
    for number in range(50):
        ask(batcher, str(number))
    assert SystemClock().now() - began < 2.0


def test_a_refused_batch_waits_for_the_search_of_another_to_end(started: Started) -> None:
    inside = threading.Semaphore(0)
    go_on = threading.Event()
    at_once = []

    class Slow(PickyUpstream):
        def send(self, batch: Batch) -> Answer:
            if batch.reason == ISOLATION:
                at_once.append(1)
                inside.release()
                assert go_on.wait(HUNG)
                assert len(at_once) == 1
                at_once.pop()
            return super().send(batch)

    batcher = started(Slow(FakeClock(), bad=["bad 0", "bad 1"]), threads=2, wait=60.0, max_batch_size=2)
    calls = [submitted(batcher, text) for text in ("bad 0", "good 0", "bad 1", "good 1")]
    assert inside.acquire(timeout=HUNG)
    batcher.queue.drain()  # items that return need not wait for a batch to fill
    go_on.set()
    for call in calls[0::2]:
        with pytest.raises(UpstreamRejected, match="too long"):
            batcher.result(call)
    assert [batcher.result(call) for call in calls[1::2]] == [
        [vector_of(item)] for item in items_of("good 0", "good 1")
    ]


# The end


def test_stop_answers_what_was_accepted_and_ends_the_threads(started: Started) -> None:
    upstream = Gated()
    batcher = started(upstream, max_batch_size=1)
    calls = [submitted(batcher, str(number)) for number in range(6)]
    with Nursery() as nursery:
        nursery.start(batcher.stop, HUNG)
        upstream.arrived.acquire(timeout=HUNG)
        upstream.gate.set()
        assert [batcher.result(call) for call in calls] == [own_results(call) for call in calls]
    assert [thread.is_alive() for thread in started.threads] == [False, False]
    with pytest.raises(ShuttingDown):
        ask(batcher, "late")


def test_stop_does_not_wait_for_threads_that_idled_while_the_last_permits_were_in_use(started: Started) -> None:
    upstream = Gated()
    batcher = started(upstream, threads=4, max_batch_size=2, max_inflight_items=2)
    calls = [submitted(batcher, "a", "b"), submitted(batcher, "c", "d")]
    upstream.arrived.acquire(timeout=HUNG)
    began = SystemClock().now()
    with Nursery() as nursery:
        nursery.start(batcher.stop, HUNG)
        upstream.gate.set()
        assert [batcher.result(call) for call in calls] == [own_results(call) for call in calls]
    assert SystemClock().now() - began < HUNG / 2


def test_stop_fails_what_a_hanging_upstream_keeps(started: Started) -> None:
    upstream = Gated()
    batcher = started(upstream, threads=1, max_batch_size=1)
    calls = [submitted(batcher, "a"), submitted(batcher, "b")]
    upstream.arrived.acquire(timeout=HUNG)
    batcher.stop(timeout=0.01)
    for call in calls:
        with pytest.raises(ShuttingDown):
            batcher.result(call)
    upstream.gate.set()
    for thread in started.threads:
        thread.join(HUNG)
    assert (batcher.queue.calls, batcher.queue.queued_items, batcher.queue.in_flight_items) == (0, 0, 0)


def test_threads_have_names_and_keep_no_process_alive_and_end_when_the_batcher_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Batcher, "SUPERVISION_PERIOD", 10 * HUNG)
    clock = SystemClock()
    batcher = Batcher(queue_of(clock), FakeUpstream(), clock, threads=2)  # type: ignore[arg-type]
    before = set(threading.enumerate())
    batcher.start()
    threads = sorted(set(threading.enumerate()) - before, key=lambda thread: thread.name)
    try:
        assert [thread.name for thread in threads] == ["batcher", "batcher", "batcher-supervisor"]
        assert all(thread.daemon for thread in threads)
    finally:
        batcher.stop(HUNG)
    for thread in threads:
        thread.join(HUNG)
        assert not thread.is_alive()
