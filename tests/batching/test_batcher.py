"""The batcher sends what is due, hands each client its own results, and outlives its own threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from batching import AdaptiveTiming, Batcher, BatchKey, BatchReport, FixedTiming, SystemClock
from batching.errors import (
    BatcherDied,
    DeadlineExceeded,
    ProxyError,
    ShuttingDown,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
)
from tests.support.concurrency import Nursery
from tests.support.fakes import FakeClock, FakeUpstream, call_of, queue_of, vector_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batching import Batch, BatchQueue, Call, Upstream

NOT_NORMALIZED = BatchKey("/embed", b',"normalize":false')
# Seconds after which a test with real threads has hung.
PATIENCE = 10.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.reports: list[BatchReport] = []
        self.deaths = threading.Semaphore(0)

    def on_batch(self, report: BatchReport) -> None:
        self.reports.append(report)

    def on_thread_death(self) -> None:
        self.deaths.release()


class BrokenObserver:
    def on_batch(self, report: BatchReport) -> None:
        raise ZeroDivisionError

    def on_thread_death(self) -> None:
        raise ZeroDivisionError


class Bench:
    """A batcher whose one thread is the test's own: ``run`` sends all there is and all that is scheduled."""

    def __init__(self, clock: FakeClock, upstream: Upstream, **limits: int) -> None:
        self.clock = clock
        self.queue: BatchQueue = queue_of(clock, **limits)
        self.recorder = Recorder()
        self.batcher = Batcher(self.queue, upstream, clock, threads=1, observers=[BrokenObserver(), self.recorder])

    def submit(self, *texts: str, at: float = 0.0, **options: object) -> Call:
        call = call_of(*texts, **options)  # type: ignore[arg-type]
        self.clock.at(at, lambda: self.batcher.submit(call))
        return call

    def run(self, close_at: float = 1000.0) -> None:
        self.clock.at(close_at, self.queue.close)
        self.batcher.run()


def own_results(call: Call) -> list[bytes]:
    return [vector_of(item) for item in call.items]


# On the fake clock, no threads


