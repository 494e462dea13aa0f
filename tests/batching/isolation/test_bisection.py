"""A search finds bad inputs within its bounds, wherever and however many they are, and blames no good one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.isolation.bisection import Bisection, Group, most_calls


@dataclass
class Found:
    """What a search came to, as positions in the batch."""

    cleared: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    returned: set[int] = field(default_factory=set)
    unresolved: set[int] = field(default_factory=set)
    calls: int = 0


def search(
    size: int,
    bad: set[int],
    *,
    most: float = math.inf,
    blames_one: bool = True,
    staying: frozenset[int] = frozenset(),
) -> Found:
    """Search a refused batch. ``staying``: positions that cannot return."""
    bisection = Bisection(size, blames_one=blames_one, may_return=lambda group: not staying & set(range(*group)))
    found = Found()
    while found.calls < most and (group := bisection.next()) is not None:
        found.calls += 1
        inputs = set(range(*group))
        if inputs & bad:
            bisection.refused(group)
            found.refused |= inputs if group.size == 1 else set()
        else:
            bisection.clean(group)
            found.cleared |= inputs
    found.returned = {position for group in bisection.returned for position in range(*group)}
    found.unresolved = {position for group in bisection.unresolved() for position in range(*group)}
    if found.calls < most:
        assert not found.unresolved
    of_all = [*found.cleared, *found.refused, *found.returned, *found.unresolved]
    assert sorted(of_all) == list(range(size))
    return found


BATCHES = st.integers(2, 64).flatmap(
    lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), min_size=1))
)


@given(BATCHES)
def test_the_first_bad_input_is_found_and_those_before_it_are_cleared_and_those_behind_it_return(
    batch: tuple[int, set[int]],
) -> None:
    size, bad = batch
    found = search(size, bad)
    first = min(bad)
    assert found.refused == {first}
    assert found.cleared >= set(range(first))
    assert found.returned | found.cleared == set(range(size)) - {first}
    assert found.calls <= math.ceil(math.log2(size)) + 1


@given(st.integers(2, 1000).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
def test_a_search_costs_a_call_for_each_halving_and_one_more_for_a_verdict_by_elimination(
    batch: tuple[int, int],
) -> None:
    size, bad = batch
    assert search(size, {bad}).calls <= math.ceil(math.log2(size)) + 1 <= most_calls(size)


def test_an_input_found_by_elimination_is_asked_about_and_no_judged_input_returns() -> None:
    bisection = Bisection(2, blames_one=True, may_return=lambda group: True)
    assert bisection.next() == Group(0, 1)
    bisection.clean(Group(0, 1))
    assert bisection.next() == Group(1, 2)
    bisection.refused(Group(1, 2))
    assert bisection.next() is None
    assert (bisection.returned, bisection.unresolved()) == ([], [])


@given(BATCHES)
def test_where_no_input_can_return_every_input_is_judged(batch: tuple[int, set[int]]) -> None:
    size, bad = batch
    found = search(size, bad, staying=frozenset(range(size)))
    assert found.refused == bad
    assert found.cleared == set(range(size)) - bad
    assert found.calls <= 2 * size - 2


@given(BATCHES, st.frozensets(st.integers(0, 63)))
def test_an_input_that_cannot_return_is_judged(batch: tuple[int, set[int]], staying: frozenset[int]) -> None:
    size, bad = batch
    found = search(size, bad, staying=staying)
    assert not found.returned & staying
    assert found.refused <= bad
    assert not found.cleared & bad


@given(BATCHES, st.integers(0, 20), st.booleans())
def test_a_search_that_ends_early_blames_no_good_input(
    batch: tuple[int, set[int]], most: int, blames_one: bool
) -> None:
    size, bad = batch
    found = search(size, bad, most=most, blames_one=blames_one)
    assert found.calls <= most
    assert found.refused <= bad
    assert not found.cleared & bad


@given(st.integers(2, 64))
def test_a_batch_that_was_only_too_large_is_cleared_in_two_calls(size: int) -> None:
    found = search(size, set(), blames_one=False)
    assert (len(found.cleared), found.calls) == (size, 2)


@given(BATCHES)
def test_no_input_returns_from_a_batch_that_may_only_have_been_too_large(batch: tuple[int, set[int]]) -> None:
    size, bad = batch
    found = search(size, bad, blames_one=False)
    assert (found.refused, found.returned) == (bad, set())


def test_the_largest_group_is_asked_about_first() -> None:
    bisection = Bisection(8, blames_one=False, may_return=lambda group: False)
    asked = []
    for _ in range(4):
        group = bisection.next()
        assert group is not None
        asked.append(group)
        bisection.refused(group)
    assert asked == [Group(0, 4), Group(4, 8), Group(0, 2), Group(2, 4)]
    assert bisection.unresolved() == [Group(0, 1), Group(1, 2), Group(2, 3), Group(3, 4), Group(4, 6), Group(6, 8)]


@pytest.mark.parametrize(("size", "calls"), [(2, 6), (3, 8), (32, 14), (1000, 24)])
def test_the_bound_grows_with_the_halvings(size: int, calls: int) -> None:
    assert most_calls(size) == calls
