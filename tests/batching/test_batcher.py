"""The batcher sends what is due, hands each client its own results, and reports each batch. Without threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import Answer, Batcher, BatchKey, BatchReport, Observer, Observers, Options, Task
from batching.errors import (
    DeadlineExceeded,
    ProxyError,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
)
from tests.batching.queue.steps import lane_of
from tests.support.fakes import KEY, FakeClock, FakeUpstream, call_of, queue_of, results_of, succeed, take, vector_of

if TYPE_CHECKING:
    from batching import Batch, BatchQueue, Call, Sender

NOT_NORMALIZED = BatchKey(Task.EMBED, Options(normalize=False))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Recorder(Observer):
    """An observer that remembers."""

    def __init__(self) -> None:
        self.reports: list[BatchReport] = []

    def on_batch(self, report: BatchReport) -> None:
        self.reports.append(report)


class BrokenObserver(Observer):
    def on_batch(self, report: BatchReport) -> None:
        raise ZeroDivisionError


class BatcherBench:
    """A batcher whose one thread is the test's own: ``run`` sends all there is and all that is scheduled."""

    def __init__(self, clock: FakeClock, upstream: Sender, **bounds: int) -> None:
        self.clock = clock
        self.queue: BatchQueue = queue_of(clock, **bounds)  # type: ignore[arg-type]
        self.recorder = Recorder()
        observers = Observers(BrokenObserver(), self.recorder)
        self.batcher = Batcher(self.queue, upstream, clock, threads=1, observer=observers)

    def submit(self, *texts: str, at: float = 0.0, key: BatchKey = KEY, deadline: float = 1e9) -> Call:
        call = call_of(*texts, key=key, deadline=deadline)
        self.clock.at(at, lambda: self.batcher.submit(call))
        return call

    def run(self, close_at: float = 1000.0) -> None:
        self.clock.at(close_at, self.queue.close)
        self.batcher.run()


def own_results(call: Call) -> list[bytes]:
    return [vector_of(item) for item in call.items]


