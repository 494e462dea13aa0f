"""The exact edges of what an upstream is trusted with: breaker, window, budget, verdicts and the pool's choices."""

from __future__ import annotations

import pytest

from batching import Batch, CallReport, Observer
from batching.budget import Budget
from batching.errors import (
    NoUpstream,
    UpstreamBroke,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
)
from batching.isolation.verdicts import MAX_VERDICTS, VERDICT_TTL, Verdicts
from tests.support.fakes import KEY, FakeClock, FakeUpstream, call_of, items_of, limits_of
from upstream.breaker import Breaker, Window
from upstream.pool import BACKOFF, HUNG, UpstreamPool

REFUSAL = UpstreamRejected("too long", status=422)


# Budget


def test_a_budget_is_spent_down_to_the_last_whole_token() -> None:
    budget = Budget(share=0.5, floor=2.0)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    budget.earn()
    assert not budget.spend()
    budget.earn()
    assert budget.spend()
    assert not budget.spend()


def test_a_budget_saves_up_no_more_than_it_began_with() -> None:
    budget = Budget(share=0.75, floor=2.0)
    budget.spend()
    for _ in range(10):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]


# Breaker and window


def test_a_batch_sent_at_the_very_moment_of_a_cut_counts_as_sent_after_it() -> None:
    window = Window(8)
    window.cut(sent_at=0.0, now=1.0)
    window.cut(sent_at=0.9, now=1.1)
    assert window.size == 4
    window.cut(sent_at=1.0, now=2.0)
    assert window.size == 2


def test_a_window_never_grows_beyond_where_it_began() -> None:
    window = Window(2)
    window.cut(0.0, 1.0)
    for _ in range(10):
        window.grow()
    assert window.size == 2


def test_a_probe_is_wanted_from_the_very_moment_its_time_is_over() -> None:
    breaker = Breaker()
    for _ in range(Breaker.FAILURES):
        breaker.failed(10.0)
    assert not breaker.wants_probe(10.0 + Breaker.FIRST - 0.001)
    assert breaker.wants_probe(10.0 + Breaker.FIRST)


def test_readmission_does_not_put_off_a_time_that_is_over_already() -> None:
    breaker = Breaker()
    for _ in range(Breaker.FAILURES):
        breaker.failed(-10.0)
    breaker.readmit()
    assert breaker.until == -10.0 + Breaker.FIRST


def test_readmission_opens_nothing_that_was_closed() -> None:
    breaker = Breaker()
    breaker.readmit()
    assert breaker.is_closed


def test_success_forgets_how_long_it_was_open() -> None:
    breaker = Breaker()
    for _ in range(2):
        for _ in range(Breaker.FAILURES):
            breaker.failed(10.0)
        assert breaker.until == 10.0 + Breaker.FIRST
        breaker.succeeded()


# Verdicts


def test_clearing_an_input_that_nobody_held_anything_against_is_no_mistake() -> None:
    verdicts = Verdicts(FakeClock())
    suspect, stranger = items_of("suspect", "stranger")
    verdicts.suspect(KEY, suspect)
    verdicts.clear(KEY, stranger)
    assert verdicts.look_up(KEY, [suspect]) == (None, True)
    verdicts.clear(KEY, suspect)
    assert verdicts.look_up(KEY, [suspect]) == (None, False)


def test_a_verdict_ends_exactly_with_its_time() -> None:
    clock = FakeClock()
    verdicts = Verdicts(clock)
    (item,) = items_of("guilty")
    verdicts.convict(KEY, item, REFUSAL)
    clock.time = VERDICT_TTL - 0.001
    assert verdicts.look_up(KEY, [item]) == (REFUSAL, True)
    clock.time = VERDICT_TTL
    assert verdicts.look_up(KEY, [item]) == (None, False)
    assert not verdicts._known


def test_only_what_is_over_is_forgotten() -> None:
    clock = FakeClock()
    verdicts = Verdicts(clock)
    old, older, new = items_of("old", "older", "new")
    verdicts.suspect(KEY, older)
    verdicts.suspect(KEY, old)
    clock.time = 1.0
    verdicts.suspect(KEY, new)
    clock.time = VERDICT_TTL
    assert verdicts.look_up(KEY, [older, old]) == (None, False)
    assert verdicts.look_up(KEY, [new]) == (None, True)


