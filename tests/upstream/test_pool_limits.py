"""The queue gets as many batches as an upstream's limits leave, and none while its quota is used up."""

from __future__ import annotations

import logging

import pytest

from batching import Answer
from batching.capacity import UNLIMITED_BYTES, Outage
from batching.clock import NOW
from batching.errors import ProxyError, UpstreamOverloaded, UpstreamPaused
from tests.support.fakes import items_of
from tests.upstream.pool_bench import PoolBench, busy
from upstream.busy import Busy, QuotaExhausted, RateLimited
from upstream.outage import PROBE_GRACE
from upstream.pauses import QUIET
from upstream.rate_headers import Figures, RateLimits
from upstream.rations import ASK_AGAIN

WORDS = "You exceeded your current quota"


def tell(bench: PoolBench, calls: Figures, tokens: Figures | None = None) -> None:
    """Make a call whose reply tells these figures."""
    upstream = bench.upstreams[0]
    send = upstream.send

    def told(batch):
        assert upstream.on_limits is not None
        upstream.on_limits(batch, RateLimits(calls, tokens or Figures()))
        return send(batch)

    answer_with(bench, told)
    bench.send()
    answer_with(bench, send)


def answer_with(bench: PoolBench, answer) -> None:
    """Let the first upstream answer each batch by this function."""
    vars(bench.upstreams[0])["send"] = answer


def limited(pause: float, kind: Busy = Busy.CALLS) -> RateLimited:
    return RateLimited(kind, retry_after=pause or 1, pause=pause)


def exhausted(pause: float | None = None) -> QuotaExhausted:
    return QuotaExhausted(WORDS, pause=pause)


# Pacing


def test_an_upstream_that_tells_of_no_limit_has_its_slots_at_any_moment() -> None:
    bench = PoolBench()
    bench.send()
    assert bench.capacity.is_steady
    assert bench.pool.pacing.states() == []


def test_what_an_upstream_has_left_bounds_its_slots() -> None:
    bench = PoolBench()
    tell(bench, Figures(60, 3, 57.0))
    assert bench.slots == 3
    tell(bench, Figures(60, 0, 60.0))
    assert bench.slots_at(0.0, 0.9, 1.1) == [0, 0, 1]


def test_a_call_that_leaves_takes_its_slot_along() -> None:
    bench = PoolBench()
    tell(bench, Figures(60, 3, 57.0))
    seen = []
    answer_with(bench, lambda batch: (seen.append(bench.slots), Answer([b"[1]"] * len(batch.items)))[1])
    bench.pool.send(bench.batch())
    assert seen == [3]  # its own, and the two that may leave beside it
    assert bench.slots == 2


def test_settings_pace_each_upstream_from_its_first_call_on() -> None:
    bench = PoolBench(2, per_minute=(60, 0))
    assert bench.slots == 2
    bench.send()
    bench.send()
    assert bench.slots == 0
    assert bench.slots_at(1.5) == [2]
    assert isinstance(bench.hold_back().answer, UpstreamOverloaded)
    assert bench.asked == [1, 1]


def test_tokens_that_are_left_bound_the_bytes_of_the_next_batch() -> None:
    bench = PoolBench()
    assert bench.capacity.batch_bytes == UNLIMITED_BYTES
    tell(bench, Figures(), Figures(10_000, 800, 0.5))
    assert 0 < bench.capacity.batch_bytes <= 800 * 4


def test_a_call_refused_over_a_limit_waits_in_the_queue_and_no_window_is_halved() -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [limited(2.0)]
    paused = bench.hold_back()
    assert (paused.retry_of, paused.answer.status) == (None, 429)
    assert bench.slots_at(0.0, 1.9, 2.1) == [0, 0, 1]
    bench.clock.time = 2.1
    bench.send()
    assert bench.slots == 4


def test_a_call_refused_over_a_limit_goes_elsewhere_at_once() -> None:
    bench = PoolBench(2)
    bench.upstreams[0].failures = [limited(2.0)]
    bench.send()
    assert bench.asked == [1, 1]


def test_refusals_over_a_limit_spend_no_retries() -> None:
    bench = PoolBench()
    for _ in range(50):
        bench.upstreams[0].failures = [limited(1.0)]
        bench.hold_back()
        bench.clock.time += 100.0
        bench.send()
    bench.upstreams[0].failures = [busy(0.0)]
    bench.send()


def test_the_time_for_which_calls_wait_is_counted_and_pacing_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = PoolBench(per_minute=(60, 0))
    bench.send()
    for _ in range(3):
        bench.clock.time = bench.capacity.next_rise(bench.clock.time)
        bench.send()
    (state,) = bench.pool.pacing.states()
    assert state.paused["calls"] == pytest.approx(bench.clock.time)
    assert [each for each in caplog.messages if "paced" in each] == [
        "upstream http://0: calls are paced, by its limit of 60 calls a minute"
    ]
    bench.clock.time += QUIET + 1
    bench.pool.pacing.on_look("http://0")
    bench.pool.pacing.on_look("http://0")
    assert caplog.messages[1:] == ["upstream http://0: calls need not be paced any more"]


