"""What a health check means beside the calls that the server answers, and when a server is tried out."""

from __future__ import annotations

import pytest

from batching.clock import NOW
from upstream.health import BUSY_FOR, FIRST_TRIAL, LAST_TRIAL, Health, Trials, weigh

WELL = Health(True)
REFUSED = Health(False, "connection refused")
UNKNOWN = Health(False, "GET /health is answered with status 404", is_unknown=True)
#: The health check began at this moment, and may take so many seconds.
BEGAN, TIMEOUT = 100.0, 2.0
LATE = BEGAN + TIMEOUT


# A check beside calls


@pytest.mark.parametrize(
    ("health", "now", "succeeded_at", "means"),
    [
        # What it says for sure is taken.
        (WELL, BEGAN + 0.1, NOW, WELL),
        (WELL, BEGAN + 0.1, BEGAN - 1000.0, WELL),
        (UNKNOWN, BEGAN + 0.1, BEGAN + 0.05, UNKNOWN),
        (UNKNOWN, LATE, NOW, UNKNOWN),
        # No batch has ever succeeded.
        (REFUSED, BEGAN + 0.1, NOW, REFUSED),
        (REFUSED, LATE, NOW, REFUSED),
        # It failed at once: only a batch that came back after it began says more.
        (REFUSED, BEGAN + 0.1, BEGAN + 0.05, WELL),
        (REFUSED, BEGAN + 0.1, BEGAN, WELL),
        (REFUSED, BEGAN + 0.1, BEGAN - 0.001, REFUSED),
        # It ran into its time: a batch shortly before explains it.
        (REFUSED, LATE, BEGAN - 0.001, WELL),
        (REFUSED, LATE, LATE - BUSY_FOR, WELL),
        (REFUSED, LATE, LATE - BUSY_FOR - 0.001, REFUSED),
        (REFUSED, BEGAN + 0.91 * TIMEOUT, BEGAN - 1.0, WELL),
        (REFUSED, BEGAN + 0.89 * TIMEOUT, BEGAN - 1.0, REFUSED),
    ],
)
def test_a_check_means_this_beside_a_batch_that_succeeded_then(
    health: Health, now: float, succeeded_at: float, means: Health
) -> None:
    assert weigh(health, BEGAN, now, succeeded_at, TIMEOUT) == means


# Trials


def test_none_is_wanted_at_the_beginning() -> None:
    trials = Trials()
    assert not trials.are_wanted
    assert not trials.latest.is_well


def test_the_first_is_due_at_once() -> None:
    trials = Trials()
    trials.want()
    assert trials.are_wanted
    assert trials.is_due(0.0)


def test_after_each_that_fails_the_next_is_due_twice_as_late() -> None:
    trials = Trials()
    trials.want()
    now, pauses = 0.0, []
    for _ in range(7):
        trials.ended(REFUSED, now)
        pause = FIRST_TRIAL
        while not trials.is_due(now + pause):
            pause *= 2
        assert not trials.is_due(now + pause - 0.001)
        pauses.append(pause)
        now += pause
    assert pauses == [FIRST_TRIAL, 2.0, 4.0, 8.0, *[LAST_TRIAL] * 3]
    assert trials.latest == REFUSED


def test_to_want_them_again_does_not_begin_anew() -> None:
    trials = Trials()
    trials.want()
    trials.ended(REFUSED, 0.0)
    trials.want()
    assert not trials.is_due(FIRST_TRIAL - 0.001)


def test_one_that_succeeds_is_the_last_and_the_pauses_begin_anew() -> None:
    trials = Trials()
    trials.want()
    for now in (0.0, 10.0, 20.0):
        trials.ended(REFUSED, now)
    trials.ended(WELL, 30.0)
    assert not trials.are_wanted
    assert trials.latest == WELL
    trials.want()
    assert trials.is_due(30.0)
    trials.ended(REFUSED, 30.0)
    assert trials.is_due(30.0 + FIRST_TRIAL)


def test_a_batch_that_succeeds_ends_them_as_well() -> None:
    trials = Trials()
    trials.want()
    trials.succeeded()
    assert not trials.are_wanted


def test_a_clients_call_that_fails_stands_for_the_first_trial() -> None:
    trials = Trials()
    trials.failed(REFUSED, 10.0)
    assert trials.are_wanted
    assert trials.latest == REFUSED
    assert not trials.is_due(10.0 + FIRST_TRIAL - 0.001)
    assert trials.is_due(10.0 + FIRST_TRIAL)


def test_clients_calls_that_fail_again_and_again_do_not_put_the_trial_off() -> None:
    trials = Trials()
    for now in (10.0, 10.2, 10.4, 10.6, 10.8):
        trials.failed(REFUSED, now)
    assert trials.is_due(10.0 + FIRST_TRIAL)


def test_they_say_what_they_know() -> None:
    trials = Trials()
    said = [repr(trials)]
    trials.failed(REFUSED, 0.0)
    said.append(repr(trials))
    assert [text.split(",")[0] for text in said] == ["<Trials not wanted", "<Trials wanted"]
    assert "connection refused" in said[1]
