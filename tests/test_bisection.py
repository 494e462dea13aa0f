"""Whoever is guilty, and however many, the search finds them within its bounds and blames nobody else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.bisection import Bisection, group_size, most_calls


def search(
    size: int, guilty: set[int], *, most: float = math.inf, implies: bool = True
) -> tuple[set[int], set[int], int]:
    """Return who was cleared, who was convicted, and after how many calls."""
    bisection = Bisection(size)
    cleared: set[int] = set()
    convicted: set[int] = set()
    calls = 0
    while calls < most and (group := bisection.next()) is not None:
        calls += 1
        inputs = set(range(group.start, group.stop))
        if inputs & guilty:
            bisection.refused(group)
            convicted |= inputs if group.size == 1 else set()
        else:
            bisection.clean(group, implies_other=implies)
            cleared |= inputs
    doubted = {position for group in bisection.unresolved() for position in range(group.start, group.stop)}
    if calls < most:
        assert not doubted
    assert cleared | convicted | doubted == set(range(size))
    return cleared, convicted, calls


BATCHES = st.integers(2, 64).flatmap(
    lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), min_size=1))
)


@given(BATCHES)
def test_every_input_is_judged_rightly(batch: tuple[int, set[int]]) -> None:
    size, guilty = batch
    cleared, convicted, calls = search(size, guilty)
    assert convicted == guilty
    assert cleared == set(range(size)) - guilty
    assert calls <= 2 * size - 2


@given(st.integers(2, 1000).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
def test_one_guilty_input_is_found_within_two_calls_for_each_halving(batch: tuple[int, int]) -> None:
    size, guilty = batch
    cleared, convicted, calls = search(size, {guilty})
    assert (len(cleared), convicted) == (size - 1, {guilty})
    assert calls <= 2 * math.ceil(math.log2(size))


@given(BATCHES, st.integers(0, 20))
def test_a_search_that_ends_early_blames_nobody_wrongly(batch: tuple[int, set[int]], most: int) -> None:
    size, guilty = batch
    cleared, convicted, calls = search(size, guilty, most=most)
    assert calls <= most
    assert convicted <= guilty
    assert not cleared & guilty


@given(st.integers(2, 64))
def test_a_batch_that_was_only_too_large_is_cleared_in_two_calls(size: int) -> None:
    cleared, _, calls = search(size, set(), implies=False)
    assert (len(cleared), calls) == (size, 2)


def test_with_two_guilty_of_32_hardly_anybody_is_left_in_doubt() -> None:
    doubted = []
    for first in range(32):
        for second in range(first):
            cleared, convicted, _ = search(32, {first, second}, most=most_calls(32))
            doubted.append(32 - len(cleared) - len(convicted))
    assert sum(doubted) / len(doubted) < 1.0
    assert max(doubted) <= 6


@pytest.mark.parametrize(("size", "calls"), [(2, 6), (3, 8), (32, 14), (1000, 24)])
def test_the_bound_grows_with_the_halvings(size: int, calls: int) -> None:
    assert most_calls(size) == calls


@pytest.mark.parametrize(
    ("share", "size"),
    [(0.0, 32), (0.003, 32), (0.004, 16), (0.01, 8), (0.05, 4), (0.1, 2), (0.2, 2), (0.9, 1), (1.0, 1)],
)
def test_the_more_are_guilty_the_smaller_the_groups(share: float, size: int) -> None:
    assert group_size(share, 32) == size
