"""Failures count by the inputs that they have in common, and successes are remembered by the second."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batching.isolation.evidence import MEMORY, MOST_SETS, WITNESSED_WITHIN, DistinctFailures, Record
from tests.support.concurrency import Nursery
from tests.support.fakes import items_of


def failures_of(*calls: str) -> DistinctFailures:
    """Return the failures of calls whose inputs are the letters of these words."""
    failures = DistinctFailures()
    for call in calls:
        failures.add(items_of(*call))
    return failures


# How many inputs must be bad


@pytest.mark.parametrize(
    ("calls", "count"),
    [
        ([], 0),
        (["a"], 1),
        (["a", "a", "a", "a", "a", "a"], 1),
        (["abcd", "ae", "af", "a"], 1),
        (["a", "b"], 2),
        (["ab", "cd", "ef", "gh", "ij"], 5),
        # Each has an input in common with one that is counted.
        (["ab", "bc", "cd"], 2),
        (["abcdef", "a", "b"], 2),
        # A search of one batch: the halves that fail are parts of it.
        (["abcdefgh", "abcd", "ab", "a"], 1),
        (["abcdefgh", "abcd", "ab", "a", "b", "c", "d", "e"], 5),
        # Two counted failures that a third has inputs of stay two.
        (["ab", "cd", "bc", "c"], 2),
        (["ab", "cd", "abcd"], 2),
        # As large as the one that is counted: it says no more.
        (["ab", "ac", "b"], 1),
    ],
    ids=str,
)
def test_failures_count_as_many_as_no_common_input_explains(calls: list[str], count: int) -> None:
    assert failures_of(*calls).count == count


def test_a_success_begins_the_count_anew() -> None:
    failures = failures_of("a", "b")
    failures.add_other()
    failures.clear()
    assert failures.count == 0
    failures.clear()
    failures.add(items_of("a"))
    assert failures.count == 1


def test_failures_before_any_input_was_sent_count_each() -> None:
    failures = failures_of("a", "a")
    for _ in range(3):
        failures.add_other()
    assert failures.count == 4


def test_how_many_are_kept_is_bounded_and_more_than_any_threshold() -> None:
    failures = DistinctFailures()
    for number in range(10 * MOST_SETS):
        failures.add(items_of(f"{number}"))
    assert failures.count == MOST_SETS
    for _ in range(10 * MOST_SETS):
        failures.add_other()
    assert failures.count == 2 * MOST_SETS


def test_a_call_of_the_same_input_twice_is_one_input() -> None:
    failures = DistinctFailures()
    failures.add(items_of("a", "a"))
    failures.add(items_of("a"))
    assert failures.count == 1


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    bad=st.sets(st.integers(0, 15), min_size=1, max_size=4),
    calls=st.lists(st.sets(st.integers(0, 15), min_size=1, max_size=6), max_size=30),
)
def test_never_more_are_counted_than_inputs_are_bad(bad: set[int], calls: list[set[int]]) -> None:
    """However the clients that repeat bad inputs meet others in batches: that many never eject an upstream."""
    failures = DistinctFailures()
    for inputs in calls:
        if inputs & bad:
            failures.add(items_of(*map(str, inputs)))
    assert failures.count <= len(bad)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), size=st.integers(1, 32))
def test_an_upstream_that_fails_on_all_inputs_is_counted_with_each_batch(seed: int, size: int) -> None:
    numbers = itertools.count(seed)
    failures = DistinctFailures()
    for count in range(1, MOST_SETS):
        failures.add(items_of(*(str(next(numbers)) for _ in range(size))))
        assert failures.count == count


def test_the_order_of_the_inputs_of_a_call_is_no_matter() -> None:
    letters = list("abcdefgh")
    counts = set()
    for seed in range(20):
        random.Random(seed).shuffle(letters)
        failures = failures_of("abcdefgh", "".join(letters), "".join(letters[:1]))
        counts.add(failures.count)
    assert counts == {1}


# What calls came to


def test_failures_are_counted_since_the_last_success() -> None:
    record = Record()
    for expected in (1, 2, 3):
        record.failed()
        assert record.failures == expected
    record.succeeded(1.0)
    assert record.failures == 0
    record.failed()
    assert record.failures == 1


@pytest.mark.parametrize(
    ("moment", "is_near"),
    [
        (100.0, True),
        (100.0 - WITNESSED_WITHIN, True),
        (100.0 + WITNESSED_WITHIN, True),
        (100.9 + WITNESSED_WITHIN, True),  # the second counts
        (100.0 - WITNESSED_WITHIN - 1.0, False),
        (101.0 + WITNESSED_WITHIN, False),
        (0.0, False),
    ],
)
def test_a_success_is_near_where_few_seconds_lie_between(moment: float, is_near: bool) -> None:
    record = Record()
    record.succeeded(100.5)
    assert record.succeeded_near(moment) is is_near


def test_without_a_success_none_is_near() -> None:
    record = Record()
    record.failed()
    assert not record.succeeded_near(0.0)


def test_a_failure_afterwards_takes_nothing_from_an_earlier_success() -> None:
    record = Record()
    record.succeeded(5.0)
    record.failed()
    assert record.succeeded_near(5.0)


@pytest.mark.parametrize("each_second", [1, 100])
def test_successes_are_remembered_for_longer_than_any_verdict_holds_however_many_there_are(each_second: int) -> None:
    record = Record()
    for step in range(2 * MEMORY * each_second):
        record.succeeded(step / each_second)
    last = 2 * MEMORY - 1
    assert record.succeeded_near(float(last))
    assert record.succeeded_near(last - MEMORY + 1.0)
    assert not record.succeeded_near(last - MEMORY - WITNESSED_WITHIN)


def test_threads_may_note_and_ask_at_the_same_time() -> None:
    record = Record()

    def note(start: int) -> None:
        for step in range(2000):
            record.failed()
            record.succeeded(start + step / 10)
            record.succeeded_near(float(step))

    with Nursery() as nursery:
        for start in range(4):
            nursery.start(note, start)
    assert record.succeeded_near(200.0)
    assert record.failures <= 4


def test_what_is_known_can_be_read() -> None:
    record = Record()
    assert repr(record) == "<Record: last success in second None, 0 failures since>"
    record.succeeded(7.9)
    record.failed()
    assert repr(record) == "<Record: last success in second 7, 1 failures since>"
    assert repr(failures_of("a", "b")) == "<DistinctFailures 2>"
