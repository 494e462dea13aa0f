"""The adaptive rule over whole histories: crowds that come back, spread out, shrink and split into cohorts."""

from __future__ import annotations

from copy import deepcopy

import pytest

from batching.clock import NOW
from batching.timing.adaptive import AdaptiveTiming
from tests.batching.timing.fakes import MAX_BATCH, MAX_WAIT, FakeLane, adaptive, call, crowd_of, serve

# ---- limits hold whatever was learned -----------------------------------------------------------


def test_a_full_batch_goes_at_once_even_behind_another() -> None:
    lane = adaptive()
    lane.arrive(0.0)
    lane.send(0.0)
    lane.arrive(0.001, MAX_BATCH)
    assert lane.decide(0.001) == (NOW, "full")


def test_no_item_is_held_beyond_max_wait() -> None:
    lane = adaptive()
    lane.arrive(0.0)
    lane.send(0.0)
    lane.arrive(0.001)
    assert lane.decide(0.001) == (0.001 + MAX_WAIT, "max_wait")
    assert lane.decide(0.001 + MAX_WAIT) == (NOW, "max_wait")


def test_while_the_upstream_is_busy_the_batch_grows() -> None:
    lane = adaptive()
    lane.elsewhere = 1
    lane.arrive(0.0)
    assert lane.decide(0.0).due == MAX_WAIT


def test_asking_changes_nothing() -> None:
    lane, now = crowd_of(4)
    lane.arrive(now + 0.001)
    before = deepcopy(lane.learned)
    answers = {lane.decide(now + 0.002) for _ in range(50)}
    assert len(answers) == 1
    assert lane.learned == before


# ---- holding ------------------------------------------------------------------------------------


def test_the_very_first_request_is_not_held() -> None:
    lane = adaptive()
    lane.arrive(5.0)
    assert lane.decide(5.0).due <= 5.0


def test_one_client_is_never_held() -> None:
    lane = adaptive()
    now = 0.0
    for _ in range(2000):
        now += 0.003
        lane.arrive(now)
        assert lane.decide(now).due <= now
        now = serve(lane, now)


def test_a_crowd_is_sent_when_its_last_item_arrives() -> None:
    lane, now = crowd_of(4)
    for client in range(3):
        lane.arrive(now + 0.0001 * client)
        assert lane.decide(now + 0.0001 * client).due > now + 0.0001 * client
    lane.arrive(now + 0.0004)
    assert lane.decide(now + 0.0004) == (NOW, "crowd")


def test_each_arrival_of_a_crowd_that_streams_back_renews_the_wait() -> None:
    lane, now = crowd_of(7, pause=0.008)
    held_until = []
    for client in range(6):
        moment = now + 0.0015 * (client + 1)
        lane.arrive(moment)
        held_until.append(lane.decide(moment).due)
        assert held_until[-1] > moment
    last_wait = held_until[-1] - moment
    assert moment - now > 3 * last_wait


def test_the_fewer_items_are_missing_the_shorter_the_wait() -> None:
    lane, now = crowd_of(7)
    waits = []
    for client in range(6):
        moment = now + 0.0001 * (client + 1)
        lane.arrive(moment)
        waits.append(lane.decide(moment).due - moment)
    assert waits == sorted(waits, reverse=True)


def test_a_late_item_is_not_waited_for_beyond_the_break_even_wait() -> None:
    lane, now = crowd_of(4)
    lane.arrive(now + 0.001, 3)
    due, reason = lane.decide(now + 0.001)
    # Three items wait for one: the break-even wait is a quarter of a call of three.
    assert reason == "settled"
    assert due == pytest.approx(now + 0.001 + call(3) / 4, rel=0.05)
    assert lane.decide(due) == (NOW, "settled")


def test_two_cohorts_are_merged_again() -> None:
    lane = adaptive()
    lane.arrive(0.0, 4)
    batch, end = lane.send(0.0), 0.014
    for _ in range(8):
        lane.arrive(end - 0.005, 4)  # the other cohort waits when the first is answered …
        lane.complete(batch, end)
        if lane.decide(end).due > end:
            break
        batch = lane.send(end)
        end += 0.014
    else:
        pytest.fail("the cohorts were never merged")
    lane.arrive(end + 0.0005, 4)  # … and is held until that one is back
    assert lane.decide(end + 0.0005).due == NOW


