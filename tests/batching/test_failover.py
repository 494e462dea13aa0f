"""Queue, pool and batcher together: what one upstream suffers costs batches that another can take no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import BatchKey, Call, Options, Task
from batching.errors import NoUpstream, UpstreamError, UpstreamTimeout
from tests.batching.failover_bench import EACH, SIZE, FailoverBench, assert_answered, assert_waits
from tests.support.fakes import KEY, Deadlock, take
from tests.upstream.pool_bench import busy
from upstream.breaker import Breaker
from upstream.pool import PROBE_GRACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    FailoverOf = Callable[..., FailoverBench]

OTHER_KEY = BatchKey(Task.EMBED, Options(normalize=False))


@pytest.fixture
def failover_of() -> Iterator[Callable[..., FailoverBench]]:
    benches: list[FailoverBench] = []

    def failover_of(count: int = 2, *, permits: int = 1_000_000) -> FailoverBench:
        benches.append(FailoverBench(count, permits=permits))
        return benches[-1]

    yield failover_of
    for bench in benches:
        bench.workers.finish()


def one_hangs_one_is_ejected(bench: FailoverBench) -> list[Call]:
    """A (0) has all the batches it takes and answers none; B (1) gets none any more. Return the calls at A."""
    bench.eject(1)
    hanging = bench.hang(0, EACH)
    assert bench.clock.now() == 0.0
    return hanging


# An upstream comes back while another hangs


def test_a_waiting_batch_leaves_to_an_upstream_as_soon_as_it_is_seen_to_answer(failover_of: FailoverOf) -> None:
    bench = failover_of()
    hanging = one_hangs_one_is_ejected(bench)
    waiting = bench.submit(SIZE)
    bench.clock.at(0.5, lambda: bench.pool.on_state("http://1", True))
    batch = bench.work()
    assert (batch.taken_at, bench.clock.now()) == (0.5, 0.5)
    assert bench.upstreams[1].batches[-1] is batch
    assert_answered(*waiting)
    assert not any(call.done for call in hanging)
    bench.let_fail(0, *[UpstreamTimeout("late") for _ in range(EACH)])
    assert {type(call.error) for call in hanging} == {UpstreamTimeout}


def test_without_a_monitor_it_leaves_once_the_breakers_time_is_over(failover_of: FailoverOf) -> None:
    bench = failover_of()
    one_hangs_one_is_ejected(bench)
    waiting = bench.submit(SIZE)
    batch = bench.work()
    assert (batch.taken_at, bench.clock.now()) == (Breaker.FIRST, Breaker.FIRST)
    assert_answered(*waiting)


def test_a_batch_that_is_not_full_leaves_as_well(failover_of: FailoverOf) -> None:
    bench = failover_of()
    one_hangs_one_is_ejected(bench)
    waiting = bench.submit(1)
    bench.clock.at(0.5, lambda: bench.pool.on_state("http://1", True))
    assert bench.work().taken_at == 0.5
    assert_answered(*waiting)


def test_a_batch_that_arrives_while_one_upstream_hangs_is_due_as_ever(failover_of: FailoverOf) -> None:
    bench = failover_of()
    one_hangs_one_is_ejected(bench)
    bench.pool.on_state("http://1", True)
    bench.clock.at(0.3, lambda: bench.submit(1))
    assert bench.work().taken_at == pytest.approx(0.4)


def test_after_the_probe_the_upstream_takes_all_that_it_can(failover_of: FailoverOf) -> None:
    bench = failover_of()
    one_hangs_one_is_ejected(bench)
    bench.pool.on_state("http://1", True)
    waiting = bench.submit(SIZE)
    bench.work()
    assert_answered(*waiting)
    bench.hang(1, EACH)  # none of these waits
    assert bench.clock.now() == 0.0
    assert bench.queue.in_flight == 2 * EACH


def test_the_batches_of_all_lanes_leave_in_the_order_in_which_they_came(failover_of: FailoverOf) -> None:
    bench = failover_of()
    one_hangs_one_is_ejected(bench)
    bench.clock.at(0.1, lambda: bench.submit(SIZE, key=OTHER_KEY))
    bench.clock.at(0.2, lambda: bench.submit(SIZE))
    bench.clock.at(0.5, lambda: bench.pool.on_state("http://1", True))
    batches = [bench.work(), bench.work()]
    assert [(batch.key, batch.taken_at) for batch in batches] == [(OTHER_KEY, 0.5), (KEY, 0.5)]
    assert [batch in bench.upstreams[1].batches for batch in batches] == [True, True]


def test_one_batch_only_leaves_for_the_probe(failover_of: FailoverOf) -> None:
    bench = failover_of()
    one_hangs_one_is_ejected(bench)
    bench.upstreams[1].is_held = True
    bench.submit(SIZE, key=OTHER_KEY)
    bench.submit(SIZE)
    bench.pool.on_state("http://1", True)
    bench.workers.start(bench.work, bench.upstreams[1])
    with pytest.raises(Deadlock):
        take(bench.queue)


def test_permits_that_are_left_let_it_leave_and_others_do_not(failover_of: FailoverOf) -> None:
    bench = failover_of(permits=(EACH + 1) * SIZE)
    one_hangs_one_is_ejected(bench)
    bench.pool.on_state("http://1", True)
    waiting = bench.submit(SIZE)
    bench.submit(SIZE)
    assert bench.work().taken_at == 0.0
    assert_answered(*waiting)
    bench.hang(1, 1)  # the last permits
    with pytest.raises(Deadlock):
        take(bench.queue)


def test_it_leaves_also_where_more_hangs_at_the_other_than_its_window_has_left(failover_of: FailoverOf) -> None:
    bench = failover_of()
    one_hangs_one_is_ejected(bench)
    bench.upstreams[0].is_held = False
    bench.let_fail(0, busy(0.0))  # A has too much: its window is cut to half of what hangs there
    bench.upstreams[0].is_held = True
    assert bench.queue.in_flight == EACH - 1
    waiting = bench.submit(SIZE)
    bench.clock.at(0.5, lambda: bench.pool.on_state("http://1", True))
    assert bench.work().taken_at == 0.5
    assert_answered(*waiting)


# Calls that hang


def test_calls_that_hang_at_an_ejected_upstream_hold_none_of_the_others_slots(failover_of: FailoverOf) -> None:
    bench = failover_of()
    bench.upstreams[1].failures = [UpstreamError("500") for _ in range(Breaker.FAILURES - 2)]
    while bench.upstreams[1].failures:
        bench.submit(SIZE)
        bench.work()
    bench.hang_at_each(4)
    bench.end(0, count=4)
    bench.let_fail(1, UpstreamError("500"), UpstreamError("500"))
    assert bench.observer.ejections == ["http://1"]
    bench.hang(0, EACH)  # none of these waits
    assert bench.queue.in_flight == 2 + EACH
    assert bench.clock.now() == 0.0
    bench.submit(SIZE)
    assert take(bench.queue).taken_at == Breaker.FIRST  # the first slot that there is


def test_calls_that_hang_at_a_paused_upstream_hold_none_of_the_others_slots(failover_of: FailoverOf) -> None:
    bench = failover_of()
    bench.hang_at_each(3)
    bench.end(0, count=3)
    bench.let_fail(1, busy(2.0))  # its retry is answered by the other
    bench.hang(0, EACH)  # none of these waits
    assert bench.queue.in_flight == 2 + EACH
    assert bench.clock.now() == 0.0
    bench.submit(SIZE)
    assert_waits(bench, 2.0 + 1e-9)  # two hang there, and a window of two has no room


# Without any upstream


@pytest.mark.parametrize("count", [1, 2])
def test_where_all_upstreams_are_ejected_a_batch_is_answered_at_once(count: int) -> None:
    bench = FailoverBench(count)
    for number in range(count):
        bench.eject(number)
    for _ in range(3):
        calls = bench.submit(SIZE)
        bench.work()
        assert bench.clock.now() == 0.0
        assert {type(call.error) for call in calls} == {NoUpstream}


def test_also_where_calls_still_hang_at_one(failover_of: FailoverOf) -> None:
    bench = failover_of(1)
    hanging = bench.hang(0, EACH)
    for _ in range(EACH - 1):
        bench.let_fail(0, UpstreamError("500"))
    bench.upstreams[0].is_held = False
    bench.upstreams[0].failures = [UpstreamError("500"), UpstreamError("500")]
    for _ in range(2):
        bench.submit(SIZE)
        bench.work()
    calls = bench.submit(SIZE)
    bench.work()
    assert bench.clock.now() == 0.0
    assert {type(call.error) for call in calls} == {NoUpstream}
    assert sum(not call.done for call in hanging) == SIZE


def test_the_batch_behind_a_probe_waits_for_it_and_is_answered(failover_of: FailoverOf) -> None:
    bench = failover_of(1)
    bench.eject(0)
    bench.pool.on_state("http://0", True)
    probing = bench.hang(0, 1)
    behind = bench.submit(SIZE)
    assert_waits(bench, PROBE_GRACE / 2)
    bench.end(0, count=1)
    assert bench.work().taken_at == PROBE_GRACE / 2
    assert_answered(*probing, *behind)


def test_the_batch_behind_a_probe_that_hangs_is_answered_that_no_upstream_is_there(failover_of: FailoverOf) -> None:
    bench = failover_of(1)
    bench.eject(0)
    bench.pool.on_state("http://0", True)
    probing = bench.hang(0, 1)
    behind = bench.submit(SIZE)
    assert bench.work().taken_at == PROBE_GRACE
    assert {type(call.error) for call in behind} == {NoUpstream}
    assert not any(call.done for call in probing)
