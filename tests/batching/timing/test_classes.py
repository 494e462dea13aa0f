"""How the places of a batch are shared by two classes, and when a batch of bulk may leave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.timing.classes import FLOOD, FLOOR, NONE_AGED, Aged, Places, may_lead, places
from batching.timing.learning import CallCost

MOST, BUDGET = 32, 1.6


def cost_of(fixed: float, each: float) -> CallCost:
    """Return what is known of calls that take so many ms, and so many more for each item."""
    cost = CallCost()
    for size in (1, 16, 32) * 20:
        cost.add(size, (fixed + each * size) / 1000)
    return cost


#: A call of one takes 20.5 ms, one of 32 takes 36.
COST = cost_of(20, 0.5)


@pytest.mark.parametrize(
    ("interactive", "bulk", "expected"),
    [
        (1, 100, Places(1, 24)),  # 1.6 x 20.5 ms = 32.8 ms = 25.6 items
        (8, 100, Places(8, 24)),  # 1.6 x 24 ms is more than a call of 32 takes
        (1, 5, Places(1, 5)),
        (28, 100, Places(28, 4)),
        (32, 100, Places(29, 3)),  # bulk has a tenth of the places
        (100, 100, Places(29, 3)),
        (100, 1, Places(31, 1)),
        (100, 2, Places(30, 2)),
    ],
)
def test_interactive_items_come_first_and_bulk_fills_what_the_budget_allows(
    interactive: int, bulk: int, expected: Places
) -> None:
    assert places(interactive, bulk, MOST, COST, BUDGET, is_about=True, aged=NONE_AGED) == expected


@pytest.mark.parametrize(
    ("most", "cost", "expected"),
    [
        (32, cost_of(2, 10), Places(1, 3)),  # each item costs: bulk has its floor and no more
        (32, cost_of(100, 0), Places(1, 31)),  # items cost nothing
        (32, None, Places(1, 31)),  # nothing is learned
        (32, CallCost(), Places(1, 31)),
        (4, cost_of(2, 10), Places(1, 1)),
        (2, cost_of(2, 10), Places(1, 1)),
        (1, COST, Places(1, 0)),  # only its age gives bulk a batch of one
    ],
)
def test_how_far_bulk_may_fill_depends_on_what_an_item_costs(
    most: int, cost: CallCost | None, expected: Places
) -> None:
    assert places(1, 100, most, cost, BUDGET, is_about=True, aged=NONE_AGED) == expected


def test_bulk_goes_in_smaller_calls_while_interactive_items_are_about_and_none_waits() -> None:
    assert places(0, 100, MOST, COST, BUDGET, is_about=True, aged=NONE_AGED) == Places(0, 25)


def test_bulk_has_all_places_where_no_interactive_item_is_about() -> None:
    assert places(0, 100, MOST, COST, BUDGET, is_about=False, aged=NONE_AGED) == Places(0, 32)
    assert places(0, 7, MOST, COST, BUDGET, is_about=False, aged=NONE_AGED) == Places(0, 7)


def test_bulk_that_has_waited_as_long_as_it_may_leaves_at_once_if_there_is_little_of_it() -> None:
    assert places(100, 7, MOST, COST, BUDGET, is_about=True, aged=Aged(7)) == Places(25, 7)
    assert places(100, 100, MOST, COST, BUDGET, is_about=True, aged=Aged(32)) == Places(0, 32)
    assert places(100, 100, MOST, COST, BUDGET, is_about=True, aged=Aged(1)) == Places(29, 3)


def test_in_the_next_batch_it_has_no_more_than_half() -> None:
    assert places(100, 100, MOST, COST, BUDGET, is_about=True, aged=Aged(32, leads=False)) == Places(16, 16)
    assert places(100, 100, MOST, COST, BUDGET, is_about=True, aged=Aged(7, leads=False)) == Places(25, 7)


@pytest.mark.parametrize("leads", [True, False])
def test_a_flood_of_bulk_that_is_all_too_old_has_half_and_what_is_left(*, leads: bool) -> None:
    aged = Aged(FLOOD * MOST + 1, leads=leads)
    assert places(100, 100, MOST, COST, BUDGET, is_about=True, aged=aged) == Places(16, 16)
    assert places(3, 100, MOST, COST, BUDGET, is_about=True, aged=aged) == Places(3, 29)
    assert places(0, 100, MOST, COST, BUDGET, is_about=True, aged=aged) == Places(0, 32)


@pytest.mark.parametrize("items", [1, FLOOD + 1])
def test_the_one_place_of_a_small_batch_goes_to_the_class_whose_turn_it_is(items: int) -> None:
    assert places(1, 1, 1, COST, BUDGET, is_about=True, aged=Aged(items)) == Places(0, 1)
    assert places(1, 1, 1, COST, BUDGET, is_about=True, aged=Aged(items, leads=False)) == Places(1, 0)


@given(
    interactive=st.integers(0, 200),
    bulk=st.integers(1, 200),
    most=st.integers(1, 64),
    cost=st.sampled_from([None, CallCost(), COST, cost_of(2, 10), cost_of(100, 0)]),
    budget=st.floats(1.0, 3.0),
    is_about=st.booleans(),
    aged=st.builds(Aged, st.integers(0, 400), st.booleans()),
)
def test_a_batch_is_never_overfull_nor_empty_and_bulk_keeps_its_floor(
    *, interactive: int, bulk: int, most: int, cost: CallCost | None, budget: float, is_about: bool, aged: Aged
) -> None:
    shared = places(interactive, bulk, most, cost, budget, is_about=is_about, aged=aged)
    assert shared.interactive >= 0
    assert 0 <= shared.bulk <= bulk
    assert 1 <= shared.interactive + shared.bulk <= most
    if most > 1:
        assert shared.bulk >= min(bulk, round(FLOOR * most), most)
    if not aged.items and interactive:
        assert shared.interactive >= min(interactive, most - max(1, round(FLOOR * most)), most)


@pytest.mark.parametrize(
    ("in_flight", "servers", "is_about", "expected"),
    [
        (0, 1, False, True),
        (1, 1, False, False),
        (3, 4, False, True),
        (4, 4, False, False),
        (0, 1, True, True),  # where there is one server there is none to leave
        (1, 1, True, False),
        (0, 2, True, True),
        (1, 2, True, False),
        (2, 4, True, True),
        (3, 4, True, False),
    ],
)
def test_bulk_leads_a_batch_where_a_server_is_free_and_leaves_one_while_interactive_items_are_about(
    in_flight: int, servers: int, is_about: bool, expected: bool
) -> None:
    assert may_lead(in_flight, servers, is_about=is_about) is expected
