"""What the adaptive rule decides: tables of what it has learned and the state of the lane."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

from batching.clock import NOW
from batching.timing.adaptive import AdaptiveTiming
from batching.timing.learning import Learned, Parallelism
from batching.timing.rule import AHEAD, CROWD, FULL, IDLE, MAX_WAIT, PROBE, SETTLED
from tests.batching.timing.fakes import MAX_BATCH, SECOND, FakeLane, about, cost_of

if TYPE_CHECKING:
    from batching.timing.rule import Decision

WAIT = 10.0
QUIET, PAYS = AdaptiveTiming.QUIET, AdaptiveTiming.PAYS


def parallel(servers: float = 1.0, *, lag: float = 0.0, until_probe: int = Parallelism.FIRST_PROBE) -> Parallelism:
    return Parallelism(servers, lag, until_probe)


def knowing(crowd: float, parallelism: Parallelism | None = None, **figures: float) -> Learned:
    """What is known of a crowd where calls of any size take a second."""
    return Learned(crowd, cost=SECOND, parallelism=parallelism or parallel(), **figures)


def decided(learned: Learned, waiting: int, served: int, in_flight: int, now: float) -> Decision:
    """Decide where ``waiting`` items arrived at 0.0, while ``served`` of this lane and some batches are in flight."""
    timing = AdaptiveTiming(MAX_BATCH, WAIT, learned=deepcopy(learned))
    lane = FakeLane(timing, in_flight_items=served, elsewhere=in_flight)
    lane.arrive(0.0, waiting)
    return lane.decide(now)


def hold(due: float, reason: str) -> tuple[float, str]:
    return about(due), reason


@pytest.mark.parametrize(
    ("learned", "waiting", "served", "in_flight", "now", "decision"),
    [
        # 2. Full.
        pytest.param(knowing(9), 8, 0, 0, 0.0, FULL, id="full"),
        pytest.param(knowing(9), 8, 8, 5, 0.0, FULL, id="full, behind others"),
        pytest.param(knowing(9), 8, 0, 0, 99.0, FULL, id="full, and overdue"),
        # 3. Overdue.
        pytest.param(knowing(4), 3, 4, 1, WAIT - 0.001, hold(WAIT, "max_wait"), id="not yet overdue"),
        pytest.param(knowing(4), 3, 4, 1, WAIT, MAX_WAIT, id="overdue"),
        # 4. Busy.
        pytest.param(knowing(1), 1, 0, 1, 0.0, hold(WAIT, "max_wait"), id="busy with another lane's batch"),
        pytest.param(knowing(1, parallel(2)), 1, 0, 1, 0.0, CROWD, id="a second server is free"),
        pytest.param(knowing(1, parallel(2)), 1, 0, 2, 0.0, hold(WAIT, "max_wait"), id="both servers are busy"),
        pytest.param(knowing(8, gap=2, quiet=1), 4, 4, 1, 0.0, AHEAD, id="a batch ahead"),
        pytest.param(knowing(8, gap=2, quiet=1), 4, 4, 2, 0.0, hold(WAIT, "max_wait"), id="at most one batch ahead"),
        # 5. The crowd is here.
        pytest.param(Learned(), 1, 0, 0, 0.0, CROWD, id="the very first request"),
        pytest.param(knowing(2.49), 2, 0, 0, 0.0, CROWD, id="less than half an item is missing"),
        pytest.param(knowing(2.5), 2, 0, 0, 0.0, hold(0.2, "settled"), id="half an item is missing"),
        # 6. Holding does not pay.
        pytest.param(knowing(4, return_time=PAYS), 2, 0, 0, 0.0, hold(0.5, "settled"), id="holding just pays"),
        pytest.param(knowing(4, return_time=PAYS + 0.001), 2, 0, 0, 0.0, IDLE, id="holding does not pay"),
        pytest.param(knowing(4, parallel(until_probe=0)), 2, 0, 0, 0.0, IDLE, id="a probe is due"),
        # 7. The wait that breaks even is the share of the missing items in a call.
        pytest.param(knowing(4), 3, 0, 0, 0.0, hold(0.25, "settled"), id="one of four is missing"),
        pytest.param(knowing(4), 1, 0, 0, 0.0, hold(0.75, "settled"), id="three of four are missing"),
        pytest.param(knowing(4), 3, 0, 0, 0.249, hold(0.25, "settled"), id="before the break-even wait is over"),
        pytest.param(knowing(4), 3, 0, 0, 0.25, SETTLED, id="after it"),
        pytest.param(knowing(20), 2, 0, 0, 0.0, hold(6 / 8, "settled"), id="no more are missing than fit"),
        pytest.param(knowing(20, parallel(4)), 2, 0, 0, 0.0, hold(3 / 5, "settled"), id="nor than a server's share"),
        pytest.param(knowing(8, parallel(2)), 2, 5, 1, 0.0, hold(1 / 3, "settled"), id="nor items being served"),
    ],
)
def test_the_first_case_that_matches_decides(
    *, learned: Learned, waiting: int, served: int, in_flight: int, now: float, decision: Decision
) -> None:
    assert decided(learned, waiting, served, in_flight, now) == decision


@pytest.mark.parametrize(
    ("learned", "waiting", "served", "decision"),
    [
        # All together in one call of a second, against two calls of a second.
        pytest.param(knowing(8, quiet=QUIET), 4, 4, "max_wait", id="a merged call is faster"),
        pytest.param(knowing(8, quiet=QUIET, gap=1.0), 4, 4, "max_wait", id="a merged call is as fast"),
        pytest.param(knowing(8, quiet=QUIET, gap=1.001), 4, 4, "ahead", id="the gap makes a merged call slower"),
        pytest.param(knowing(8, parallel(lag=0.5), quiet=QUIET), 4, 4, "max_wait", id="half a call of lag is saved"),
        pytest.param(knowing(8, parallel(lag=0.501), quiet=QUIET), 4, 4, "ahead", id="the lag is saved twice"),
        # Of twelve items at most eight travel in a merged call of 1 s + gap, but all of them in two calls.
        pytest.param(knowing(12, quiet=QUIET, gap=0.3), 6, 6, "max_wait", id="merged, more items a second"),
        pytest.param(knowing(12, quiet=QUIET, gap=0.4), 6, 6, "ahead", id="apart, more items a second"),
        pytest.param(knowing(8.5, quiet=QUIET, gap=2.0), 4, 4, "ahead", id="half an item is missing"),
        pytest.param(knowing(8.6, quiet=QUIET, gap=2.0), 4, 4, "max_wait", id="more is missing"),
        pytest.param(knowing(8, quiet=QUIET - 0.001, gap=2.0), 4, 4, "max_wait", id="not quiet in nine of ten"),
    ],
)
def test_a_batch_is_sent_ahead_where_two_calls_serve_more_items_a_second(
    learned: Learned, waiting: int, served: int, decision: str
) -> None:
    due = NOW if decision == "ahead" else WAIT
    assert decided(learned, waiting, served, 1, 0.0) == (due, decision)


@pytest.mark.parametrize(("gap", "reason"), [(0.099, "max_wait"), (0.101, "ahead")])
def test_two_calls_cost_what_their_own_sizes_cost(gap: float, reason: str) -> None:
    cost = cost_of(*((size, 0.1 + 0.1 * size) for size in (1, 8) * 20))
    learned = Learned(8.0, gap=gap, quiet=1.0, cost=cost, parallelism=parallel())
    # Merged 0.9 s + gap; apart 0.2 s + 0.8 s.
    assert decided(learned, 1, 7, 1, 0.0).reason == reason


@pytest.mark.parametrize(("until_probe", "now", "expected"), [(1, 101.999, True), (1, 102.0, False), (2, 101.0, False)])
def test_a_batch_of_bulk_may_be_the_probe(until_probe: int, now: float, *, expected: bool) -> None:
    learned = Learned(1.0, cost=cost_of((1, 4.0)), parallelism=parallel(until_probe=until_probe))
    lane = FakeLane(timing := AdaptiveTiming(MAX_BATCH, WAIT, learned=learned))
    lane.arrive(100.0)
    lane.send(100.0)
    assert timing.wants_probe(1, now) is expected


@pytest.mark.parametrize(
    ("until_probe", "now", "decision"),
    [
        pytest.param(1, 101.999, PROBE, id="within half a call of the last send"),
        pytest.param(1, 102.0, (100.0 + WAIT, "max_wait"), id="later: the overlap would be too short"),
        pytest.param(2, 101.0, (100.0 + WAIT, "max_wait"), id="no probe is due"),
    ],
)
def test_a_probe_is_sent_where_it_would_overlap_half_a_call(until_probe: int, now: float, decision: Decision) -> None:
    learned = Learned(1.0, cost=cost_of((1, 4.0)), parallelism=parallel(until_probe=until_probe))
    lane = FakeLane(AdaptiveTiming(MAX_BATCH, WAIT, learned=learned))
    lane.arrive(100.0)
    lane.send(100.0)  # counts down to the probe
    lane.arrive(100.0)
    assert lane.decide(now) == decision


@pytest.mark.parametrize(
    ("completion", "now", "decision"),
    [
        pytest.param(2.0, 2.0, hold(2.25, "settled"), id="from the completion"),
        pytest.param(WAIT - 0.1, WAIT - 0.1, hold(WAIT, "settled"), id="at most until max_wait"),
        pytest.param(WAIT - 0.1, WAIT, MAX_WAIT, id="then it is overdue"),
    ],
)
def test_the_break_even_wait_counts_from_the_last_event(completion: float, now: float, decision: Decision) -> None:
    lane = FakeLane(AdaptiveTiming(MAX_BATCH, WAIT, learned=deepcopy(knowing(4))))
    lane.arrive(0.0, 4)
    batch = lane.send(0.0)
    lane.arrive(0.0, 3)
    lane.complete(batch, completion, ok=False)
    assert lane.decide(now) == decision


def test_before_the_first_event_no_item_is_held() -> None:
    timing = AdaptiveTiming(MAX_BATCH, WAIT, learned=deepcopy(knowing(4)))
    assert FakeLane(timing, waiting=2, oldest=0.0).decide(0.0) == SETTLED