def test_a_verdict_that_is_renewed_becomes_the_newest() -> None:
    clock = FakeClock()
    verdicts = Verdicts(clock)
    items = items_of(*(str(number) for number in range(MAX_VERDICTS)))
    for item in items:
        verdicts.suspect(KEY, item)
    verdicts.suspect(KEY, items[0])
    assert len(verdicts._known) == MAX_VERDICTS
    verdicts.suspect(KEY, b'"one more"')
    assert len(verdicts._known) == MAX_VERDICTS
    assert verdicts.look_up(KEY, [items[0]]) == (None, True)
    assert verdicts.look_up(KEY, [items[1]]) == (None, False)
    assert verdicts.look_up(KEY, [items[2]]) == (None, True)


def test_a_verdict_counts_more_than_a_suspicion_before_or_after_it() -> None:
    verdicts = Verdicts(FakeClock())
    suspect, guilty, innocent = items_of("suspect", "guilty", "innocent")
    verdicts.suspect(KEY, suspect)
    verdicts.convict(KEY, guilty, REFUSAL)
    assert verdicts.look_up(KEY, [innocent, suspect, guilty]) == (REFUSAL, True)
    assert verdicts.look_up(KEY, [innocent, suspect]) == (None, True)
    assert verdicts.look_up(KEY, [innocent]) == (None, False)


def test_a_verdict_holds_for_its_route_and_options_only() -> None:
    verdicts = Verdicts(FakeClock())
    (item,) = items_of("guilty")
    verdicts.convict(KEY, item, REFUSAL)
    assert verdicts.look_up(KEY._replace(options=b',"a":1'), [item]) == (None, False)
    assert verdicts.look_up(KEY._replace(route="/other"), [item]) == (None, False)


# Pool


class Bench:
    """A pool of several upstreams on the fake clock; what jitter is asked for is noted, and it adds nothing."""

    def __init__(self, count: int = 1, each: int = 4) -> None:
        self.clock = FakeClock()
        self.upstreams = [FakeUpstream(self.clock) for _ in range(count)]
        for number, upstream in enumerate(self.upstreams):
            upstream.url = f"http://{number}"
        self.jitters: list[tuple[float, float]] = []
        self.limits = limits_of(max_inflight_batches=each * count)
        self.pool = UpstreamPool(self.upstreams, self.limits, each, self.clock, jitter=self._jitter)
        self.states = self.pool._upstreams

    def _jitter(self, low: float, high: float) -> float:
        self.jitters.append((low, high))
        return 0.0

    def send(self, patience: float = 1e9) -> list[bytes]:
        batch = Batch(KEY, "full", self.clock.now())
        batch.add(call_of("text", deadline=self.clock.now() + patience), 1)
        return self.pool.send(batch)

    def fail(self, patience: float = 1e9) -> UpstreamError:
        with pytest.raises(UpstreamError) as raised:
            self.send(patience)
        return raised.value

    def eject(self, number: int) -> None:
        for _ in range(Breaker.FAILURES):
            self.states[number].breaker.failed(self.clock.now())

    @property
    def asked(self) -> list[int]:
        return [len(upstream.batches) for upstream in self.upstreams]


def busy(pause: float) -> UpstreamOverloaded:
    error = UpstreamOverloaded("busy")
    error.too_much, error.pause = True, pause
    return error


def test_a_retry_goes_elsewhere_even_where_elsewhere_is_busier() -> None:
    bench = Bench(2)
    bench.states[1].in_flight = 3
    bench.upstreams[0].failures = [UpstreamBroke("reset")]
    bench.send()
    assert bench.asked == [1, 1]
    assert [state.in_flight for state in bench.states] == [0, 3]


@pytest.mark.parametrize(("pause", "most"), [(0.0, BACKOFF), (0.5, BACKOFF), (5.0, 0.5)])
def test_a_retry_at_the_same_upstream_waits_up_to_a_tenth_more_than_it_asked_for(pause: float, most: float) -> None:
    bench = Bench()
    bench.upstreams[0].failures = [busy(pause)]
    bench.send()
    assert bench.jitters == [(0.0, most)]
    assert bench.clock.time == pause


