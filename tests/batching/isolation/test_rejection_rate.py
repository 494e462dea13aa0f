"""The share of refused inputs: an average of all at first, of the newest later; and the batch size that suits it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.isolation.rejection_rate import NONE, PRIOR_ACCEPTED, WEIGHT, RejectionRate

#: So many items that the average knows nothing but these, and the newest item weighs ``WEIGHT`` from then on.
MANY = 1_000_000_000


def rate_of(share: float) -> RejectionRate:
    rate = RejectionRate()
    rate.share = share
    return rate


def settled_at(rejected: int) -> RejectionRate:
    """Return the rate after ``MANY`` items of which so many were refused."""
    rate = RejectionRate()
    rate.add(rejected, MANY)
    assert rate.share == rejected / MANY
    return rate


# The share


def test_the_share_begins_as_the_average_of_all_items_and_of_some_that_count_as_accepted() -> None:
    rate = RejectionRate()
    rejected = judged = 0
    for newly_rejected, newly_judged in [(1, 2), (0, 2), (1, 1), (3, 3), (0, 32)]:
        rate.add(newly_rejected, newly_judged)
        rejected += newly_rejected
        judged += newly_judged
        assert rate.share == pytest.approx(rejected / (PRIOR_ACCEPTED + judged))


def test_items_that_are_accepted_before_the_first_is_refused_count_for_nothing() -> None:
    rate = RejectionRate()
    for _ in range(100):
        rate.add(0, 32)
    assert rate.share == 0.0
    rate.add(1, 1)
    assert rate.share == pytest.approx(1 / (PRIOR_ACCEPTED + 1))


@pytest.mark.parametrize("judged", [1, 2, 32])
@pytest.mark.parametrize("all_rejected", [False, True])
def test_the_share_is_then_an_average_of_the_newest_items(judged: int, all_rejected: bool) -> None:
    rate = settled_at(MANY // 2)
    rate.add(judged if all_rejected else 0, judged)
    weight = 1.0 - (1.0 - WEIGHT) ** judged
    assert rate.share == pytest.approx(0.5 + weight * (0.5 if all_rejected else -0.5))


def test_one_batch_teaches_as_much_as_its_items_would_one_by_one() -> None:
    whole, single = settled_at(MANY // 2), settled_at(MANY // 2)
    whole.add(32, 32)
    for _ in range(32):
        single.add(1, 1)
    assert whole.share == pytest.approx(single.share)


@pytest.mark.parametrize(("rejected", "is_none"), [(0.99, True), (1.0, False), (1.01, False)])
def test_a_share_below_the_negligible_counts_as_none(rejected: float, is_none: bool) -> None:
    rate = RejectionRate()
    rate.add(round(rejected * NONE * MANY), MANY)
    assert (rate.share == 0.0) == is_none


def test_after_a_share_of_none_the_next_refusal_is_like_the_first() -> None:
    rate = settled_at(round(NONE / (1.0 - WEIGHT) * 1.01 * MANY))
    rate.add(0, 1)
    assert rate.share > NONE
    rate.add(0, 1)
    rate.add(0, 1)
    assert rate.share == 0.0
    rate.add(1, 1)
    assert rate.share == pytest.approx(1 / (PRIOR_ACCEPTED + 1))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5])
@pytest.mark.parametrize("rejected", [0, 1])
def test_a_batch_of_which_no_item_was_judged_teaches_nothing(share: float, rejected: int) -> None:
    rate, untaught = settled_at(round(share * MANY)), settled_at(round(share * MANY))
    rate.add(rejected, 0)
    assert rate.share == share
    for each in (rate, untaught):
        each.add(1, 4)
    assert rate.share == untaught.share


@given(st.lists(st.integers(1, 64).flatmap(lambda judged: st.tuples(st.integers(0, judged), st.just(judged)))))
def test_whatever_is_learned_the_share_is_a_share(batches: list[tuple[int, int]]) -> None:
    rate = RejectionRate()
    for rejected, judged in batches:
        rate.add(rejected, judged)
        assert rate.share == 0.0 or NONE <= rate.share <= 1.0


def test_a_rate_tells_its_share() -> None:
    assert repr(rate_of(0.12345)) == "<RejectionRate 0.1235>"


# The batch size


@pytest.mark.parametrize(
    ("share", "size"),
    [(0.0, 32), (0.006, 32), (0.0065, 16), (0.02, 8), (0.05, 4), (0.1, 4), (0.2, 2), (0.4, 2), (0.5, 1), (1.0, 1)],
)
def test_the_more_inputs_are_refused_the_smaller_the_batches(share: float, size: int) -> None:
    assert rate_of(share).batch_size(32) == size


@pytest.mark.parametrize("most", [1, 2, 3, 32, 33, 1000])
def test_batches_are_as_large_as_can_be_while_hardly_any_input_is_refused(most: int) -> None:
    assert RejectionRate().batch_size(most) == most
    assert rate_of(1e-9).batch_size(most) == most


@pytest.mark.parametrize(("most", "halves"), [(33, {33, 17, 9, 5, 3, 2, 1}), (20, {20, 10, 5, 3, 2, 1})])
def test_an_odd_batch_is_halved_upwards(most: int, halves: set[int]) -> None:
    assert {rate_of(share / 10_000).batch_size(most) for share in range(10_001)} == halves


def expected_calls(share: float, size: int) -> float:
    """Return the calls that the isolation of a batch of this size is expected to cost."""
    return (1.0 - (1.0 - share) ** size) * (math.log2(size) + 0.5)


@given(st.floats(0.0, 1.0), st.integers(1, 1000))
def test_the_batch_size_is_the_largest_half_whose_isolation_is_expected_to_cost_less_than_a_call(
    share: float, most: int
) -> None:
    size = rate_of(share).batch_size(most)
    assert size == 1 or expected_calls(share, size) <= 1.0
    larger = most
    while larger != size:
        assert expected_calls(share, larger) > 1.0
        larger = (larger + 1) // 2
