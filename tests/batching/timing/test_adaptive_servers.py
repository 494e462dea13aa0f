"""The adaptive rule over whole histories: how many servers the upstream has, and probes that find out."""

from __future__ import annotations

import pytest

from batching.clock import NOW
from tests.batching.timing.fakes import FakeLane, adaptive, call, crowd_of, serve


def overlapping(lane: FakeLane, now: float, *, serial: bool) -> float:
    """Serve two calls of one item that overlap, as fast as a serial or a parallel upstream would."""
    service = call(1)
    lane.arrive(now)
    first = lane.send(now)
    lane.arrive(now + 0.001)
    second = lane.send(now + 0.001)
    lane.complete(first, now + service)
    end = now + 2 * service if serial else now + 0.001 + service
    lane.complete(second, end)
    return end


def test_an_upstream_that_works_on_two_calls_at_once_gets_two() -> None:
    lane, now = crowd_of(1)
    for _ in range(3):
        now = overlapping(lane, now + 0.1, serial=False)
    assert lane.learned.parallelism.servers == 2
    lane.arrive(now + 0.1)
    lane.send(now + 0.1)
    lane.arrive(now + 0.101)
    assert lane.decide(now + 0.101).due <= now + 0.101


def test_a_serial_upstream_gets_one_whatever_the_setting_says() -> None:
    lane = adaptive(parallelism=2)
    lane.arrive(0.0)
    now = serve(lane, 0.0)
    for _ in range(3):
        now = overlapping(lane, now + 0.1, serial=True)
    assert lane.learned.parallelism.servers == 1


def test_one_outlier_does_not_change_the_number_of_servers() -> None:
    lane, now = crowd_of(1)
    now = overlapping(lane, now + 0.1, serial=False)
    assert lane.learned.parallelism.servers == 1
    lane = adaptive(parallelism=2)
    lane.arrive(0.0)
    overlapping(lane, serve(lane, 0.0) + 0.1, serial=True)
    assert lane.learned.parallelism.servers == 2


def test_calls_in_flight_beside_a_failed_one_teach_nothing() -> None:
    lane, now = crowd_of(1)
    for _ in range(5):
        lane.arrive(now)
        failing = lane.send(now)
        lane.arrive(now + 0.001)
        beside = lane.send(now + 0.001)
        lane.complete(failing, now + 0.002, ok=False)
        now += 3 * call(1)
        lane.complete(beside, now)
    assert lane.learned.parallelism.servers == 1
    assert lane.learned.cost.of(1) == pytest.approx(call(1))


def test_calls_beside_those_of_other_lanes_are_not_judged() -> None:
    lane, now = crowd_of(1)
    lane.elsewhere = 1
    for _ in range(5):
        lane.arrive(now)
        now = serve(lane, now)
    assert lane.learned.parallelism.servers == 1


def test_after_some_batches_a_probe_is_sent_beside_another_call() -> None:
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
        now += call(1)
        lane.complete(batch, now)
        now = serve(lane, now)


def test_on_several_servers_each_takes_its_share_of_the_crowd() -> None:
    lane = adaptive(parallelism=2)
    now = 0.0
    for _ in range(12):
        lane.arrive(now, 6)
        now = serve(lane, now)
    lane.arrive(now, 2)
    assert lane.decide(now).due > now
    lane.arrive(now)
    assert lane.decide(now) == (NOW, "crowd")
