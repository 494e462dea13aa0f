"""An upstream whose health check fails gets no batch and no probe while another one's succeeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.upstream.pool_bench import PoolBench
from upstream.breaker import Breaker

if TYPE_CHECKING:
    from collections.abc import Callable

    PoolOf = Callable[..., PoolBench]


def test_an_upstream_whose_check_fails_gets_no_batch_while_that_of_another_succeeds() -> None:
    bench = PoolBench(2)
    bench.pool.on_state("http://0", False, "connection refused")
    for _ in range(10):
        bench.send()
    assert bench.asked == [0, 10]
    assert bench.slots == 4
    bench.pool.on_state("http://0", True)
    assert bench.slots == 8
    for _ in range(10):
        bench.send()
    assert bench.asked == [10, 10]


def test_nor_is_it_probed() -> None:
    bench = PoolBench(2)
    bench.eject(0)
    before = bench.asked
    bench.pool.on_state("http://0", False, "connection refused")
    bench.clock.time += Breaker.LONGEST
    for _ in range(10):
        bench.send()
    assert bench.asked == [before[0], before[1] + 10]


@pytest.mark.parametrize("both_fail", [False, True])
def test_where_no_check_succeeds_or_the_others_are_left_out_all_get_batches(both_fail: bool) -> None:
    bench = PoolBench(2)
    bench.pool.on_state("http://0", False, "connection refused")
    if both_fail:
        bench.pool.on_state("http://1", False, "connection refused")
        before = bench.asked
        for _ in range(10):
            bench.send()
        assert bench.asked == [before[0] + 5, before[1] + 5]
    else:
        bench.eject(1)
        before = bench.asked
        bench.send()
        assert bench.asked == [before[0] + 1, before[1]]
        assert bench.slots == 4


def test_calls_under_way_at_one_that_went_down_hold_none_of_the_others_slots(pool_of: PoolOf) -> None:
    bench = pool_of(2)
    bench.occupy(0, 3)
    bench.pool.on_state("http://0", False, "connection refused")
    assert bench.slots == 3 + 4
