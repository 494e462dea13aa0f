"""The classic rule, and what all rules have in common."""

from __future__ import annotations

import pytest

from batching.clock import NEVER, NOW
from batching.timing.rule import (
    AHEAD,
    BULK,
    CROWD,
    DRAIN,
    FULL,
    HOLD,
    IDLE,
    MAX_WAIT,
    PROBE,
    REASONS,
    SETTLED,
    SUSPECT,
    Decision,
    FixedTiming,
)
from tests.batching.timing.fakes import MAX_BATCH, FakeLane

WAIT = 0.1


def test_every_reason_for_sending_is_listed() -> None:
    sending = (FULL, MAX_WAIT, CROWD, IDLE, SETTLED, AHEAD, PROBE, DRAIN, SUSPECT, BULK)
    assert tuple(decision.reason for decision in sending) == REASONS
    assert set(REASONS) == {
        "full",
        "max_wait",
        "crowd",
        "idle",
        "settled",
        "ahead",
        "probe",
        "drain",
        "suspect",
        "bulk",
    }
    assert {decision.due for decision in sending} == {NOW}
    assert HOLD == (NEVER, "hold")


@pytest.mark.parametrize(
    ("arrivals", "now", "decision"),
    [
        ([(1.0, MAX_BATCH)], 1.0, FULL),
        ([(1.0, MAX_BATCH)], 9.0, FULL),
        ([(1.0, MAX_BATCH - 1)], 1.0, (1.0 + WAIT, "max_wait")),
        ([(1.0, 1), (1.05, 1)], 1.05, (1.0 + WAIT, "max_wait")),
        ([(1.0, 1), (1.05, 1)], 1.0 + WAIT, MAX_WAIT),
        ([(1.0, 1), (1.05, 1)], 1.0 + WAIT - 0.001, (1.0 + WAIT, "max_wait")),
    ],
)
def test_a_batch_is_due_when_full_or_max_wait_after_its_first_item(
    arrivals: list[tuple[float, int]], now: float, decision: Decision
) -> None:
    lane = FakeLane(FixedTiming(WAIT))
    for moment, count in arrivals:
        lane.arrive(moment, count)
    assert lane.decide(now) == decision


def test_the_classic_rule_learns_nothing_from_calls() -> None:
    lane = FakeLane(FixedTiming(WAIT))
    lane.arrive(1.0)
    lane.serve(1.0, 5.0)
    lane.arrive(6.0)
    assert lane.decide(6.0) == (6.0 + WAIT, "max_wait")
