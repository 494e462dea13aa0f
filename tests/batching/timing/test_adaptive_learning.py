"""What the adaptive rule learns: the events of a lane on one side, the figures of ``Learned`` on the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batching.timing.adaptive import AdaptiveTiming
from batching.timing.learning import CallCost, Learned, Parallelism
from tests.batching.timing.fakes import MAX_BATCH, SECOND, FakeLane, about


def lane_with(**figures: object) -> FakeLane:
    """A lane that has learned these figures, and that calls of any size take a second."""
    learned = Learned(**{"cost": replace(SECOND), **figures})  # type: ignore[arg-type]
    return FakeLane(AdaptiveTiming(MAX_BATCH, 10.0, learned=learned))


def serving(items: int, **figures: float) -> tuple[FakeLane, int]:
    """A lane with one batch in flight since 0.0, and the batch; the figures are what it knows from then on."""
    lane = lane_with()
    lane.arrive(0.0, items)
    batch = lane.send(0.0)
    for name, value in figures.items():
        setattr(lane.learned, name, value)
    return lane, batch


@pytest.mark.parametrize("servers", [1, 4])
def test_a_timing_begins_with_the_servers_of_the_setting_and_no_other_knowledge(servers: int) -> None:
    assert AdaptiveTiming(8, 10.0, servers).learned == Learned(parallelism=Parallelism(float(servers)))
    assert Learned() == Learned(0.0, 0.0, 0.0, 0.0, CallCost(), Parallelism(1.0, 0.0, Parallelism.FIRST_PROBE))
    assert AdaptiveTiming(8, 10.0).learned == Learned()


def test_a_timing_goes_on_from_what_was_learned_before() -> None:
    learned = Learned(crowd=3.0, parallelism=Parallelism(2.0))
    assert AdaptiveTiming(8, 10.0, 4, learned).learned is learned


def test_the_crowd_is_the_average_of_the_most_items_between_two_sends() -> None:
    lane = lane_with()
    lane.arrive(0.0, 3)
    batch = lane.send(0.0)
    crowds = [lane.learned.crowd]
    lane.arrive(0.1, 2)  # five are here now
    lane.complete(batch, 1.0)
    batch = lane.send(1.0)
    crowds.append(lane.learned.crowd)
    lane.complete(batch, 2.0)
    lane.arrive(2.0)  # one is here now, but two were while the batch was in flight
    lane.send(2.0)
    crowds.append(lane.learned.crowd)
    assert crowds == [about(0.9), about(0.9 + 0.3 * 4.1), about(2.13 + 0.3 * (2 - 2.13))]


def test_items_that_did_not_fit_the_batch_count_for_the_next_peak_too() -> None:
    lane = lane_with()
    lane.arrive(0.0, MAX_BATCH + 3)
    lane.send(0.0)
    lane.send(0.0)
    assert lane.learned.crowd == about(3.3 + 0.3 * (11 - 3.3))


@pytest.mark.parametrize(
    ("crowd", "arrivals", "quiet"),
    [
        pytest.param(4.5, [1], 0.5, id="not all were here: nothing is learned"),
        pytest.param(4.5, [1, 1], 0.55, id="all but half an item were here"),
        pytest.param(4.6, [1, 1], 0.5, id="more than half an item was missing"),
        pytest.param(3.0, [1], 0.55, id="no item came after the last of the crowd"),
        pytest.param(3.0, [1, 1], 0.45, id="an item came after the last of the crowd"),
        pytest.param(3.0, [1, 1, 1], 0.45, id="a period counts once"),
        pytest.param(2.0, [], 0.5, id="arrivals at an idle upstream do not count"),
    ],
)
def test_a_busy_period_is_quiet_where_no_item_arrives_once_the_crowd_is_here(
    crowd: float, arrivals: list[int], quiet: float
) -> None:
    lane, batch = serving(2, crowd=crowd, quiet=0.5)
    for count in arrivals:
        lane.arrive(0.1, count)
    lane.complete(batch, 1.0)
    assert lane.learned.quiet == about(quiet)


def test_each_busy_period_is_counted_afresh() -> None:
    lane, first = serving(2, crowd=3.0, quiet=0.5)
    lane.arrive(0.1)
    lane.arrive(0.1)
    second = lane.send(0.2)
    lane.learned.crowd = 3.0
    lane.complete(first, 1.0)
    lane.arrive(1.1)
    lane.complete(second, 2.0)
    assert lane.learned.quiet == about(0.45 + 0.1 * 0.55)


@pytest.mark.parametrize(
    ("crowd", "arrivals", "return_time"),
    [
        pytest.param(4.0, [(6.0, 1), (6.1, 2)], 0.0, id="one is still awaited"),
        pytest.param(4.0, [(6.0, 1), (6.1, 2), (6.3, 1)], 0.2 * 0.3 / 0.75, id="all are here"),
        pytest.param(4.0, [(6.0, 1), (99.0, 3)], 0.2 * AdaptiveTiming.LOST, id="a late return counts as lost"),
        pytest.param(2.5, [(6.0, 1), (6.0, 1)], 0.0, id="half an item is still awaited"),
        pytest.param(2.5, [(6.0, 1), (6.0, 1), (6.3, 1)], 0.2 * 0.3 / 0.6, id="less than half an item is not"),
        pytest.param(2.5, [(6.0, 2), (6.1, 1)], 0.2 * 0.1 / 0.2, id="half an item is worth observing"),
        pytest.param(2.4, [(6.0, 2), (6.1, 1)], 0.0, id="less is not"),
    ],
)
def test_an_observation_lasts_from_the_first_arrival_until_less_than_half_an_item_is_awaited(
    crowd: float, arrivals: list[tuple[float, int]], return_time: float
) -> None:
    lane, batch = serving(4)
    lane.complete(batch, 5.0, ok=False)
    lane.learned.crowd = crowd
    for moment, count in arrivals:
        lane.arrive(moment, count)
    assert lane.learned.return_time == about(return_time)
    assert lane.learned.gap == about(0.2 * (arrivals[-1][0] - 5.0) if return_time else 0.0)


def test_return_time_and_gap_are_moving_averages() -> None:
    lane, batch = serving(4)
    lane.complete(batch, 1.0)
    lane.learned.crowd = 4.0
    lane.arrive(1.2)
    lane.arrive(1.5, 3)
    assert (lane.learned.return_time, lane.learned.gap) == (about(0.08), about(0.1))
    lane.serve(1.5, 1.0)
    lane.arrive(2.6)
    lane.arrive(3.05, 3)
    assert lane.learned.return_time == about(0.08 + 0.2 * (0.45 / 0.75 - 0.08))
    assert lane.learned.gap == about(0.1 + 0.2 * (0.55 - 0.1))


def test_a_return_before_the_first_completion_has_no_gap() -> None:
    lane = lane_with(crowd=4.0, gap=0.5)
    lane.arrive(0.0)
    lane.arrive(0.3, 3)
    assert (lane.learned.return_time, lane.learned.gap) == (about(0.08), 0.5)


def test_nothing_is_learned_from_a_return_before_the_cost_of_a_call_is_known() -> None:
    lane = lane_with(crowd=4.0, cost=CallCost())
    lane.arrive(0.0)
    lane.arrive(1.0, 3)
    assert lane.learned == Learned(crowd=4.0)


def test_the_next_batch_that_comes_back_ends_an_observation() -> None:
    lane = lane_with(crowd=1.6)
    lane.arrive(0.0)  # 0.6 items are awaited
    lane.serve(0.0, 0.3)
    assert lane.learned.return_time == about(0.2 * 0.3 / 0.375)


@pytest.mark.parametrize(
    ("waiting", "arrivals", "return_time"),
    [
        pytest.param(1, [(1.3, 3)], 0.2 * 0.3 / 0.75, id="with a waiting item it begins at the completion"),
        pytest.param(0, [(1.3, 1), (1.4, 3)], 0.2 * 0.1 / 0.75, id="without one it begins at the next arrival"),
    ],
)
def test_a_completion_begins_an_observation_where_items_wait(
    waiting: int, arrivals: list[tuple[float, int]], return_time: float
) -> None:
    lane, batch = serving(2)
    if waiting:
        lane.arrive(0.5, waiting)
    lane.learned.crowd = 4.0
    lane.complete(batch, 1.0)
    for moment, count in arrivals:
        lane.arrive(moment, count)
    assert lane.learned.return_time == about(return_time)


@pytest.mark.parametrize(
    ("servers", "crowd", "return_time"),
    [
        # Two items are queued at the upstream and none is being served: five more could have joined them.
        pytest.param(1, 7.0, 0.2 * 0.25 * 7 / 5, id="sent ahead: they could have been held"),
        pytest.param(3, 14.0, 0.0, id="beside a free server: they could not"),
    ],
)
def test_items_queued_at_the_upstream_are_observed_as_if_they_had_been_held(
    servers: int, crowd: float, return_time: float
) -> None:
    lane, first = serving(2, parallelism=Parallelism(float(servers)))  # type: ignore[arg-type]
    for _ in range(2):
        lane.arrive(0.1)
        lane.send(0.1)
    lane.learned.crowd = crowd
    lane.complete(first, 1.0)
    lane.arrive(1.25, 5)
    assert lane.learned.return_time == about(return_time)


@pytest.mark.parametrize(
    ("elsewhere", "ok", "latency"), [(0, True, 1.1), (0, False, 1.0), (1, True, 1.0)], ids=["alone", "failed", "beside"]
)
def test_only_a_call_that_was_alone_and_succeeded_teaches_the_cost(elsewhere: int, ok: bool, latency: float) -> None:
    lane = lane_with()
    lane.elsewhere = elsewhere
    lane.arrive(0.0, MAX_BATCH)
    lane.complete(lane.send(0.0), 2.0, ok=ok)
    assert lane.learned.cost.latency == about(latency)
    assert lane.learned.parallelism == Parallelism(until_probe=Parallelism.FIRST_PROBE - 1)


@pytest.mark.parametrize(("ok", "estimate"), [(True, 1.3), (False, 1.0)])
def test_a_call_that_overlapped_a_failure_is_not_judged(ok: bool, estimate: float) -> None:
    lane = lane_with()
    lane.arrive(0.0)
    first = lane.send(0.0)
    lane.arrive(0.0)
    second = lane.send(0.0)
    lane.complete(first, 0.9, ok=ok)
    lane.complete(second, 1.0)
    assert lane.learned.parallelism.estimate == about(estimate)


@pytest.mark.parametrize(
    ("batch", "now", "estimate"),
    [
        pytest.param(1, 1.5, 2.0, id="beside one: in time"),
        pytest.param(1, 1.6, 1.7, id="beside one: waited for the first"),
        pytest.param(2, 1.5, 2.3, id="beside two: in time"),
        pytest.param(2, 1.6, 2.0, id="beside two: waited for the first"),
        pytest.param(3, 1.7, 2.3, id="beside three: in time"),
        pytest.param(3, 1.8, 2.0, id="beside three: waited for the second"),
    ],
)
def test_a_batch_is_free_to_start_when_as_many_came_back_as_stood_before_it(
    batch: int, now: float, estimate: float
) -> None:
    lane = lane_with(parallelism=Parallelism(2.0))
    for _ in range(4):
        lane.arrive(0.0)
        lane.send(0.0)
    for earlier, moment in ((0, 1.0), (1, 1.5))[:batch]:
        lane.complete(earlier, moment)
    lane.complete(batch, now)
    assert lane.learned.parallelism.estimate == about(estimate)
