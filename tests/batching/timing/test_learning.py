"""What single calls teach: the cost of a call, and how many the upstream works on at once."""

from __future__ import annotations

import pytest

from batching.timing.learning import CallCost, Flight, Parallelism
from tests.batching.timing.fakes import SECOND, about, cost_of

FIRST, EVERY, NEXT = Parallelism.FIRST_PROBE, Parallelism.PROBE_EVERY, Parallelism.NEXT_PROBE

# ---- what a call costs --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "size", "seconds"),
    [
        pytest.param([], 10, 0.0, id="unknown before the first"),
        pytest.param([(4, 1.0)], 4, 1.0, id="the first counts in full"),
        pytest.param([(4, 1.0), (4, 2.0)], 4, 1.0 + CallCost.WEIGHT, id="later ones by their weight"),
        pytest.param([(4, 0.02), (4, 0.02)], 1, 0.02, id="equal sizes make no line, below"),
        pytest.param([(4, 0.02), (4, 0.02)], 32, 0.02, id="equal sizes make no line, above"),
        pytest.param([(1, 1.0), (2, 2.0)], 11, 11.0, id="a variance of 0.09 is enough for a line"),
        pytest.param([(n, 0.01 + 0.004 * n) for n in (1, 2, 3) * 5], 10, 0.050, id="the line goes through all"),
        pytest.param([(n, 0.01 + 0.004 * n) for n in (1, 2, 3) * 5], 0, 0.010, id="its start is the fixed part"),
        pytest.param([(n, 0.01 + 0.001 * n) for n in (1, 8, 3, 6, 2, 7)], 32, 0.042, id="it reaches beyond"),
        pytest.param([(2, 1.0), (4, 9.0)], 0, 0.0, id="no items never take less than no time"),
        pytest.param([(1, 0.03), (8, 0.01)], 8, 0.028, id="larger calls never count as faster"),
    ],
)
def test_the_cost_of_a_call_is_a_line_over_its_size(calls: list[tuple[int, float]], size: int, seconds: float) -> None:
    assert cost_of(*calls).of(size) == about(seconds)


@pytest.mark.parametrize(
    ("sizes", "size", "known"),
    [([], 1, False), ([4], 8, True), ([4], 9, False), ([3, 1], 6, True), ([3, 1], 7, False)],
)
def test_the_line_is_known_up_to_twice_the_largest_call(sizes: list[int], size: int, known: bool) -> None:
    assert cost_of(*((each, 1.0) for each in sizes)).knows(size) is known


# ---- how many calls the upstream works on at once -----------------------------------------------


def flight_of(sent: float, freed: float, *, beside: int = 1, size: int = 1) -> Flight:
    return Flight(size, sent, beside, is_seen=True, blockers=0, freed=freed)


@pytest.mark.parametrize(
    ("servers", "flight", "last_completion", "now", "estimate", "until_probe", "lag"),
    [
        pytest.param(1, flight_of(0.0, 0.5), 0.5, 1.0, 1.3, NEXT, 0.0, id="an overlap of half a call is judged"),
        pytest.param(1, flight_of(0.0, 0.499), 0.499, 1.0, 1.0, FIRST, 0.0, id="a shorter one is not"),
        pytest.param(1, flight_of(1.0, 9.0), 0.0, 1.4, 1.0, FIRST, 0.0, id="an overlap ends with the call itself"),
        pytest.param(1, flight_of(0.0, 1.0, size=16), 1.0, 1.0, 1.3, NEXT, 0.0, id="a known size is judged"),
        pytest.param(1, flight_of(0.0, 1.0, size=17), 1.0, 1.0, 1.0, FIRST, 0.0, id="an unknown size is not"),
        pytest.param(1, flight_of(0.0, 1.0), 1.0, 1.5, 1.3, NEXT, 0.0, id="half the overlap late counts as no wait"),
        pytest.param(1, flight_of(0.0, 1.0), 1.0, 1.501, 1.0, EVERY, 0.2495, id="later than that counts as a wait"),
        pytest.param(1, flight_of(0.0, 1.0), 1.0, 1.8, 1.0, EVERY, 0.1, id="the lag is what it took less than alone"),
        pytest.param(1, flight_of(0.0, 1.0), 1.0, 3.0, 1.0, EVERY, 0.0, id="the lag is never negative"),
        pytest.param(2, flight_of(0.0, 1.0, beside=2), 1.0, 1.0, 2.3, NEXT, 0.0, id="a third server is found"),
        pytest.param(4, flight_of(0.0, 1.0, beside=2), 1.0, 1.0, 4.0, FIRST, 0.0, id="no wait confirms the estimate"),
        pytest.param(4, flight_of(0.0, 1.0, beside=2), 1.0, 2.0, 3.4, FIRST, 0.0, id="a wait beside 2 means 2 servers"),
    ],
)
def test_an_overlap_is_judged_by_how_late_the_call_came_back(
    *, servers: int, flight: Flight, last_completion: float, now: float, estimate: float, until_probe: int, lag: float
) -> None:
    parallelism = Parallelism(float(servers))
    parallelism.judge(flight, SECOND, last_completion, now)
    assert (parallelism.estimate, parallelism.lag) == (about(estimate), about(lag))
    assert parallelism.until_probe == until_probe
    assert parallelism.servers == round(estimate)


def test_two_equal_verdicts_in_a_row_move_the_servers_by_one() -> None:
    parallelism = Parallelism()
    seen = []
    for _ in range(2):
        parallelism.judge(flight_of(0.0, 1.0), SECOND, last_completion=1.0, now=1.0)
        seen.append((parallelism.servers, parallelism.estimate))
    assert seen == [(1, about(1.3)), (2, about(1.51))]


def test_the_lag_is_a_moving_average() -> None:
    parallelism = Parallelism()
    lags = []
    for now in (1.8, 1.6, 3.0):
        parallelism.judge(flight_of(0.0, 1.0), SECOND, last_completion=1.0, now=now)
        lags.append(parallelism.lag)
    assert lags == [about(0.1), about(0.25), about(0.125)]


@pytest.mark.parametrize(
    ("sent", "wants_probe", "until_probe"),
    [
        (FIRST - 1, False, 1),
        (FIRST, True, 0),
        (2 * FIRST, True, -FIRST),
        (2 * FIRST + 1, False, EVERY),
    ],
)
def test_a_probe_is_due_after_some_batches_and_given_up_after_as_many_more(
    sent: int, wants_probe: bool, until_probe: int
) -> None:
    parallelism = Parallelism()
    for _ in range(sent):
        parallelism.sent()
    assert (parallelism.wants_probe, parallelism.until_probe) == (wants_probe, until_probe)
