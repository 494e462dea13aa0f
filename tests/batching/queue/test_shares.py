"""Deficit round robin: how the places of batches are shared by flows."""

from __future__ import annotations

from collections import Counter, OrderedDict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.queue.shares import MOST_OWED, QUANTUM, Demand, allot, give_back
from batching.rank import Flow

ENDLESS = 1_000_000
Demands = OrderedDict[Flow | None, Demand]


def demand_of(items: int, size: int = 10) -> Demand:
    """Return the demand of so many items of ``size`` bytes."""
    demand = Demand()
    demand.items, demand.size = items, items * size
    return demand


def demands_of(*items: int, size: int = 10) -> Demands:
    """Return demands of flows of weight 1."""
    return OrderedDict((Flow(f"{number}"), demand_of(count, size)) for number, count in enumerate(items))


def served(demands: Demands, places: int, batches: int) -> Counter[Flow | None]:
    """Return how many places each flow gets in so many batches, while its demand stays as it is."""
    got: Counter[Flow | None] = Counter()
    for _ in range(batches):
        got.update(allot(demands, places))
    return got


@given(items=st.lists(st.integers(1, 50), min_size=1, max_size=20), places=st.integers(0, 64))
def test_the_parts_add_up_to_the_places_and_no_flow_gets_more_than_it_wants(items: list[int], places: int) -> None:
    demands = demands_of(*items)
    given = allot(demands, places)
    assert sum(given.values()) == min(places, sum(items))
    assert all(0 < count <= demands[flow].items for flow, count in given.items())
    assert len(demands) == len(items)


@given(
    weights=st.lists(st.integers(1, 8), min_size=2, max_size=12),
    sizes=st.lists(st.integers(2, 5000), min_size=12, max_size=12),
    places=st.integers(1, 64),
    batches=st.integers(1, 60),
)
def test_over_any_number_of_batches_each_flow_is_within_two_turns_of_its_weight(
    weights: list[int], sizes: list[int], places: int, batches: int
) -> None:
    demands: Demands = OrderedDict(
        (Flow("f", weight=weight), demand_of(ENDLESS, size)) for weight, size in zip(weights, sizes, strict=False)
    )
    order = list(demands)
    got = served(demands, places, batches)
    assert sum(got.values()) == places * batches
    turns = [got[flow] * demands[flow].cost / (QUANTUM * flow.weight) for flow in order if flow is not None]
    # The classic bound: what two flows got for each unit of weight differs by a turn, and by an item of each.
    most = max(demand.cost / QUANTUM for demand in demands.values())
    assert max(turns) - min(turns) <= 1 + 2 * most


def test_weights_one_two_and_four_give_items_in_that_ratio() -> None:
    flows = [Flow(f"{weight}", weight=weight) for weight in (1, 2, 4)]
    demands: Demands = OrderedDict((flow, demand_of(ENDLESS)) for flow in flows)
    got = served(demands, 32, 100)
    assert [got[flow] / 3200 for flow in flows] == pytest.approx([1 / 7, 2 / 7, 4 / 7], rel=0.01)


def test_a_flow_of_long_texts_gets_fewer_places_than_one_of_short_ones() -> None:
    short, long = Flow("short"), Flow("long")
    demands: Demands = OrderedDict([(short, demand_of(ENDLESS, 100)), (long, demand_of(ENDLESS, 3300))])
    got = served(demands, 32, 100)
    assert got[short] / got[long] == pytest.approx(4.3 / 1.1, rel=0.02)


def test_all_calls_without_a_flow_of_their_own_are_one_flow_of_weight_one() -> None:
    demands: Demands = OrderedDict([(None, demand_of(ENDLESS)), (Flow("own", weight=3), demand_of(ENDLESS))])
    assert served(demands, 40, 10)[None] == pytest.approx(100, abs=2)


def test_what_a_small_flow_leaves_goes_to_the_others() -> None:
    demands = demands_of(2, ENDLESS, 3)
    small, large, other = demands
    assert allot(demands, 32) == {small: 2, large: 27, other: 3}


@given(items=st.lists(st.integers(1, 40), min_size=2, max_size=8), places=st.lists(st.integers(1, 40), max_size=30))
def test_what_a_flow_is_owed_is_bounded_and_nothing_is_owed_to_one_that_has_all(
    items: list[int], places: list[int]
) -> None:
    demands = demands_of(*items)
    for count in places:
        given = allot(demands, count)
        for flow, demand in demands.items():
            assert -1e-9 <= demand.deficit <= QUANTUM + demand.cost
            if given.get(flow) == demand.items:
                assert demand.deficit == 0.0


def test_among_more_flows_than_places_each_gets_one_before_any_gets_a_further_turn() -> None:
    demands = demands_of(*[ENDLESS] * 100, size=1000)
    got = served(demands, 10, 10)
    assert set(got.values()) == {1}
    assert len(got) == 100


def test_a_flow_that_comes_anew_waits_for_one_round_of_the_others() -> None:
    demands = demands_of(*[ENDLESS] * 20)
    served(demands, 32, 7)
    newcomer = Flow("new")
    demands[newcomer] = demand_of(1)
    batches = [allot(demands, 32) for _ in range(2)]
    assert any(newcomer in given for given in batches)


def test_places_that_a_flow_did_not_get_are_owed_to_it() -> None:
    demands = demands_of(ENDLESS, ENDLESS)
    first, second = demands
    given = allot(demands, 10)
    give_back(demands, {first: 0, second: given[second]})
    assert allot(demands, 10)[second] > given[second]


def test_what_is_owed_for_such_places_is_bounded() -> None:
    demands = demands_of(ENDLESS, ENDLESS)
    for _ in range(100):
        give_back(demands, allot(demands, 32))
    assert all(demand.deficit <= MOST_OWED * demand.cost + QUANTUM for demand in demands.values())


def test_a_flow_that_has_left_meanwhile_is_owed_nothing() -> None:
    demands = demands_of(5, 5)
    give_back(demands, {Flow("gone"): 3})
    assert len(demands) == 2


def test_the_work_depends_on_the_places_and_not_on_the_number_of_flows() -> None:
    class Counting(OrderedDict[Flow | None, Demand]):
        moved = 0

        def move_to_end(self, key: Flow | None, last: bool = True) -> None:
            self.moved += 1
            super().move_to_end(key, last)

    moved = []
    for flows in (50, 5000):
        demands = Counting(demands_of(*[ENDLESS] * flows))
        allot(demands, 32)
        moved.append(demands.moved)
    assert all(one == other for one, other in pairwise(moved))