def test_a_retry_that_could_begin_only_at_the_deadline_is_not_made() -> None:
    bench = Bench()
    bench.upstreams[0].failures = [busy(2.0)]
    assert bench.fail(patience=2.0).message == "busy"
    assert bench.states[0].in_flight == 0
    assert bench.clock.time == 0.0


@pytest.mark.parametrize(("pause", "told"), [(0.5, 1.0), (3.0, 3.0)])
def test_who_cannot_wait_for_a_pause_to_end_is_told_how_long_it_lasts(pause: float, told: float) -> None:
    bench = Bench()
    bench.states[0].not_before = pause
    assert bench.fail(patience=pause).retry_after == told
    assert bench.asked == [0]
    assert bench.states[0].in_flight == 0


def test_who_has_just_longer_than_the_pause_waits_for_its_end() -> None:
    bench = Bench()
    bench.states[0].not_before = 3.0
    bench.send(patience=3.001)
    assert bench.clock.time == 3.0


def test_waiting_for_the_pause_does_not_count_as_the_upstreams_time() -> None:
    bench = Bench()
    bench.states[0].not_before = 3.0
    bench.upstreams[0].failures = [busy(0.0), busy(0.0)]
    bench.fail()
    # The window was last cut at 3.0, for a call that went out then and not at 0.0.
    assert bench.states[0].window.size == 1
    assert bench.clock.time == 3.0


def test_a_pause_that_is_over_holds_nobody() -> None:
    bench = Bench()
    bench.states[0].not_before = bench.clock.now()
    bench.send(patience=0.001)
    assert bench.clock.time == 0.0


def test_a_shorter_pause_asked_for_later_does_not_end_a_longer_one() -> None:
    bench = Bench()
    state = bench.states[0]
    bench.pool._note(state, busy(10.0), 0.0, 0.0)
    bench.pool._note(state, busy(2.0), 1.0, 1.0)
    assert state.not_before == 10.0
    bench.pool._note(state, busy(20.0), 2.0, 2.0)
    assert state.not_before == 22.0


def test_when_all_are_left_out_the_client_is_told_when_the_first_comes_back() -> None:
    bench = Bench(2)
    bench.clock.time = 10.0
    bench.states[0].breaker._pause = 16.0
    bench.eject(0)
    bench.states[1].breaker._pause = 4.0
    bench.eject(1)
    assert isinstance(error := bench.fail(), NoUpstream)
    assert error.retry_after == 4.0
    bench.clock.time = 13.5
    assert bench.fail().retry_after == 1.0
    assert bench.asked == [0, 0]


def test_an_upstream_that_is_due_for_a_probe_goes_first() -> None:
    bench = Bench(3)
    bench.eject(1)
    bench.send()
    bench.clock.time = Breaker.FIRST
    bench.send()
    assert bench.asked == [1, 1, 0]
    assert bench.states[1].breaker.is_closed


def test_a_retry_may_be_the_probe_of_another_but_not_of_the_one_that_failed() -> None:
    bench = Bench(2)
    bench.eject(0)
    bench.clock.time = Breaker.FIRST
    bench.upstreams[0].failures = [UpstreamBroke("reset")]
    bench.send()
    assert bench.asked == [1, 1]
    assert not bench.states[0].breaker.is_closed


def test_a_refusal_closes_the_breaker_but_only_a_closed_one_lets_the_window_grow() -> None:
    bench = Bench()
    state = bench.states[0]
    state.window.cut(0.0, 0.0)
    bench.eject(0)
    bench.pool._note(state, REFUSAL, 1.0, 1.0)
    assert state.breaker.is_closed
    assert state.window._size == 2.0
    bench.pool._note(state, REFUSAL, 1.0, 1.0)
    assert state.window._size == 2.5


