"""What each single call teaches, to the figure: the cost of calls, the servers behind them, the manners of crowds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.clock import NOW
from batching.timing.adaptive import AdaptiveTiming
from batching.timing.learning import CallCost, Flight, Parallelism
from tests.batching.timing.test_timing import FakeLane

if TYPE_CHECKING:
    from batching.timing.rule import Decision

SECOND = 1.0


def cost_of(seconds: float, size: int = 1) -> CallCost:
    """A cost learned from calls that all took this long."""
    cost = CallCost()
    cost.add(size, seconds)
    return cost


def flight_of(sent: float, freed: float, *, beside: int = 1, size: int = 1) -> Flight:
    return Flight(size, sent, beside, is_seen=True, blockers=0, freed=freed)


# What a call costs


def test_the_first_call_counts_in_full_and_later_ones_by_their_weight() -> None:
    cost = CallCost()
    cost.add(4, 1.0)
    assert cost.of(4) == 1.0
    cost.add(4, 2.0)
    assert cost.of(4) == pytest.approx(1.0 + CallCost.WEIGHT)


def test_the_line_goes_through_what_was_seen() -> None:
    cost = CallCost()
    for _ in range(5):
        for size in (1, 2, 3):
            cost.add(size, 0.010 + 0.004 * size)
    assert cost.of(10) == pytest.approx(0.050)
    assert cost.of(0) == pytest.approx(0.010)


def test_sizes_that_hardly_differ_make_no_line_but_clearly_different_ones_do() -> None:
    cost = CallCost()
    cost.add(1, 1.0)
    cost.add(2, 2.0)  # variance 0.09
    assert cost.of(11) == pytest.approx(11.0)


def test_a_line_never_falls_below_no_time_for_no_items() -> None:
    cost = CallCost()
    cost.add(2, 1.0)
    cost.add(4, 9.0)
    assert cost.of(0.0) == pytest.approx(0.0)


def test_a_cost_knows_twice_the_largest_size_it_has_seen_and_nothing_at_the_start() -> None:
    cost = CallCost()
    assert not cost.knows(1)
    cost.add(3, 1.0)
    cost.add(1, 1.0)
    assert cost.knows(6)
    assert not cost.knows(7)


# Servers


def test_probes_are_due_after_the_first_batches_and_are_put_off_where_no_chance_comes() -> None:
    parallel = Parallelism(1, CallCost())
    for _ in range(Parallelism.FIRST_PROBE - 1):
        parallel.sent()
    assert not parallel.wants_probe
    for _ in range(Parallelism.FIRST_PROBE + 1):
        parallel.sent()
        assert parallel.wants_probe
    parallel.sent()
    assert not parallel.wants_probe
    assert parallel._until_probe == Parallelism.PROBE_EVERY


def test_an_overlap_of_half_a_call_is_judged_and_a_shorter_one_is_not() -> None:
    for freed, judged in ((0.5, True), (0.499, False)):
        parallel = Parallelism(1, cost_of(SECOND))
        parallel.judge(flight_of(0.0, freed), last_completion=freed, now=1.0)
        assert (parallel._estimate > 1.0) is judged


def test_a_call_of_unheard_of_size_is_not_judged_however_long_it_overlapped() -> None:
    parallel = Parallelism(1, cost_of(SECOND))
    parallel.judge(flight_of(0.0, 1.0, size=3), last_completion=1.0, now=1.0)
    assert parallel._estimate == 1.0


def test_who_was_late_by_just_half_the_overlap_did_not_wait() -> None:
    for now, servers in ((1.5, 1.3), (1.501, 1.0)):
        parallel = Parallelism(1, cost_of(SECOND))
        parallel.judge(flight_of(0.0, 1.0), last_completion=1.0, now=now)
        assert parallel._estimate == pytest.approx(servers)


def test_an_overlap_ends_with_the_call_itself() -> None:
    parallel = Parallelism(1, cost_of(SECOND))
    parallel.judge(flight_of(1.0, 9.0), last_completion=0.0, now=1.4)
    assert parallel._estimate == 1.0  # it took 0.4 s in all: too short to be judged


def test_a_free_server_is_looked_for_again_soon_and_a_busy_one_seldom() -> None:
    parallel = Parallelism(1, cost_of(SECOND))
    parallel.judge(flight_of(0.0, 1.0), last_completion=1.0, now=1.0)
    assert parallel._until_probe == Parallelism.NEXT_PROBE
    parallel.judge(flight_of(0.0, 1.0), last_completion=1.0, now=2.0)
    assert parallel._until_probe == Parallelism.PROBE_EVERY


def test_two_verdicts_in_a_row_move_the_estimate_by_a_server() -> None:
    parallel = Parallelism(1, cost_of(SECOND))
    parallel.judge(flight_of(0.0, 1.0), 1.0, 1.0)
    assert (parallel.servers, parallel._estimate) == (1, pytest.approx(1.3))
    parallel.judge(flight_of(0.0, 1.0), 1.0, 1.0)
    assert (parallel.servers, parallel._estimate) == (2, pytest.approx(1.51))


def test_who_had_to_wait_beside_fewer_than_there_should_be_servers_lowers_the_estimate_to_those() -> None:
    parallel = Parallelism(4, cost_of(SECOND))
    due = parallel._until_probe
    parallel.judge(flight_of(0.0, 1.0, beside=2), last_completion=1.0, now=1.0)
    assert parallel._estimate == 4.0
    parallel.judge(flight_of(0.0, 1.0, beside=2), last_completion=1.0, now=2.0)
    assert parallel._estimate == pytest.approx(3.4)
    assert parallel.servers == 3
    assert (parallel._until_probe, parallel.lag) == (due, 0.0)


def test_the_lag_is_what_a_call_that_waited_took_less_than_alone_averaged() -> None:
    parallel = Parallelism(1, cost_of(SECOND))
    assert parallel.lag == 0.0
    parallel.judge(flight_of(0.0, 1.0), last_completion=1.0, now=1.8)
    assert parallel.lag == pytest.approx(0.1)
    parallel.judge(flight_of(0.0, 1.0), last_completion=1.0, now=1.6)
    assert parallel.lag == pytest.approx(0.25)
    parallel.judge(flight_of(0.0, 1.0), last_completion=1.0, now=3.0)
    assert parallel.lag == pytest.approx(0.125)


# Crowds

MAX_BATCH = 8
MAX_WAIT = 10.0


def lane_of(crowd: float = 0.0, *, parallelism: int = 1, seconds: float = SECOND) -> tuple[FakeLane, AdaptiveTiming]:
    """A lane whose timing knows the crowd and that calls of any size take this long."""
    timing = AdaptiveTiming(MAX_BATCH, MAX_WAIT, parallelism)
    timing._crowd = crowd
    timing._cost.add(1, seconds)
    timing._cost._largest = MAX_BATCH
    return FakeLane(timing), timing


def test_a_timing_begins_with_one_server_and_without_expectations() -> None:
    timing = AdaptiveTiming(MAX_BATCH, MAX_WAIT)
    assert timing._parallel.servers == 1
    assert (timing._last_arrival, timing._last_sent, timing._last_completion) == (NOW, NOW, NOW)
    assert (timing._crowd, timing._peak, timing._awaited) == (0.0, 0, 0.0)
    assert (timing._since, timing._break_even) == (NOW, 0.0)
    assert (timing._return, timing._gap, timing._quiet) == (0.0, 0.0, 0.0)
    assert not timing._all_here
    assert not timing._surprised


def test_less_than_half_of_one_missing_is_nobody_missing() -> None:
    lane, timing = lane_of(crowd=2.5)
    lane.arrive(0.0, 2)
    assert lane.decide(0.0).reason == "settled"
    timing._crowd = 2.49
    assert lane.decide(0.0).reason == "crowd"


def test_holding_is_given_up_where_the_average_is_beyond_what_pays_and_not_at_it() -> None:
    lane, timing = lane_of(crowd=4.0)
    lane.arrive(0.0, 2)
    timing._return = AdaptiveTiming.PAYS
    assert lane.decide(0.0).reason == "settled"
    timing._return = AdaptiveTiming.PAYS + 0.001
    assert lane.decide(0.0) == (NOW, "idle")


def test_the_wait_that_breaks_even_is_the_missing_ones_share_of_a_call() -> None:
    lane, _ = lane_of(crowd=4.0)
    lane.arrive(0.0, 3)
    assert lane.decide(0.0) == (pytest.approx(0.25), "settled")
    assert lane.decide(0.25).due <= 0.25


def test_the_wait_counts_from_whatever_happened_last_and_ends_with_the_longest() -> None:
    lane, timing = lane_of(crowd=4.0)
    lane.arrive(0.0, 3)
    timing._last_completion = 2.0
    assert lane.decide(2.0) == (pytest.approx(2.25), "settled")
    timing._last_completion = MAX_WAIT - 0.1
    assert lane.decide(MAX_WAIT - 0.1) == (MAX_WAIT, "settled")
    assert lane.decide(MAX_WAIT) == (NOW, "max_wait")


def test_those_being_served_cannot_come() -> None:
    _, timing = lane_of(crowd=6.0)
    assert timing._missing(2, 0) == 4.0
    assert timing._missing(2, 3) == 1.0


def test_missing_are_no_more_than_fit_and_than_each_servers_share() -> None:
    _, timing = lane_of(crowd=20.0)
    assert timing._missing(2, 0) == MAX_BATCH - 2
    timing._parallel.servers = 4
    assert timing._missing(2, 0) == 3.0


def test_an_overlap_is_tried_only_within_half_a_call_after_the_last_send() -> None:
    lane, timing = lane_of(crowd=1.0, seconds=4.0)
    lane.arrive(100.0)
    lane.send(100.0)
    lane.arrive(100.0)
    timing._parallel._until_probe = 0
    assert lane.decide(101.999) == (NOW, "probe")
    assert lane.decide(102.0) == (100.0 + MAX_WAIT, "max_wait")
    timing._parallel._until_probe = 1
    assert lane.decide(101.0) == (100.0 + MAX_WAIT, "max_wait")


def ahead(*, waiting: int = 4, served: int = 4, crowd: float = 8.0, lag: float = 0.0, gap: float = 0.0) -> Decision:
    """What is decided where one batch is served and another waits, and it has always been quiet."""
    lane, timing = lane_of()
    lane.arrive(0.0, served)
    lane.send(0.0)
    lane.arrive(0.0, waiting)
    timing._crowd, timing._quiet, timing._gap = crowd, AdaptiveTiming.QUIET, gap
    timing._parallel.lag = lag
    return lane.decide(0.0)


def test_nothing_is_sent_ahead_where_a_merged_call_is_as_good() -> None:
    # All together in one call of a second, against two calls of a second.
    assert ahead().reason == "max_wait"
    assert ahead(gap=0.9).reason == "max_wait"
    assert ahead(gap=1.0).reason == "max_wait"
    assert ahead(gap=1.1).reason == "ahead"


def test_the_way_to_and_fro_is_saved_twice_by_sending_ahead() -> None:
    assert ahead(lag=0.5).reason == "max_wait"
    assert ahead(lag=0.51).reason == "ahead"


def test_what_is_compared_is_items_a_second() -> None:
    # 12 items; merged at most 8 of them travel in a second, apart all in two.
    assert ahead(waiting=6, served=6, crowd=12.0, gap=0.3).reason == "max_wait"
    assert ahead(waiting=6, served=6, crowd=12.0, gap=0.4).reason == "ahead"


def test_nothing_is_sent_ahead_unless_all_but_less_than_one_are_here() -> None:
    assert ahead(crowd=8.5, gap=2.0).reason == "ahead"
    assert ahead(crowd=8.6, gap=2.0).reason == "max_wait"


def test_it_has_to_have_been_quiet_in_nine_cases_of_ten() -> None:
    lane, timing = lane_of()
    lane.arrive(0.0, 4)
    lane.send(0.0)
    lane.arrive(0.0, 4)
    timing._crowd, timing._gap, timing._quiet = 8.0, 2.0, AdaptiveTiming.QUIET - 0.001
    assert lane.decide(0.0).reason == "max_wait"
    timing._quiet = AdaptiveTiming.QUIET
    assert lane.decide(0.0) == (NOW, "ahead")


def test_the_crowd_is_the_average_of_the_most_that_were_here_between_two_sends() -> None:
    lane, timing = lane_of()
    lane.arrive(0.0, 3)
    first = lane.send(0.0)
    assert timing._crowd == pytest.approx(0.9)
    lane.arrive(0.1, 2)
    lane.complete(first, 1.0)
    lane.send(1.0)
    assert timing._crowd == pytest.approx(0.9 + 0.3 * 4.1)
    assert timing._peak == 2


def test_what_stays_behind_counts_for_the_next_peak_as_well() -> None:
    lane, timing = lane_of()
    lane.arrive(0.0, MAX_BATCH + 3)
    lane.send(0.0)
    assert timing._peak == MAX_BATCH + 3


def test_it_was_quiet_where_nobody_came_after_all_were_counted() -> None:
    lane, timing = lane_of(crowd=4.4)
    timing._quiet = 0.5
    lane.arrive(0.0, 2)
    batch = lane.send(0.0)
    timing._crowd = 4.5
    lane.arrive(0.1, 1)
    assert not timing._all_here
    lane.arrive(0.1, 1)
    assert timing._all_here
    assert not timing._surprised
    lane.complete(batch, 1.0)
    assert timing._quiet == pytest.approx(0.5 + 0.1 * 0.5)
    assert not timing._all_here


def test_it_was_not_where_somebody_came_even_so() -> None:
    lane, timing = lane_of()
    timing._quiet = 0.5
    lane.arrive(0.0, 2)
    batch = lane.send(0.0)
    timing._crowd = 3.0
    lane.arrive(0.1)
    assert timing._all_here
    lane.arrive(0.2)
    assert timing._surprised
    lane.complete(batch, 1.0)
    assert timing._quiet == pytest.approx(0.45)
    assert not timing._surprised


def test_nobody_counts_who_is_here_while_the_upstream_is_free() -> None:
    lane, timing = lane_of(crowd=2.0)
    lane.arrive(0.0, 2)
    assert not timing._all_here


def test_a_chance_begins_with_the_first_to_come_and_ends_when_less_than_half_of_one_is_awaited() -> None:
    lane, timing = lane_of(crowd=4.0)
    timing._last_completion = 5.0
    lane.arrive(6.0)
    assert (timing._awaited, timing._since, timing._break_even) == (3.0, 6.0, 0.75)
    lane.arrive(6.1, 2)
    assert timing._awaited == 1.0
    lane.arrive(6.3)
    assert timing._awaited == 0.0
    assert timing._return == pytest.approx(0.2 * 0.3 / 0.75)
    assert timing._gap == pytest.approx(0.2 * 1.3)
    timing._learn_return(6.45)
    assert timing._return == pytest.approx(0.08 + 0.2 * (0.45 / 0.75 - 0.08))
    assert timing._gap == pytest.approx(0.26 + 0.2 * (1.45 - 0.26))


def test_half_of_one_is_still_awaited() -> None:
    lane, timing = lane_of(crowd=2.5)
    lane.arrive(0.0)
    assert timing._awaited == 1.5
    lane.arrive(0.0)
    assert timing._awaited == 0.5


def test_who_comes_much_too_late_counts_only_as_lost() -> None:
    _, timing = lane_of()
    timing._since, timing._break_even, timing._last_completion = 0.0, 0.1, 0.0
    timing._learn_return(100.0)
    assert timing._return == pytest.approx(0.2 * AdaptiveTiming.LOST)


def test_where_waiting_could_not_break_even_nothing_is_learned() -> None:
    _, timing = lane_of()
    timing._since = timing._last_completion = 0.0
    timing._break_even = 0.0
    timing._learn_return(1.0)
    assert (timing._return, timing._gap) == (0.0, 0.0)


def test_the_next_batch_that_comes_back_ends_a_chance_even_with_less_than_one_awaited() -> None:
    lane, timing = lane_of(crowd=1.0)
    lane.arrive(0.0)
    batch = lane.send(0.0)
    timing._awaited, timing._since, timing._break_even, timing._last_completion = 0.6, 0.0, 1.0, 0.0
    lane.complete(batch, 1.0)
    assert timing._awaited == 0.0
    assert timing._return == pytest.approx(0.2)


def test_who_waits_when_a_batch_comes_back_begins_a_chance() -> None:
    lane, timing = lane_of()
    lane.arrive(0.0, 2)
    batch = lane.send(0.0)
    lane.arrive(0.5, 1)
    timing._crowd, timing._awaited = 4.0, 0.0
    lane.complete(batch, 1.0)
    assert (timing._awaited, timing._since, timing._break_even) == (3.0, 1.0, 0.75)


def test_nobody_here_begins_no_chance() -> None:
    lane, timing = lane_of()
    lane.arrive(0.0, 2)
    batch = lane.send(0.0)
    timing._crowd, timing._awaited = 4.0, 0.0
    lane.complete(batch, 1.0)
    assert timing._awaited == 0.0


def test_those_who_were_sent_ahead_could_have_been_held() -> None:
    lane, timing = lane_of()
    lane.arrive(0.0, 2)
    first = lane.send(0.0)
    for _ in range(2):
        lane.arrive(0.1, 1)
        lane.send(0.1)
    timing._crowd, timing._awaited = 7.0, 0.0
    lane.complete(first, 1.0)
    # Two are queued and nobody is being served as far as holding goes: five may still come.
    assert (timing._awaited, timing._break_even) == (5.0, pytest.approx(5 / 7))


def test_those_beside_a_free_server_could_not() -> None:
    lane, timing = lane_of(parallelism=2)
    lane.arrive(0.0, 2)
    first = lane.send(0.0)
    lane.arrive(0.1, 1)
    lane.send(0.1)
    timing._crowd, timing._awaited = 14.0, 0.0
    lane.complete(first, 1.0)
    assert timing._awaited == 0.0


def test_a_batch_is_freed_when_as_many_came_back_as_stood_before_it() -> None:
    lane, timing = lane_of(parallelism=2)
    batches = []
    for moment in range(4):
        lane.arrive(moment / 10)
        batches.append(lane.send(moment / 10))
    assert [timing._flights[batch].blockers for batch in batches] == [1, 1, 1, 2]
    lane.complete(batches[0], 1.0)
    lane.complete(batches[1], 2.0)
    assert [timing._flights[batch].freed for batch in batches[2:]] == [1.0, 2.0]


def test_only_batches_beside_none_teach_the_cost_and_only_seen_ones_the_servers() -> None:
    lane, timing = lane_of()
    lane.elsewhere = 1
    lane.arrive(0.0)
    lane.complete(lane.send(0.0), 9.0)
    assert timing._cost.of(1) == 1.0
    assert timing._parallel._estimate == 1.0
    lane.elsewhere = 0
    lane.arrive(10.0)
    lane.complete(lane.send(10.0), 12.0)
    assert timing._cost.of(1) == pytest.approx(1.1)


def test_half_of_one_is_worth_watching_for() -> None:
    lane, timing = lane_of(crowd=2.5)
    lane.arrive(0.0, 2)
    assert (timing._awaited, timing._break_even) == (0.5, 0.2)
    lane, timing = lane_of(crowd=2.4)
    lane.arrive(0.0, 2)
    assert timing._awaited == 0.0


def test_who_overlapped_a_failure_is_not_judged_though_all_else_was_seen() -> None:
    for ok, estimate in ((True, 1.3), (False, 1.0)):
        lane, timing = lane_of()
        lane.arrive(0.0)
        first = lane.send(0.0)
        lane.arrive(0.0)
        second = lane.send(0.0)
        lane.complete(first, 0.9, ok=ok)
        lane.complete(second, 1.0)
        assert timing._parallel._estimate == pytest.approx(estimate)