def test_holding_stops_where_it_does_not_pay() -> None:
    lane, now = crowd_of(4)
    for _ in range(12):
        # One of four comes back at once, the others when the next batch has been sent.
        lane.arrive(now + 0.001)
        if lane.decide(now + 0.001) == (NOW, "idle"):
            return
        batch = lane.send(now + 0.001)
        lane.arrive(now + 0.011, 3)
        now += 0.012
        lane.complete(batch, now)
        now = serve(lane, now)
    pytest.fail("it went on holding")


def test_whether_holding_would_pay_is_learned_without_holding() -> None:
    lane, now = crowd_of(4)
    lane.learned.return_time = AdaptiveTiming.LOST
    rounds = 0
    while lane.learned.return_time > AdaptiveTiming.PAYS:
        lane.arrive(now + 0.001)
        assert lane.decide(now + 0.001) == (NOW, "idle")
        batch = lane.send(now + 0.001)
        lane.arrive(now + 0.0015, 3)  # a moment later all are here: holding would have paid
        lane.complete(batch, now + 0.012)
        now = serve(lane, now + 0.012)
        rounds += 1
    assert rounds < 10


def test_a_crowd_that_shrinks_is_forgotten_in_a_few_batches() -> None:
    lane, now = crowd_of(6)
    rounds = 0
    while True:
        lane.arrive(now + 0.0001)
        lane.arrive(now + 0.0002)
        due, reason = lane.decide(now + 0.0002)
        if reason == "crowd":
            break
        now = serve(lane, max(due, now + 0.0002))
        rounds += 1
    assert rounds < 8


def test_a_failed_call_teaches_nothing_about_what_calls_cost() -> None:
    lane, now = crowd_of(2)
    before = deepcopy(lane.learned.cost)
    lane.arrive(now, 2)
    lane.complete(lane.send(now), now + 30.0, ok=False)
    assert lane.learned.cost == before


# ---- sending ahead ------------------------------------------------------------------------------


def two_cohorts(first: int, second: int, rounds: int) -> tuple[FakeLane, float]:
    """A crowd too large for one batch on a serial upstream: one cohort is served while the other waits.

    Every tenth time the upstream has a batch queued, as a probe would do, from which the lag is learned.
    """
    lane = adaptive()
    now, lag = 0.0, 0.002
    for size in (1, first, second):  # from these the cost of calls is learned, the lag included
        lane.arrive(now, size)
        batch = lane.send(now)
        now += lag + call(size)
        lane.complete(batch, now)
    lane.arrive(now, first)
    current, size, other = lane.send(now), first, second
    for turn in range(rounds):
        lane.arrive(now + 0.0005, other)
        if turn % 10 == 9:
            queued = lane.send(now + 0.001)
            now += lag + call(size)
            lane.complete(current, now)
            lane.arrive(now + 0.0003, size)
            now += call(other)
            lane.complete(queued, now)
            current = lane.send(now)
            continue
        now += lag + call(size)
        lane.complete(current, now)
        current, size, other = lane.send(now), other, size
    return lane, now


def test_when_the_whole_crowd_is_here_the_next_batch_is_queued_at_the_busy_upstream() -> None:
    lane, now = two_cohorts(7, 7, 40)
    lane.arrive(now + 0.0005, 6)
    assert lane.decide(now + 0.0005).reason == "max_wait"
    lane.arrive(now + 0.0006)
    assert lane.decide(now + 0.0006) == (NOW, "ahead")


def test_nothing_is_sent_ahead_where_items_arrive_after_the_whole_crowd() -> None:
    lane, now = two_cohorts(7, 7, 40)
    lane.learned.quiet = 0.8
    lane.arrive(now + 0.0005, 7)
    assert lane.decide(now + 0.0005).reason == "max_wait"
