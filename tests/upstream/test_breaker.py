"""An upstream that keeps failing is left alone, tried with one batch, and taken back."""

from __future__ import annotations

import pytest

from tests.support.fakes import items_of
from upstream.breaker import Breaker, State


def failed(breaker: Breaker, times: int, now: float) -> list[bool]:
    return [breaker.failed(now) for _ in range(times)]


def opened(now: float) -> Breaker:
    """Return a breaker that opens at this moment for the first time."""
    breaker = Breaker()
    assert failed(breaker, Breaker.FAILURES, now)[-1]
    return breaker


def test_it_opens_after_five_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker()
    assert failed(breaker, 4, 0.0) == [False] * 4
    breaker.succeeded()
    assert failed(breaker, 4, 0.0) == [False] * 4
    assert breaker.is_closed
    assert breaker.failed(0.0)
    assert (breaker.state, breaker.is_closed, breaker.until) == (State.OPEN, False, 1.0)


# What inputs explain


def test_failures_of_one_input_never_open_it_and_those_of_different_ones_do() -> None:
    breaker = Breaker()
    for _ in range(10 * Breaker.FAILURES):
        assert not breaker.failed(0.0, items_of("poison", "mate"))
        assert not breaker.failed(0.0, items_of("poison"))
    ejected = [breaker.failed(0.0, items_of(f"text {number}")) for number in range(Breaker.FAILURES - 1)]
    assert ejected == [False] * (Breaker.FAILURES - 2) + [True]


def test_failures_before_any_input_was_sent_count_each_beside_those() -> None:
    breaker = Breaker()
    for _ in range(Breaker.FAILURES):
        assert not breaker.failed(0.0, items_of("poison"))
    assert failed(breaker, Breaker.FAILURES - 1, 0.0)[-1]


def test_one_failure_may_say_enough() -> None:
    assert Breaker().failed(0.0, items_of("text"), at_once=True)


@pytest.mark.parametrize(
    ("calls", "opens"),
    [
        (["a"] * 5, False),
        (["a"] * 50, False),
        (["ab", "a", "ac", "a", "a"], False),
        (["a", "a", "a", "a", "b"], True),
        (["a", "b", "a", "b"], False),
        (["a", "b", "a", "b", "a"], True),
    ],
    ids=str,
)
def test_calls_that_failed_on_the_way_count_each_once_two_inputs_are_among_them(calls: list[str], opens: bool) -> None:
    breaker = Breaker()
    ejected = [breaker.failed(0.0, items_of(*call), is_between=True) for call in calls]
    assert any(ejected) is opens
    assert not any(ejected[:-1])


@pytest.mark.parametrize(
    ("calls", "is_doubtful", "is_no_inputs_fault", "would_open"),
    [
        ([], False, False, False),
        (["a"], False, False, False),
        (["a", "a"], False, False, False),
        (["a", "a", "a"], True, False, False),
        (["a", "b"], False, True, False),
        (["a", "b", "c"], True, True, False),
        (["a", "b", "c", "d"], True, True, True),
        (["a", "b", "c", "x"], True, True, False),  # its input is one of those that have failed
        (["a", "b", "c", "d", "e"], True, True, False),  # it is open
    ],
    ids=str,
)
def test_it_says_what_its_failures_mean(
    calls: list[str], is_doubtful: bool, is_no_inputs_fault: bool, would_open: bool
) -> None:
    breaker = Breaker()
    for call in calls:
        breaker.failed(0.0, items_of(call))
    assert (breaker.is_doubtful, breaker.is_no_inputs_fault) == (is_doubtful, is_no_inputs_fault)
    assert breaker.would_open(items_of("x")) is would_open
    breaker.succeeded()
    assert (breaker.is_doubtful, breaker.is_no_inputs_fault) == (False, False)


# How it is tried


@pytest.mark.parametrize(("since", "wants_probe"), [(0.0, False), (0.999, False), (1.0, True), (100.0, True)])
def test_it_wants_a_probe_from_the_moment_its_time_is_over(since: float, wants_probe: bool) -> None:
    assert opened(8.0).wants_probe(8.0 + since) is wants_probe


def test_a_closed_one_wants_no_probe() -> None:
    assert not Breaker().wants_probe(1e9)


def test_one_batch_tries_it_and_closes_it() -> None:
    breaker = opened(0.0)
    breaker.probe()
    assert breaker.state is State.HALF_OPEN
    assert not breaker.wants_probe(1e9)
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    assert failed(breaker, 5, 2.0) == [False] * 4 + [True]


def test_each_failed_probe_doubles_its_time_up_to_a_limit() -> None:
    breaker = opened(0.0)
    pauses = []
    for _ in range(6):
        now = breaker.until
        breaker.probe()
        assert breaker.failed(now)
        assert breaker.state is State.OPEN
        pauses.append(breaker.until - now)
    assert pauses == [2.0, 4.0, 8.0, 16.0, 16.0, 16.0]


def test_success_forgets_how_long_it_was_open() -> None:
    breaker = opened(10.0)
    breaker.probe()
    breaker.failed(11.0)
    breaker.succeeded()
    assert failed(breaker, 5, 20.0)[-1]
    assert breaker.until == 20.0 + Breaker.FIRST


def test_failures_of_calls_from_before_do_not_prolong_it() -> None:
    breaker = opened(0.0)
    assert failed(breaker, 5, 0.5) == [False] * 5
    assert breaker.until == 1.0


def test_the_success_of_a_call_from_before_closes_it() -> None:
    breaker = opened(0.0)
    breaker.succeeded()
    assert breaker.is_closed


def test_a_probe_that_says_nothing_leaves_room_for_another() -> None:
    breaker = opened(0.0)
    breaker.probe()
    breaker.ignore()
    assert breaker.state is State.OPEN
    assert breaker.wants_probe(1.0)


@pytest.mark.parametrize("times", [0, 4, 5])
def test_what_says_nothing_changes_no_other_state(times: int) -> None:
    breaker = Breaker()
    failed(breaker, times, 0.0)
    before = repr(breaker)
    breaker.ignore()
    assert repr(breaker) == before


@pytest.mark.parametrize(("moment", "until"), [(0.25, 0.25), (1.0, 1.0), (5.0, 1.0)])
def test_it_may_be_tried_earlier_and_not_later(moment: float, until: float) -> None:
    breaker = opened(0.0)
    breaker.retry_by(moment)
    assert breaker.until == until


@pytest.mark.parametrize("opened_at", [-10.0, 0.0, 10.0])
def test_an_upstream_that_was_seen_to_answer_is_tried_at_once(opened_at: float) -> None:
    breaker = opened(opened_at)
    breaker.readmit()
    assert breaker.wants_probe(opened_at)


def test_being_seen_to_answer_changes_nothing_for_a_closed_one() -> None:
    breaker = Breaker()
    failed(breaker, 4, 0.0)
    breaker.readmit()
    assert breaker.is_closed
    assert breaker.failed(0.0)


def test_being_seen_to_answer_during_a_probe_lets_no_second_probe_start() -> None:
    breaker = opened(0.0)
    breaker.probe()
    breaker.readmit()
    assert not breaker.wants_probe(1e9)


def test_it_says_its_state() -> None:
    breaker = Breaker()
    said = [repr(breaker)]
    failed(breaker, 5, 0.5)
    said.append(repr(breaker))
    breaker.probe()
    said.append(repr(breaker))
    assert said == [
        "<Breaker closed, 0 different failures in a row>",
        "<Breaker open until 1.500, 5 different failures in a row>",
        "<Breaker half open, 5 different failures in a row>",
    ]