def test_ten_clients_share_one_call_100_ms_after_the_first(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    bench = BatcherBench(clock, upstream)
    calls = [bench.submit(f"text {number}", at=1 + number / 1000) for number in range(10)]
    bench.run()
    assert upstream.sizes == [10]
    assert upstream.batches[0].taken_at == pytest.approx(1.1)
    assert [bench.batcher.result(call) for call in calls] == [own_results(call) for call in calls]


def test_32_clients_at_once_share_one_call_sent_at_once(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    bench = BatcherBench(clock, upstream)
    for number in range(32):
        bench.submit(f"text {number}", at=1.0)
    bench.run()
    assert upstream.sizes == [32]
    assert upstream.batches[0].taken_at == 1.0


def test_100_texts_travel_in_four_calls_and_come_back_in_order(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    bench = BatcherBench(clock, upstream)
    call = bench.submit(*[f"text {number}" for number in range(100)])
    bench.run()
    assert upstream.sizes == [32, 32, 32, 4]
    assert bench.batcher.result(call) == own_results(call)


def test_requests_with_different_options_never_share_a_call(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    bench = BatcherBench(clock, upstream)
    calls = [bench.submit("text", key=key) for key in (NOT_NORMALIZED, KEY, NOT_NORMALIZED)]
    bench.run()
    assert [(batch.key, len(batch.items)) for batch in upstream.batches] == [(NOT_NORMALIZED, 2), (KEY, 1)]
    assert all(bench.batcher.result(call) == own_results(call) for call in calls)


# Errors


def test_an_error_reaches_every_client_of_the_batch_as_its_own_exception(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    upstream.failures = [UpstreamOverloaded("too much", retry_after=7)]
    bench = BatcherBench(clock, upstream)
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
    bench = BatcherBench(clock, upstream)
    call = bench.submit("a")
    bench.run()
    with pytest.raises(UpstreamRejected) as raised:
        bench.batcher.result(call)
    assert (raised.value.status, raised.value.error_type) == (422, "Tokenizer")


def test_a_bug_in_sending_costs_the_batch_but_not_the_thread(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    upstream.failures = [KeyError("a secret")]
    bench = BatcherBench(clock, upstream)
    first, second = bench.submit("a"), bench.submit("b", at=1.0)
    bench.run()
    with pytest.raises(ProxyError, match="unexpected KeyError") as raised:
        bench.batcher.result(first)
    assert raised.value.status == 500
    assert "secret" not in str(raised.value)
    assert bench.batcher.result(second) == own_results(second)


def test_too_few_results_give_no_client_a_vector(clock: FakeClock) -> None:
    class Forgetful(FakeUpstream):
        def send(self, batch: Batch) -> Answer:
            return Answer(super().send(batch).results[1:])

    bench = BatcherBench(clock, Forgetful(clock))
    calls = [bench.submit("a"), bench.submit("b")]
    bench.run()
    for call in calls:
        with pytest.raises(UpstreamProtocolError, match="1 results came for 2"):
            bench.batcher.result(call)


def test_a_kept_error_holds_on_to_no_frame(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock)
    upstream.failures = [UpstreamOverloaded("too much")]
    bench = BatcherBench(clock, upstream)
    call = bench.submit("a")
    bench.run()
    assert call.error is not None
    assert call.error.__traceback__ is None


# Waiters


def test_to_ask_is_to_submit_a_call_and_wait_for_its_results(clock: FakeClock) -> None:
    bench = BatcherBench(clock, FakeUpstream(clock))
    clock.at(0.5, lambda: bench.batcher.dispatch(take(bench.queue)))
    call = call_of("a", "b", deadline=5.0)
    assert bench.batcher.ask(call) == own_results(call)
    assert clock.now() == 0.5
    with pytest.raises(DeadlineExceeded):
        bench.batcher.ask(call_of("a", deadline=2.0))
    assert (clock.now(), bench.queue.calls) == (2.0, 0)


def test_a_client_whose_deadline_passes_while_its_batch_is_upstream_is_told_then(clock: FakeClock) -> None:
    bench = BatcherBench(clock, FakeUpstream(clock, latency=lambda size: 10.0))
    late, early = bench.submit("a"), bench.submit("b", deadline=5.0)
    seen: list[float] = []

    def wait_as_the_client_with_the_early_deadline() -> None:
        with pytest.raises(DeadlineExceeded):
            bench.batcher.result(early)
        seen.append(clock.now())

    clock.at(0.2, wait_as_the_client_with_the_early_deadline)
    bench.run()
    assert seen == [5.0]
    assert bench.batcher.result(late) == own_results(late)
    assert bench.queue.calls == 0


def test_a_waiter_that_times_out_as_its_call_ends_still_wakes_the_next(clock: FakeClock) -> None:
    bench = BatcherBench(clock, FakeUpstream(clock))
    first, second = call_of("a", deadline=1.0), call_of("b")
    bench.batcher.submit(first)
    bench.batcher.submit(second)
    assert succeed(bench.queue, take(bench.queue)) == [first, second]
    # The batcher thread has not yet woken the first waiter, whose time is up.
    assert bench.batcher.result(first) == own_results(first)
    assert second.event.is_set()


def test_a_batch_wakes_its_first_waiter_and_each_waiter_the_next(clock: FakeClock) -> None:
    bench = BatcherBench(clock, FakeUpstream(clock))
    calls = [call_of(text) for text in "abc"]
    for call in calls:
        bench.batcher.submit(call)
    bench.batcher.dispatch(take(bench.queue))
    for woken in (1, 2, 3):
        assert [call.event.is_set() for call in calls] == [True] * woken + [False] * (3 - woken)
        bench.batcher.result(calls[woken - 1])


# What is told of a batch


def test_observers_learn_what_became_of_each_batch(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock, latency=lambda size: 0.5)
    upstream.failures = [UpstreamOverloaded("too much")]
    bench = BatcherBench(clock, upstream)
    bench.submit("a", at=1.0)
    bench.submit("b", "c", at=1.04)
    bench.submit("d", at=5.0)
    bench.run()
    first, second = bench.recorder.reports
    assert (first.task, first.size, first.reason, first.outcome) == (Task.EMBED, 3, "max_wait", "error")
    assert first.queue_delays == [(pytest.approx(0.1), 1), (pytest.approx(0.06), 2)]
    assert first.latency == pytest.approx(0.5)
    assert isinstance(first.error, UpstreamOverloaded)
    assert (second.size, second.outcome, second.error) == (1, "ok", None)


def test_a_batch_is_reported_when_its_waiters_are_awake(clock: FakeClock) -> None:
    call = call_of("a")
    awake: list[bool] = []

    class Looking(Observer):
        def on_batch(self, report: BatchReport) -> None:
            awake.append(call.event.is_set())

    queue = queue_of(clock)
    batcher = Batcher(queue, FakeUpstream(clock), clock, threads=1, observer=Looking())
    batcher.submit(call)
    batcher.dispatch(take(queue))
    assert awake == [True]


def test_a_call_over_two_batches_is_reported_with_its_share_in_each(clock: FakeClock) -> None:
    bench = BatcherBench(clock, FakeUpstream(clock), max_batch_size=2)
    bench.batcher.submit(call_of("a", "b", "c"))
    bench.run(close_at=0.0)
    assert [report.queue_delays for report in bench.recorder.reports] == [[(0.0, 2)], [(0.0, 1)]]


def test_a_batcher_needs_no_observer(clock: FakeClock) -> None:
    queue = queue_of(clock)
    batcher = Batcher(queue, FakeUpstream(clock), clock, threads=1)
    batcher.submit(call_of("a"))
    batch = take(queue)
    batcher.dispatch(batch)
    assert batch.parts[0].call.results == results_of(batch)


def test_a_call_tells_how_it_was_batched(clock: FakeClock) -> None:
    bench = BatcherBench(clock, FakeUpstream(clock, latency=lambda size: 0.5))
    call = bench.submit("a", at=1.0)
    bench.run()
    assert (call.batch_size, call.reason) == (1, "max_wait")
    assert (call.queue_delay, call.inference_time) == (pytest.approx(0.1), pytest.approx(0.5))


def test_a_refused_batch_and_the_search_through_it_teach_no_latency(clock: FakeClock) -> None:
    upstream = FakeUpstream(clock, latency=lambda size: 1.0)
    bench = BatcherBench(clock, upstream, max_batch_size=2)
    for refusals, latency in ((1, 0.0), (0, 1.0)):
        upstream.failures = [UpstreamRejected("refused", status=422)] * refusals
        calls = [call_of("a"), call_of("b")]
        for call in calls:
            bench.batcher.submit(call)
        bench.batcher.dispatch(take(bench.queue))
        assert all(call.done for call in calls)
        assert lane_of(bench.queue).latency == latency
