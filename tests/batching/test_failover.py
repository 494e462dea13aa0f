"""Queue, pool and batcher together: what one upstream suffers costs batches that another can take no time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import BatchKey, Call, Options, Task
from batching.errors import UpstreamError, UpstreamTimeout
from tests.batching.failover_bench import EACH, SIZE, assert_answered, assert_waits
from tests.support.fakes import KEY, Deadlock, take
from tests.upstream.pool_bench import busy
from upstream.breaker import Breaker

if TYPE_CHECKING:
    from tests.batching.failover_bench import FailoverBench, FailoverOf

OTHER_KEY = BatchKey(Task.EMBED, Options(normalize=False))


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
    assert_answered(*hanging)  # the other is asked for them


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
    assert [bench.work().taken_at, bench.work().taken_at] == [0.5, 0.5]  # first what A has sent back
    assert_answered(*waiting)


# Calls that hang


def test_calls_that_hang_at_an_ejected_upstream_hold_none_of_the_others_slots(failover_of: FailoverOf) -> None:
    bench = failover_of()
    bench.upstreams[1].failures = [UpstreamError("500") for _ in range(Breaker.FAILURES - 3)]
    while bench.upstreams[1].failures:
        bench.submit(SIZE)
        bench.work()
    bench.hang_at_each(4)
    bench.end(0, count=4)
    bench.let_fail(1, *[UpstreamError("500") for _ in range(3)])
    assert bench.observer.ejections == ["http://1"]
    bench.hang(0, EACH)  # none of these waits
    assert bench.queue.in_flight == 1 + EACH
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