def test_calls_that_need_not_wait_are_not_paced(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = PoolBench(per_minute=(60, 0))
    for _ in range(5):
        bench.send()
        bench.clock.time += 10.0
    assert bench.pool.pacing.states()[0].paused == {}
    assert caplog.messages == []


def test_a_wait_that_no_window_of_a_minute_explains_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = PoolBench()
    tell(bench, Figures(60, 0, 82_800.0))
    for _ in range(2):
        bench.pool.pacing.on_look("http://0")
    assert caplog.messages == ["upstream http://0: by its limits, no call leaves for another 82800 s"]


# A quota that is used up


@pytest.mark.parametrize(("named", "until"), [(None, ASK_AGAIN), (86_400.0, 86_400.0)])
def test_a_used_up_quota_is_told_at_once_and_not_asked_for_before_its_time(
    named: float | None, until: float, caplog: pytest.LogCaptureFixture
) -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [exhausted(named)]
    error = bench.fail()
    assert (error.message, error.status, error.retry_after) == (WORDS, 429, until)
    outage = bench.capacity.outage
    assert outage is not None
    assert outage.ends_at == NOW
    bench.clock.time = 100.0
    assert (outage.error.copy().message, outage.error.copy().retry_after) == (WORDS, until - 100.0)
    assert bench.slots_at(100.0, until - 0.1, until) == [0, 0, 1]
    assert bench.hold_back().answer.message == WORDS
    assert bench.asked == [1]
    (line,) = caplog.messages
    assert WORDS in line


def test_a_used_up_quota_is_not_retried() -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [exhausted()]
    bench.fail()
    assert [report.retry_reason for report in bench.calls] == [None]


def test_one_call_tries_whether_there_is_a_quota_again_and_the_others_wait_a_moment_for_it() -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [exhausted()]
    bench.fail()
    bench.clock.time = ASK_AGAIN
    assert (bench.slots, bench.capacity.batch_size) == (1, 1)
    seen: list[tuple[int, Outage | None]] = []
    answer_with(
        bench,
        lambda batch: (
            seen.append((bench.slots, bench.capacity.outage)),
            Answer([b"[1]"] * len(batch.items)),
        )[1],
    )
    bench.pool.send(bench.batch())
    ((slots, outage),) = seen
    assert outage is not None
    assert (slots, outage.ends_at, outage.under_way) == (1, ASK_AGAIN + PROBE_GRACE, 1)
    assert (bench.capacity.outage, bench.slots, bench.capacity.is_steady) == (None, 4, True)
    assert bench.pool.pacing.states() == []


def test_a_call_that_succeeds_although_it_began_before_the_quota_was_used_up_proves_nothing() -> None:
    bench = PoolBench()
    bench.upstreams[0].is_held = True
    bench.workers.start(bench.send, bench.upstreams[0])
    bench.clock.time = 1.0
    bench.upstreams[0].is_held = False
    bench.upstreams[0].failures = [exhausted()]
    bench.fail()
    bench.workers.let_go_on(bench.upstreams[0], 1)
    assert bench.capacity.outage is not None
    bench.workers.finish()


def test_where_another_upstream_has_a_quota_it_gets_the_calls() -> None:
    bench = PoolBench(2)
    bench.upstreams[0].failures = [exhausted()]
    bench.send()
    for _ in range(5):
        bench.send()
    assert bench.asked == [1, 6]
    assert bench.capacity.outage is None
    bench.upstreams[1].failures = [exhausted(10.0)]
    assert bench.fail().message == WORDS
    assert bench.capacity.outage is not None
    bench.clock.time = 10.0
    bench.send()
    assert bench.asked == [1, 8]


def test_the_tokens_that_an_upstream_counts_are_summed_up() -> None:
    bench = PoolBench()
    answer_with(bench, lambda batch: Answer([b"[1]"], tokens=7))
    for _ in range(3):
        bench.pool.send(bench.batch())
    assert bench.pool.pacing.states()[0].tokens == 21


def test_a_bug_of_ours_gives_back_what_was_reserved() -> None:
    bench = PoolBench(per_minute=(60, 0))
    bench.upstreams[0].failures = [RuntimeError("bug")]
    with pytest.raises(RuntimeError):
        bench.pool.send(bench.batch(*map(str, items_of("a"))))
    assert bench.slots == 1


def test_a_batch_that_the_limits_hold_back_is_no_failure() -> None:
    bench = PoolBench(per_minute=(60, 0))
    bench.send()
    with pytest.raises(ProxyError) as raised:
        bench.pool.send(bench.batch())
    assert isinstance(raised.value, UpstreamPaused)
