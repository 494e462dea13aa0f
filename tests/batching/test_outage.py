"""Queue, pool and batcher together while no upstream takes batches: calls wait for a while, one item tries it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from batching.errors import NoUpstream, UpstreamError, UpstreamUnavailable
from tests.batching.failover_bench import EACH, SIZE, assert_answered, assert_waits
from tests.support.fakes import Deadlock, take
from upstream.breaker import Breaker
from upstream.member import RETRY_SOON
from upstream.outage import PROBE_GRACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.batching.failover_bench import FailoverBench, FailoverOf

#: Seconds for which calls wait where no upstream can be reached.
WAIT = 5.0


def down() -> UpstreamUnavailable:
    return UpstreamUnavailable("cannot be reached", reason="connection refused")


def loading(pause: float) -> UpstreamUnavailable:
    """Return a 503 with ``Retry-After``; 0.0: without."""
    return UpstreamUnavailable("the model is being loaded", pause=pause, retry_after=pause or 1.0)


def work_until_none_waits(bench: FailoverBench) -> None:
    with suppress(Deadlock):
        while True:
            bench.work()


# Without any upstream


@pytest.mark.parametrize("count", [1, 2])
def test_where_all_upstreams_are_ejected_a_call_is_refused_at_once(failover_of: FailoverOf, count: int) -> None:
    bench = failover_of(count)
    for number in range(count):
        bench.eject(number)
    for _ in range(3):
        with pytest.raises(NoUpstream):
            bench.submit(1)
    assert (bench.clock.now(), bench.queue.calls) == (0.0, 0)


def test_also_where_calls_still_hang_at_one(failover_of: FailoverOf) -> None:
    bench = failover_of(1)
    bench.upstreams[0].failures = [UpstreamError("500") for _ in range(2)]
    for _ in range(2):
        bench.submit(SIZE)
        bench.work()
    hanging = bench.hang(0, EACH)
    bench.let_fail(0, *[UpstreamError("500") for _ in range(EACH - 1)])
    assert bench.observer.ejections == ["http://0"]
    with pytest.raises(NoUpstream):
        bench.submit(1)
    assert bench.clock.now() == 0.0
    assert sum(not call.done for call in hanging) == SIZE


def test_calls_that_wait_when_the_last_upstream_is_ejected_are_answered_at_once(failover_of: FailoverOf) -> None:
    bench = failover_of(1)
    hanging = bench.hang(0, EACH)
    waiting = bench.submit(2 * SIZE)
    bench.let_fail(0, *[UpstreamError("500") for _ in range(EACH)])
    bench.upstreams[0].is_held = False
    bench.upstreams[0].failures = [UpstreamError("500")]
    bench.work()
    assert {type(call.error) for call in [*hanging, *waiting[:SIZE]]} == {UpstreamError}
    assert {type(call.error) for call in waiting[SIZE:]} == {NoUpstream}
    assert all(call.event.is_set() for call in waiting[SIZE:])
    assert (bench.clock.now(), bench.queue.calls) == (0.0, 0)


def test_the_calls_behind_a_probe_wait_for_it_and_are_answered(failover_of: FailoverOf) -> None:
    bench = failover_of(1)
    bench.eject(0)
    bench.pool.on_state("http://0", True)
    probing = bench.hang(0, 1)
    behind = bench.submit(1)
    assert bench.queue.in_flight_items == 1  # one item is enough to try it
    assert_waits(bench, PROBE_GRACE / 2)
    bench.end(0, count=1)
    batch = bench.work()
    assert (batch.taken_at, len(batch.items)) == (PROBE_GRACE / 2, SIZE)
    assert_answered(*probing, *behind)


def test_the_calls_behind_a_probe_that_hangs_are_answered_that_no_upstream_is_there(failover_of: FailoverOf) -> None:
    bench = failover_of(1)
    bench.eject(0)
    bench.pool.on_state("http://0", True)
    probe, *behind = bench.hang(0, 1)
    behind += bench.submit(SIZE)
    with pytest.raises(Deadlock):
        take(bench.queue)
    assert bench.clock.now() == PROBE_GRACE
    assert {type(call.error) for call in behind} == {NoUpstream}
    assert not probe.done


def test_a_call_that_comes_while_the_probe_is_on_its_way_to_the_pool_waits_like_those_behind_it(
    failover_of: FailoverOf,
) -> None:
    """The batcher thread has taken the batch out of the queue, and the pool has not seen it yet."""
    bench = failover_of(1)
    bench.eject(0)
    bench.pool.on_state("http://0", True)
    calls = bench.submit(2)
    probe = take(bench.queue)
    calls += bench.submit(2)
    bench.batcher.dispatch(probe)
    bench.work()
    assert_answered(*calls)


# A short outage of all upstreams


def restart(bench: FailoverBench, *, comes_back: float, answer: Callable[[], UpstreamUnavailable] = down) -> None:
    """Let the only upstream take nothing until a moment, when its monitor sees it answer again."""
    upstream = bench.upstreams[0]
    upstream.failures = [answer() for _ in range(1000)]

    def come_back() -> None:
        upstream.failures.clear()
        bench.pool.on_state("http://0", True)

    bench.clock.at(comes_back, come_back)


@pytest.mark.parametrize("answer", [down, lambda: loading(0.0), lambda: loading(1.0)], ids=["down", "503", "1 s"])
@pytest.mark.parametrize("comes_back", [0.01, 0.5, 1.5, 4.0, WAIT - 0.001])
def test_twelve_clients_do_not_notice_a_restart_of_the_only_upstream(
    failover_of: FailoverOf, comes_back: float, answer: Callable[[], UpstreamUnavailable]
) -> None:
    bench = failover_of(1, wait=WAIT)
    restart(bench, comes_back=comes_back, answer=answer)
    calls = bench.submit(6, lasts=30.0)
    for number in range(6):
        moment = comes_back * (number + 1) / 7
        bench.clock.at(moment, lambda: calls.extend(bench.submit(1, lasts=30.0)))
    bench.run()
    assert len(calls) == 12
    assert_answered(*calls)
    assert bench.clock.now() <= comes_back + 1.0  # the longest pause that was asked for


def test_an_outage_costs_the_upstream_few_calls_and_its_end_lets_full_batches_go(failover_of: FailoverOf) -> None:
    bench = failover_of(1, wait=WAIT)
    restart(bench, comes_back=4.0)
    calls = bench.submit(5 * SIZE, lasts=30.0)
    bench.run()
    assert_answered(*calls)
    sizes = bench.upstreams[0].sizes
    probes = len(sizes) - Breaker.FAILURES - 5
    assert sizes == [SIZE] * Breaker.FAILURES + [1] * probes + [SIZE] * 4 + [SIZE - 1]
    assert probes <= 4.0 / RETRY_SOON
    assert bench.clock.now() == pytest.approx(4.0, abs=0.11)


def test_without_a_monitor_the_probes_find_out_that_it_is_back(failover_of: FailoverOf) -> None:
    bench = failover_of(1, wait=WAIT)
    bench.upstreams[0].failures = [down() for _ in range(Breaker.FAILURES + 1)]
    calls = bench.submit(3 * SIZE, lasts=30.0)
    bench.run()
    assert_answered(*calls)
    assert bench.clock.now() == pytest.approx(2 * RETRY_SOON, abs=0.2)


def test_an_outage_that_lasts_ends_all_waiting_calls_at_its_bound_and_later_ones_at_once(
    failover_of: FailoverOf,
) -> None:
    bench = failover_of(1, wait=WAIT)
    bench.upstreams[0].failures = [down() for _ in range(1000)]
    calls = bench.submit(2 * SIZE, lasts=30.0)
    for moment in (1.0, 3.0, 4.9):
        bench.clock.at(moment, lambda: calls.extend(bench.submit(1, lasts=30.0)))
    work_until_none_waits(bench)
    assert bench.clock.now() == WAIT
    assert all(call.event.is_set() for call in calls)
    assert {call.error.status for call in calls if call.error is not None} == {503}
    errors = [type(call.error) for call in calls]
    assert errors.count(UpstreamUnavailable) <= 1  # the last probe
    assert set(errors) <= {NoUpstream, UpstreamUnavailable}
    with pytest.raises(NoUpstream) as refused:
        bench.submit(1)
    assert refused.value.status == 503
    assert refused.value.retry_after >= 1.0  # type: ignore[operator]
