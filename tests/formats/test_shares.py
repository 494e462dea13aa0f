"""Shares are whole numbers in proportion, and always add up."""

from __future__ import annotations

import random

import pytest

from formats.shares import shares


@pytest.mark.parametrize(
    ("total", "weights", "expected"),
    [
        (10, [1], [10]),
        (0, [1], [0]),
        (10, [0], [10]),
        (10, [1, 1], [5, 5]),
        (10, [1, 4], [2, 8]),
        (1, [1, 1], [1, 0]),
        (1, [1, 2], [0, 1]),
        (5, [1, 1, 1], [2, 2, 1]),
        (7, [3, 0, 3], [4, 0, 3]),
        (100, [1, 1, 1], [34, 33, 33]),
        (0, [3, 4], [0, 0]),
        (3, [0, 0], [2, 1]),
        (0, [], []),
    ],
)
def test_what_rounding_leaves_goes_to_the_largest_remainders(
    total: int, weights: list[int], expected: list[int]
) -> None:
    assert shares(total, weights) == expected


def test_shares_of_many_weights_add_up_exactly_and_are_off_by_less_than_one() -> None:
    numbers = random.Random(13)
    for _ in range(300):
        weights = [numbers.randrange(0, 10_000) for _ in range(numbers.randrange(1, 70))]
        total = numbers.randrange(0, 10**6)
        divided = shares(total, weights)
        assert sum(divided) == total
        if whole := sum(weights):
            assert all(
                abs(part * whole - total * weight) < whole for part, weight in zip(divided, weights, strict=True)
            )


def test_a_weight_of_nothing_gets_nothing_beside_others() -> None:
    assert shares(1000, [0, 1, 0, 2]) == [0, 333, 0, 667]


def test_the_weights_stay_as_they_are() -> None:
    weights = [0, 0, 0]
    assert shares(4, weights) == [2, 1, 1]
    assert weights == [0, 0, 0]