def test_the_queue_gives_out_as_many_batches_as_those_bear_that_are_not_left_out() -> None:
    bench = Bench(2, each=3)
    bench.eject(0)
    bench.pool._adapt()
    assert bench.limits.max_inflight_batches == 3
    bench.eject(1)
    bench.pool._adapt()
    assert bench.limits.max_inflight_batches == 1


def test_only_the_upstream_that_was_seen_is_readmitted() -> None:
    bench = Bench(2)
    bench.clock.time = 10.0
    bench.eject(0)
    bench.eject(1)
    bench.pool.on_state("http://1", ready=False)
    assert not bench.states[1].breaker.wants_probe(10.0)
    bench.pool.on_state("http://1", ready=True)
    assert [state.breaker.wants_probe(10.0) for state in bench.states] == [False, True]


class Noting(Observer):
    def __init__(self) -> None:
        self.reports: list[CallReport] = []

    def on_call(self, report: CallReport) -> None:
        self.reports.append(report)


def test_observers_are_told_all_there_is_to_know_of_a_call() -> None:
    clock, noting = FakeClock(), Noting()
    clock.time = 100.0
    upstream = FakeUpstream(clock, latency=lambda size: 0.25 * size)
    pool = UpstreamPool([upstream], limits_of(), 4, clock, observers=[noting], jitter=lambda low, high: high)
    error = UpstreamBroke("reset")
    upstream.failures = [error]
    batch = Batch(KEY, "crowd", clock.now())
    batch.add(call_of("a", "b"), 2)
    pool.send(batch)
    assert noting.reports == [
        CallReport("http://upstream", 2, "crowd", None, 0.5, error),
        CallReport("http://upstream", 2, "crowd", "broken", 0.5, None),
    ]


def test_of_those_equally_busy_the_one_asked_least_is_next() -> None:
    bench = Bench(3)
    for expected in ([1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]):
        bench.send()
        assert bench.asked == expected
    assert [state.calls for state in bench.states] == [2, 1, 1]
    assert [state.in_flight for state in bench.states] == [0, 0, 0]


def test_every_call_under_way_is_counted() -> None:
    bench = Bench(2)
    first, second, third = (bench.pool._choose(None) for _ in range(3))
    assert (first, second, third) == (bench.states[0], bench.states[1], bench.states[0])
    assert [state.in_flight for state in bench.states] == [2, 1]
    bench.pool._note(first, None, 0.0, 0.0)
    assert [state.in_flight for state in bench.states] == [1, 1]


def test_a_pause_that_ends_now_is_no_reason_to_pass_an_upstream_over() -> None:
    bench = Bench(2)
    bench.states[0].not_before = bench.clock.time = 5.0
    bench.send()
    assert bench.asked == [1, 0]


def test_a_call_that_hung_is_one_that_took_its_time_wherever_the_clock_stands() -> None:
    bench = Bench()
    bench.clock.time = 1000.0
    state = bench.states[0]
    for _ in range(2 * Breaker.FAILURES):
        state.in_flight += 1
        assert not bench.pool._note(state, UpstreamTimeout("in a hurry"), 1000.0, 1000.0 + HUNG - 0.001)
    for _ in range(Breaker.FAILURES):
        state.in_flight += 1
        ejected = bench.pool._note(state, UpstreamTimeout("hung"), 1000.0, 1000.0 + HUNG)
    assert ejected


def test_a_retry_or_a_pause_makes_the_latency_teach_nothing() -> None:
    bench = Bench()
    batch = Batch(KEY, "full", 0.0)
    batch.add(call_of("text"), 1)
    bench.pool.send(batch)
    assert batch.smooth
    bench.upstreams[0].failures = [UpstreamBroke("reset")]
    bench.pool.send(batch)
    assert batch.smooth is False
    batch.smooth = True
    bench.states[0].not_before = bench.clock.now() + 1.0
    bench.pool.send(batch)
    assert batch.smooth is False


def test_a_pause_that_ends_just_now_leaves_a_latency_that_can_be_learned_from() -> None:
    bench = Bench()
    batch = Batch(KEY, "full", 0.0)
    batch.add(call_of("text"), 1)
    bench.states[0].not_before = bench.clock.now()
    bench.pool.send(batch)
    assert batch.smooth
