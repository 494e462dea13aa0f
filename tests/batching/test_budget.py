"""A budget is filled by ordinary calls and spent by extra ones, down to what is kept for calls that matter more."""

from __future__ import annotations

import pytest

from batching.budget import Budget
from tests.support.concurrency import Nursery, frequent_switches


def spent(budget: Budget, most: int = 1000, *, keep: float = 0.0) -> int:
    """Return how many tokens can be spent now, one after the other."""
    return next((count for count in range(most) if not budget.spend(keep)), most)


@pytest.mark.parametrize(("floor", "extra_calls"), [(0.0, 0), (0.9, 0), (1.0, 1), (2.0, 2), (2.5, 2)])
def test_a_budget_is_spent_down_to_the_last_whole_token(floor: float, extra_calls: int) -> None:
    budget = Budget(0.5, floor)
    assert budget.left == floor
    assert spent(budget) == extra_calls
    assert budget.left == floor - extra_calls


@pytest.mark.parametrize(("ordinary_calls", "extra_calls"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)])
def test_ordinary_calls_earn_their_share(ordinary_calls: int, extra_calls: int) -> None:
    budget = Budget(0.5, 2.0)
    spent(budget)
    for _ in range(ordinary_calls):
        budget.earn()
    assert budget.left == 0.5 * ordinary_calls
    assert spent(budget) == extra_calls


@pytest.mark.parametrize("already_spent", [0, 1, 2])
def test_a_budget_saves_up_no_more_than_it_began_with(already_spent: int) -> None:
    budget = Budget(0.75, 2.0)
    for _ in range(already_spent):
        budget.spend()
    for _ in range(10):
        budget.earn()
    assert (budget.left, spent(budget)) == (2.0, 2)


@pytest.mark.parametrize(("keep", "extra_calls"), [(0.0, 4), (1.0, 3), (3.0, 1), (3.1, 0), (4.0, 0), (9.0, 0)])
def test_a_call_spends_only_what_is_not_kept_for_others(keep: float, extra_calls: int) -> None:
    budget = Budget(1.0, 4.0)
    assert spent(budget, keep=keep) == extra_calls
    assert spent(budget) == 4 - extra_calls


@pytest.mark.parametrize(("already_spent", "left"), [(0, 2.0), (1, 2.0), (2, 1.0)])
def test_a_token_is_given_back_but_not_beyond_what_there_was_at_the_start(already_spent: int, left: float) -> None:
    budget = Budget(0.5, 2.0)
    for _ in range(already_spent):
        budget.spend()
    budget.give_back()
    assert budget.left == left


def test_a_budget_tells_what_it_has() -> None:
    budget = Budget(0.25, 64.0)
    budget.spend()
    budget.earn()
    assert repr(budget) == "<Budget 63.2 of 64>"


def test_threads_spend_each_token_once() -> None:
    budget = Budget(1.0, 1000.0)
    counts: list[int] = []
    with frequent_switches(), Nursery() as nursery:
        for _ in range(4):
            nursery.start(lambda: counts.append(spent(budget)))
    assert (sum(counts), budget.left) == (1000, 0.0)
