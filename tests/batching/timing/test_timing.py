"""Decisions without threads, clocks or a queue: what the timing objects see, say and learn."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest

from batching.clock import NEVER, NOW
from batching.timing.adaptive import AdaptiveTiming
from batching.timing.learning import CallCost
from batching.timing.rule import REASONS, Decision, FixedTiming, Timing

MAX_BATCH = 8
MAX_WAIT = 0.1
FIXED, PER_ITEM = 0.010, 0.001


@dataclass
class FakeLane:
    """The state of a lane, and what becomes of it: everything that happens is told to the timing object."""

    timing: Timing
    waiting: int = 0
    is_full: bool = False
    oldest: float = NEVER
    in_flight_items: int = 0
    #: Batches under way in other lanes.
    elsewhere: int = 0

    def __post_init__(self) -> None:
        self.flights: dict[int, int] = {}
        self._names = itertools.count()

    def decide(self, now: float) -> Decision:
        return self.timing.decide(self, len(self.flights) + self.elsewhere, now)

    def arrive(self, now: float, count: int = 1) -> None:
        self.oldest = min(self.oldest, now)
        self.waiting += count
        self.is_full = self.waiting >= MAX_BATCH
        self.timing.arrived(self, count, now)

    def send(self, now: float) -> int:
        size = min(self.waiting, MAX_BATCH)
        self.waiting -= size
        self.is_full = self.waiting >= MAX_BATCH
        self.oldest = now if self.waiting else NEVER
        self.in_flight_items += size
        beside = len(self.flights) + self.elsewhere
        batch = next(self._names)
        self.flights[batch] = size
        self.timing.sent(self, batch, size, beside, now)
        return batch

    def complete(self, batch: int, now: float, *, ok: bool = True) -> None:
        self.in_flight_items -= self.flights.pop(batch)
        self.timing.completed(self, batch, now, ok=ok)

    def serve(self, now: float) -> float:
        """Send what waits and let the upstream answer; return when it has."""
        batch = self.send(now)
        end = now + FIXED + PER_ITEM * self.flights[batch]
        self.complete(batch, end)
        return end


def adaptive(parallelism: int = 1) -> FakeLane:
    return FakeLane(AdaptiveTiming(MAX_BATCH, MAX_WAIT, parallelism))


def crowd_of(clients: int, rounds: int = 12, *, pause: float = 0.0005) -> tuple[FakeLane, float]:
    """A lane that has served a closed crowd that comes back within ``pause``, and the moment it was last served."""
    lane = adaptive()
    now = 0.0
    for _ in range(rounds):
        for client in range(clients):
            lane.arrive(now + pause * (client + 1) / clients)
        now = lane.serve(now + pause)
    return lane, now


# ---- the classic rule ---------------------------------------------------------------------------


def test_fixed_timing_sends_a_full_batch_at_once() -> None:
    lane = FakeLane(FixedTiming(MAX_WAIT))
    lane.arrive(1.0, MAX_BATCH)
    assert lane.decide(1.0) == (NOW, "full")


def test_fixed_timing_sends_a_partial_batch_max_wait_after_its_first_item() -> None:
    lane = FakeLane(FixedTiming(MAX_WAIT))
    lane.arrive(1.0)
    lane.arrive(1.05)
    assert lane.decide(1.05) == (1.0 + MAX_WAIT, "max_wait")
    assert lane.decide(1.0 + MAX_WAIT) == (NOW, "max_wait")


# ---- what a call costs --------------------------------------------------------------------------


def test_the_cost_of_a_call_is_unknown_before_the_first() -> None:
    assert CallCost().of(10) == 0.0


def test_while_all_calls_were_alike_every_size_costs_what_was_seen() -> None:
    cost = CallCost()
    cost.add(4, 0.02)
    cost.add(4, 0.02)
    assert cost.of(1) == cost.of(32) == pytest.approx(0.02)


def test_the_cost_of_a_call_is_a_line_over_its_size() -> None:
    cost = CallCost()
    for size in (1, 8, 3, 6, 2, 7):
        cost.add(size, FIXED + PER_ITEM * size)
    assert cost.of(0) == pytest.approx(FIXED)
    assert cost.of(32) == pytest.approx(FIXED + PER_ITEM * 32)


def test_larger_calls_never_count_as_faster() -> None:
    cost = CallCost()
    cost.add(1, 0.03)
    cost.add(8, 0.01)
    assert cost.of(8) >= cost.of(1)


def test_a_line_is_not_stretched_beyond_twice_what_was_seen() -> None:
    cost = CallCost()
    cost.add(4, 0.01)
    assert cost.knows(8)
    assert not cost.knows(9)


# ---- limits hold whatever was learned -----------------------------------------------------------


def test_a_full_batch_goes_at_once_even_behind_another() -> None:
    lane = adaptive()
    lane.arrive(0.0)
    lane.send(0.0)
    lane.arrive(0.001, MAX_BATCH)
    assert lane.decide(0.001) == (NOW, "full")


def test_nobody_is_held_beyond_max_wait() -> None:
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
    answers = {lane.decide(now + 0.002) for _ in range(50)}
    assert len(answers) == 1


def test_every_reason_is_listed() -> None:
    assert set(REASONS) == {"full", "max_wait", "crowd", "idle", "settled", "ahead", "probe", "drain"}


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
        now = lane.serve(now)


def test_a_crowd_is_sent_the_moment_everybody_is_back() -> None:
    lane, now = crowd_of(4)
    for client in range(3):
        lane.arrive(now + 0.0001 * client)
        assert lane.decide(now + 0.0001 * client).due > now + 0.0001 * client
    lane.arrive(now + 0.0004)
    assert lane.decide(now + 0.0004) == (NOW, "crowd")


def test_a_crowd_that_streams_back_is_waited_for_as_long_as_it_keeps_coming() -> None:
    lane, now = crowd_of(7, pause=0.008)
    held_until = []
    for client in range(6):
        moment = now + 0.0015 * (client + 1)
        lane.arrive(moment)
        held_until.append(lane.decide(moment).due)
        assert held_until[-1] > moment
    # Each arrival renewed the patience, so all together were waited for much longer than any one of them.
    patience = held_until[-1] - moment
    assert moment - now > 3 * patience


def test_the_fewer_are_missing_the_shorter_the_wait_for_them() -> None:
    lane, now = crowd_of(7)
    waits = []
    for client in range(6):
        moment = now + 0.0001 * (client + 1)
        lane.arrive(moment)
        waits.append(lane.decide(moment).due - moment)
    assert waits == sorted(waits, reverse=True)


def test_a_straggler_is_given_up_when_waiting_costs_the_others_more_than_it_saves() -> None:
    lane, now = crowd_of(4)
    lane.arrive(now + 0.001, 3)
    due, reason = lane.decide(now + 0.001)
    # Three wait for one: the wait that breaks even is a quarter of a call of three.
    assert reason == "settled"
    assert due == pytest.approx(now + 0.001 + (FIXED + 3 * PER_ITEM) / 4, rel=0.05)
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
        pytest.fail("the cohorts never met")
    lane.arrive(end + 0.0005, 4)  # … and is held until that one is back
    assert lane.decide(end + 0.0005).due == NOW


def test_holding_stops_where_it_does_not_pay() -> None:
    lane, now = crowd_of(4)
    for _ in range(12):
        # One of four comes back, the others only when the next batch is long gone.
        lane.arrive(now + 0.001)
        if lane.decide(now + 0.001) == (NOW, "idle"):
            return
        batch = lane.send(now + 0.001)
        lane.arrive(now + 0.011, 3)
        now += 0.012
        lane.complete(batch, now)
        now = lane.serve(now)
    pytest.fail("it went on holding")


def test_whether_holding_would_pay_is_learned_without_holding() -> None:
    lane, now = crowd_of(4)
    timing = lane.timing
    assert isinstance(timing, AdaptiveTiming)
    timing._return = 2.0
    rounds = 0
    while timing._return > timing.PAYS:
        lane.arrive(now + 0.001)
        assert lane.decide(now + 0.001) == (NOW, "idle")
        batch = lane.send(now + 0.001)
        lane.arrive(now + 0.0015, 3)  # a moment later all are here: holding would have paid
        lane.complete(batch, now + 0.012)
        now = lane.serve(now + 0.012)
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
        now = lane.serve(max(due, now + 0.0002))
        rounds += 1
    assert rounds < 8


def test_a_failed_call_teaches_nothing_about_what_calls_cost() -> None:
    lane, now = crowd_of(2)
    timing = lane.timing
    assert isinstance(timing, AdaptiveTiming)
    before = timing._cost.of(2)
    lane.arrive(now, 2)
    lane.complete(lane.send(now), now + 30.0, ok=False)
    assert timing._cost.of(2) == before


# ---- sending ahead ------------------------------------------------------------------------------


def two_cohorts(first: int, second: int, rounds: int) -> tuple[FakeLane, float]:
    """A crowd too large for one batch on a serial upstream: one cohort is served while the other waits.

    Every tenth time the upstream has a batch queued, as a probe would do, from which the lag is learned.
    """
    lane = adaptive()
    now, lag = 0.0, 0.002
    for size in (1, first, second):  # what calls cost, the way to and fro included
        lane.arrive(now, size)
        batch = lane.send(now)
        now += lag + FIXED + PER_ITEM * size
        lane.complete(batch, now)
    lane.arrive(now, first)
    current, size, other = lane.send(now), first, second
    for turn in range(rounds):
        lane.arrive(now + 0.0005, other)
        if turn % 10 == 9:
            queued = lane.send(now + 0.001)
            now += lag + FIXED + PER_ITEM * size
            lane.complete(current, now)
            lane.arrive(now + 0.0003, size)
            now += FIXED + PER_ITEM * other
            lane.complete(queued, now)
            current = lane.send(now)
            continue
        now += lag + FIXED + PER_ITEM * size
        lane.complete(current, now)
        current, size, other = lane.send(now), other, size
    return lane, now


def test_when_nobody_else_can_come_the_next_batch_is_queued_at_the_busy_upstream() -> None:
    lane, now = two_cohorts(7, 7, 40)
    lane.arrive(now + 0.0005, 6)
    assert lane.decide(now + 0.0005).reason == "max_wait"
    lane.arrive(now + 0.0006)
    assert lane.decide(now + 0.0006) == (NOW, "ahead")


def test_nothing_is_sent_ahead_while_people_keep_coming() -> None:
    lane, now = two_cohorts(7, 7, 40)
    timing = lane.timing
    assert isinstance(timing, AdaptiveTiming)
    timing._quiet = 0.8
    lane.arrive(now + 0.0005, 7)
    assert lane.decide(now + 0.0005).reason == "max_wait"


# ---- parallel upstreams -------------------------------------------------------------------------


def overlapping(lane: FakeLane, now: float, *, serial: bool) -> float:
    """Serve two calls of one item that overlap, as fast as a serial or a parallel upstream would."""
    service = FIXED + PER_ITEM
    lane.arrive(now)
    first = lane.send(now)
    lane.arrive(now + 0.001)
    second = lane.send(now + 0.001)
    lane.complete(first, now + service)
    end = now + 2 * service if serial else now + 0.001 + service
    lane.complete(second, end)
    return end


def servers_of(lane: FakeLane) -> int:
    assert isinstance(lane.timing, AdaptiveTiming)
    return lane.timing._parallel.servers


def test_an_upstream_that_works_on_two_calls_at_once_gets_two() -> None:
    lane, now = crowd_of(1)
    for _ in range(3):
        now = overlapping(lane, now + 0.1, serial=False)
    assert servers_of(lane) == 2
    lane.arrive(now + 0.1)
    lane.send(now + 0.1)
    lane.arrive(now + 0.101)
    assert lane.decide(now + 0.101).due <= now + 0.101


def test_a_serial_upstream_gets_one_whatever_the_setting_says() -> None:
    lane = adaptive(parallelism=2)
    lane.arrive(0.0)
    now = lane.serve(0.0)
    for _ in range(3):
        now = overlapping(lane, now + 0.1, serial=True)
    assert servers_of(lane) == 1


def test_one_slow_or_lucky_call_changes_nothing() -> None:
    lane, now = crowd_of(1)
    now = overlapping(lane, now + 0.1, serial=False)
    assert servers_of(lane) == 1
    lane = adaptive(parallelism=2)
    lane.arrive(0.0)
    overlapping(lane, lane.serve(0.0) + 0.1, serial=True)
    assert servers_of(lane) == 2


def test_what_is_under_way_beside_a_failure_teaches_nothing() -> None:
    lane, now = crowd_of(1)
    for _ in range(5):
        lane.arrive(now)
        failing = lane.send(now)
        lane.arrive(now + 0.001)
        beside = lane.send(now + 0.001)
        lane.complete(failing, now + 0.002, ok=False)
        now += 3 * (FIXED + PER_ITEM)
        lane.complete(beside, now)
    assert servers_of(lane) == 1
    assert lane.timing._cost.of(1) == pytest.approx(FIXED + PER_ITEM)


def test_calls_beside_those_of_other_lanes_are_not_judged() -> None:
    lane, now = crowd_of(1)
    lane.elsewhere = 1
    for _ in range(5):
        lane.arrive(now)
        now = lane.serve(now)
    assert servers_of(lane) == 1


def test_now_and_then_a_call_is_sent_beside_another_to_see_whether_they_overlap() -> None:
    lane, now = crowd_of(1, rounds=20)
    lane.arrive(now)
    lane.send(now)
    lane.arrive(now + 0.001)
    assert lane.decide(now + 0.001) == (NOW, "probe")


def test_a_probe_that_found_the_upstream_serial_is_not_repeated_soon() -> None:
    lane, now = crowd_of(1, rounds=20)
    now = overlapping(lane, now, serial=True)
    for _ in range(100):
        lane.arrive(now)
        batch = lane.send(now)
        lane.arrive(now + 0.001)
        assert lane.decide(now + 0.001).reason != "probe"
        now += FIXED + PER_ITEM
        lane.complete(batch, now)
        now = lane.serve(now)


def test_on_several_servers_each_takes_its_share_of_the_crowd() -> None:
    lane = adaptive(parallelism=2)
    now = 0.0
    for _ in range(12):
        lane.arrive(now, 6)
        now = lane.serve(now)
    lane.arrive(now, 2)
    assert lane.decide(now).due > now
    lane.arrive(now)
    assert lane.decide(now) == (NOW, "crowd")
