"""A pace spends nearly all of a minute, evenly, and never more."""

from __future__ import annotations

import pytest

from upstream.pace import MINUTE, Pace


@pytest.mark.parametrize("per_minute", [20, 60, 300])
def test_a_pace_spends_nearly_all_of_a_minute_and_never_more(per_minute: int) -> None:
    pace = Pace(per_minute, 0.0, burst=0.02 * per_minute)
    now, spent = 0.0, []
    while now < 3 * MINUTE:
        pace.spend(1, now)
        spent.append(now)
        now = pace.when(1, now)
    most = max(sum(at <= each < at + MINUTE for each in spent) for at in spent)
    assert 0.9 * per_minute <= most <= per_minute


def test_a_call_that_costs_more_than_a_burst_leaves_and_the_next_waits_for_it() -> None:
    pace = Pace(600, 0.0, burst=10)
    assert pace.when(100, 0.0) == 0.0
    pace.spend(100, 0.0)
    assert pace.when(1, 0.0) == pytest.approx(91 / (0.99 * 600 - 10) * MINUTE)