def test_ten_clients_share_one_call_100_ms_after_the_first(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    bench = Bench(clock, upstream)
    calls = [bench.submit(f"text {number}", at=1 + number / 1000) for number in range(10)]
    bench.run()
    assert upstream.sizes == [10]
    assert upstream.batches[0].taken_at == pytest.approx(1.1)
    assert [bench.batcher.result(call) for call in calls] == [own_results(call) for call in calls]


def test_32_clients_at_once_share_one_call_sent_at_once(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    bench = Bench(clock, upstream)
    for number in range(32):
        bench.submit(f"text {number}", at=1.0)
    bench.run()
    assert upstream.sizes == [32]
    assert upstream.batches[0].taken_at == 1.0


def test_100_texts_travel_in_four_calls_and_come_back_in_order(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    bench = Bench(clock, upstream)
    call = bench.submit(*[f"text {number}" for number in range(100)])
    bench.run()
    assert upstream.sizes == [32, 32, 32, 4]
    assert bench.batcher.result(call) == own_results(call)


def test_requests_with_different_options_never_share_a_call(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    bench = Bench(clock, upstream)
    calls = [bench.submit("text", key=key) for key in (NOT_NORMALIZED, BatchKey("/embed"), NOT_NORMALIZED)]
    bench.run()
    assert [(batch.key, len(batch.items)) for batch in upstream.batches] == [
        (NOT_NORMALIZED, 2),
        (BatchKey("/embed"), 1),
    ]
    assert all(bench.batcher.result(call) == own_results(call) for call in calls)


def test_an_error_reaches_every_client_of_the_batch_as_its_own_exception(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    upstream.failures = [UpstreamOverloaded("too much", retry_after=7)]
    bench = Bench(clock, upstream)
    calls = [bench.submit("a"), bench.submit("b")]
    bench.run()
    errors = []
    for call in calls:
        with pytest.raises(UpstreamOverloaded, match="too much") as raised:
            bench.batcher.result(call)
        errors.append(raised.value)
    assert errors[0] is not errors[1]
    assert [error.retry_after for error in errors] == [7, 7]


def test_an_error_with_a_status_of_its_own_keeps_it(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    upstream.failures = [UpstreamRejected("no such prompt", status=422, error_type="Tokenizer")]
    bench = Bench(clock, upstream)
    call = bench.submit("a")
    bench.run()
    with pytest.raises(UpstreamRejected) as raised:
        bench.batcher.result(call)
    assert (raised.value.status, raised.value.error_type) == (422, "Tokenizer")


def test_a_bug_in_sending_costs_the_batch_but_not_the_thread(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    upstream.failures = [KeyError("a secret")]
    bench = Bench(clock, upstream)
    first, second = bench.submit("a"), bench.submit("b", at=1.0)
    bench.run()
    with pytest.raises(ProxyError, match="unexpected KeyError") as raised:
        bench.batcher.result(first)
    assert raised.value.status == 500
    assert "secret" not in str(raised.value)
    assert bench.batcher.result(second) == own_results(second)


def test_too_few_results_give_nobody_a_vector(clock: FakeClock) -> None:
    class Forgetful(FakeUpstream):
        def send(self, batch: Batch) -> list[bytes]:
            return super().send(batch)[1:]

    bench = Bench(clock, Forgetful(clock))
    calls = [bench.submit("a"), bench.submit("b")]
    bench.run()
    for call in calls:
        with pytest.raises(UpstreamProtocolError, match="1 results came for 2"):
            bench.batcher.result(call)


def test_a_client_whose_deadline_passes_while_its_batch_is_upstream_is_told_then(clock: FakeClock) -> None:
    bench = Bench(clock, FakeUpstream(clock, latency=lambda size: 10.0))
    patient, hasty = bench.submit("a"), bench.submit("b", deadline=5.0)
    seen: list[tuple[float, str]] = []

    def wait_as_the_hasty_client() -> None:
        with pytest.raises(DeadlineExceeded):
            bench.batcher.result(hasty)
        seen.append((clock.now(), "hasty"))

    clock.at(0.2, wait_as_the_hasty_client)
    bench.run()
    assert seen == [(5.0, "hasty")]
    assert bench.batcher.result(patient) == own_results(patient)
    assert bench.queue.calls == 0


def test_a_waiter_whose_patience_ends_as_its_call_ends_does_not_keep_the_next_from_waking(clock: FakeClock) -> None:
    bench = Bench(clock, FakeUpstream(clock))
    first, second = call_of("a", deadline=1.0), call_of("b")
    bench.batcher.submit(first)
    bench.batcher.submit(second)
    batch = bench.queue.take()
    assert batch is not None
    ended = bench.queue.settle(batch, own_results(first) + own_results(second), None)
    assert ended == [first, second]
    # The batcher thread has not come round to waking anybody, and time is up for the first.
    assert bench.batcher.result(first) == own_results(first)
    assert second.event.is_set()


def test_observers_learn_what_became_of_each_batch(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock, latency=lambda size: 0.5)
    upstream.failures = [UpstreamOverloaded("too much")]
    bench = Bench(clock, upstream)
    bench.submit("a", at=1.0)
    bench.submit("b", "c", at=1.04)
    bench.submit("d", at=5.0)
    bench.run()
    first, second = bench.recorder.reports
    assert (first.route, first.size, first.reason, first.outcome) == ("/embed", 3, "max_wait", "error")
    assert first.queue_delays == [(pytest.approx(0.1), 1), (pytest.approx(0.06), 2)]
    assert first.latency == pytest.approx(0.5)
    assert isinstance(first.error, UpstreamOverloaded)
    assert (second.size, second.outcome, second.error) == (1, "ok", None)


def test_a_call_tells_how_it_was_batched(clock: FakeClock) -> None:
    bench = Bench(clock, FakeUpstream(clock, latency=lambda size: 0.5))
    call = bench.submit("a", at=1.0)
    bench.run()
    assert (call.batch_size, call.reason) == (1, "max_wait")
    assert (call.queue_delay, call.inference_time) == (pytest.approx(0.1), pytest.approx(0.5))


# Real threads


class Doomed(FakeUpstream):
    """Kills the first threads that come, as a bug or an interpreter shutting down would."""

    def __init__(self, deaths: int) -> None:
        super().__init__()
        self.deaths = deaths

    def send(self, batch: Batch) -> list[bytes]:
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

    def send(self, batch: Batch) -> list[bytes]:
        self.arrived.release()
        self.gate.wait(PATIENCE)
        return super().send(batch)


@pytest.fixture
def started() -> Iterator[Callable[..., Batcher]]:
    """Start batchers with real threads on the real clock, and stop them afterwards."""
    batchers: list[Batcher] = []

    def start(upstream: Upstream, *, threads: int = 2, wait: float = 0.0, **options: object) -> Batcher:
        observers = options.pop("observers", ())
        timing = options.pop("timing", lambda: FixedTiming(wait))
        queue = queue_of(SystemClock(), timing, **{"max_inflight_batches": threads} | options)  # type: ignore[arg-type]
        batcher = Batcher(queue, upstream, SystemClock(), threads=threads, observers=observers)  # type: ignore[arg-type]
        batcher.start()
        batchers.append(batcher)
        return batcher

    yield start
    for batcher in batchers:
        batcher.stop(timeout=0.0)


def patient_call(*texts: str) -> Call:
    return call_of(*texts, deadline=SystemClock().now() + PATIENCE)


def ask(batcher: Batcher, *texts: str) -> list[bytes]:
    call = patient_call(*texts)
    batcher.submit(call)
    return batcher.result(call)


def test_a_killed_thread_costs_its_batch_a_503_and_the_next_request_works(started: Callable[..., Batcher]) -> None:
    recorder = Recorder()
    batcher = started(Doomed(1), threads=1, observers=[BrokenObserver(), recorder])
    with pytest.raises(BatcherDied) as raised:
        ask(batcher, "a")
    assert (raised.value.status, raised.value.retry_after) == (503, 1)
    assert recorder.deaths.acquire(timeout=PATIENCE)
    assert ask(batcher, "b") == [vector_of(b'"b"')]
    assert batcher.queue.calls == 0


def test_every_thread_may_die_and_more_than_once_and_is_replaced_at_once(
    started: Callable[..., Batcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Batcher, "SUPERVISION_PERIOD", 10 * PATIENCE)
    recorder = Recorder()
    batcher = started(Doomed(12), threads=4, observers=[recorder])
    for _ in range(12):
        with pytest.raises(BatcherDied):
            ask(batcher, "a")
    for _ in range(12):
        assert recorder.deaths.acquire(timeout=PATIENCE)
    with Nursery() as nursery:
        for number in range(8):
            nursery.start(ask, batcher, str(number))
    assert not recorder.deaths.acquire(blocking=False)


def test_clients_in_several_threads_are_merged_and_each_gets_its_own(started: Callable[..., Batcher]) -> None:
    upstream = FakeUpstream()
    batcher = started(upstream, wait=PATIENCE, max_batch_size=16)

    def client(text: str) -> None:
        assert ask(batcher, text) == [vector_of(f'"{text}"'.encode())]

    with Nursery() as nursery:
        for number in range(64):
            nursery.start(client, f"text {number}")
    assert upstream.sizes == [16, 16, 16, 16]


def test_a_thread_wakes_by_itself_for_a_partial_batch(started: Callable[..., Batcher]) -> None:
    upstream = FakeUpstream()
    batcher = started(upstream, threads=4, wait=0.02)
    for number in range(5):
        began = SystemClock().now()
        assert ask(batcher, str(number))
        assert 0.02 <= SystemClock().now() - began < 0.5


def test_one_client_alone_waits_for_nobody_under_adaptive_timing(started: Callable[..., Batcher]) -> None:
    batcher = started(FakeUpstream(), threads=4, timing=lambda: AdaptiveTiming(32, 5.0))
    began = SystemClock().now()
    for number in range(50):
        ask(batcher, str(number))
    assert SystemClock().now() - began < 2.0


def test_stop_answers_what_was_accepted_and_ends_the_threads(started: Callable[..., Batcher]) -> None:
    upstream = Gated()
    batcher = started(upstream, max_batch_size=1)
    calls = [patient_call(str(number)) for number in range(6)]
    for call in calls:
        batcher.submit(call)
    with Nursery() as nursery:
        nursery.start(batcher.stop, PATIENCE)
        upstream.arrived.acquire(timeout=PATIENCE)
        upstream.gate.set()
        assert [batcher.result(call) for call in calls] == [own_results(call) for call in calls]
    assert not any(thread.is_alive() for thread in batcher._threads)
    with pytest.raises(ShuttingDown):
        ask(batcher, "late")


def test_stop_does_not_wait_for_threads_that_idled_while_the_last_permits_were_in_use(
    started: Callable[..., Batcher],
) -> None:
    upstream = Gated()
    batcher = started(upstream, threads=4, max_batch_size=2, max_inflight_items=2)
    calls = [patient_call("a", "b"), patient_call("c", "d")]
    for call in calls:
        batcher.submit(call)
    upstream.arrived.acquire(timeout=PATIENCE)
    began = SystemClock().now()
    with Nursery() as nursery:
        nursery.start(batcher.stop, PATIENCE)
        upstream.gate.set()
        assert [batcher.result(call) for call in calls] == [own_results(call) for call in calls]
    assert SystemClock().now() - began < PATIENCE / 2


def test_stop_fails_what_a_hanging_upstream_keeps(started: Callable[..., Batcher]) -> None:
    upstream = Gated()
    batcher = started(upstream, threads=1, max_batch_size=1)
    calls = [patient_call("a"), patient_call("b")]
    for call in calls:
        batcher.submit(call)
    upstream.arrived.acquire(timeout=PATIENCE)
    batcher.stop(timeout=0.01)
    for call in calls:
        with pytest.raises(ShuttingDown):
            batcher.result(call)
    upstream.gate.set()
    for thread in batcher._threads:
        thread.join(PATIENCE)
    assert (batcher.queue.calls, batcher.queue.queued_items, batcher.queue.in_flight_items) == (0, 0, 0)
