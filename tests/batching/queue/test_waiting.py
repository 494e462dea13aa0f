"""The waiting calls of one class: their order, and the counts of their items, bytes and flows."""

from __future__ import annotations

import pytest

from batching import Call
from batching.call import Part
from batching.clock import NEVER
from batching.queue.waiting import FEW_ENDED, Waiting, WaitingBulk
from batching.rank import Flow, Rank
from tests.support.fakes import KEY, items_of

LONGEST = 10.0


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
def bulk() -> WaitingBulk:
    return WaitingBulk(LONGEST, deduplicates=True)


def call_at(arrived: float, *texts: str, flow: Flow | None = None, max_wait: float | None = None) -> Call:
    call = Call(items_of(*texts), KEY, 1e9, rank=Rank(is_bulk=True, flow=flow, max_wait=max_wait))
    call.arrived = arrived
    return call


def take(waiting: Waiting, call: Call, start: int, stop: int) -> None:
    waiting.remove([Part(call, start, stop)])


def test_items_and_bytes_are_counted_in_and_out(waiting: Waiting) -> None:
    call = call_at(1.0, "a", "bcd")
    waiting.append(call)
    assert (waiting.waiting, waiting.waiting_bytes, waiting.oldest) == (2, 3 + 5, 1.0)
    take(waiting, call, 0, 1)
    assert (waiting.waiting, waiting.waiting_bytes, waiting.oldest) == (1, 5, 1.0)
    take(waiting, call, 1, 2)
    assert (waiting.waiting, waiting.waiting_bytes, waiting.oldest) == (0, 0, NEVER)
    assert not waiting.calls


def test_only_what_waits_of_a_call_that_shares_is_counted(waiting: Waiting) -> None:
    call = call_at(1.0, "a", "bcd")
    call.take_out(1)
    waiting.append(call)
    assert (waiting.waiting, waiting.waiting_bytes) == (1, 3)


def test_one_item_leaves_from_the_middle_of_a_call(waiting: Waiting) -> None:
    call = call_at(1.0, "a", "b", "c")
    waiting.append(call)
    waiting.remove_one(call, 1)
    assert [(part.start, part.stop) for part in call.waiting_parts()] == [(0, 1), (2, 3)]
    assert waiting.waiting == 2


def test_a_call_whose_last_item_leaves_is_forgotten_wherever_it_stands(waiting: Waiting) -> None:
    first, second = call_at(1.0, "a"), call_at(2.0, "b")
    waiting.append(first)
    waiting.append(second)
    waiting.remove_one(second, 0)
    assert [*waiting.calls] == [first]
    waiting.remove_one(first, 0)
    assert not waiting.calls
    assert waiting.oldest == NEVER


def test_an_item_that_shared_and_waits_again_is_there_once_and_in_its_place(waiting: Waiting) -> None:
    first, second, third = call_at(1.0, "a"), call_at(2.0, "b"), call_at(3.0, "c")
    for call in (first, second, third):
        waiting.append(call)
    waiting.remove_one(second, 0)
    waiting.put_back(Part(second, 0, 1))
    assert [*waiting.calls] == [first, second, third]
    assert waiting.waiting == 3


def test_calls_that_end_behind_a_living_one_are_not_held_on_to(waiting: Waiting) -> None:
    waiting.append(call_at(0.0, "first"))
    for number in range(3 * FEW_ENDED):
        call = call_at(1.0 + number, "a")
        waiting.append(call)
        call.done = True
        assert waiting.drop(call) == 1
    assert len(waiting.calls) <= FEW_ENDED + 3
    assert waiting.waiting == 1


# ---- flows --------------------------------------------------------------------------------------


def test_nothing_is_counted_by_flow_while_no_call_has_one(waiting: Waiting) -> None:
    waiting.append(call_at(0.0, "a"))
    assert waiting.demands is None
    assert waiting.allot(0, 1000) is None


def test_what_waits_already_is_counted_when_the_first_call_with_a_flow_comes(waiting: Waiting) -> None:
    flow = Flow("own")
    waiting.append(call_at(0.0, "a", "b"))
    waiting.append(call_at(1.0, "c", flow=flow))
    assert waiting.demands is not None
    assert {name: demand.items for name, demand in waiting.demands.items()} == {None: 2, flow: 1}


def test_a_flow_of_which_nothing_waits_is_forgotten_with_what_it_was_owed(waiting: Waiting) -> None:
    flow, other = Flow("own"), Flow("other")
    call, long = call_at(0.0, "a", flow=flow), call_at(1.0, *"abcdef", flow=other)
    waiting.append(call)
    waiting.append(long)
    waiting.allot(3, 1000)
    take(waiting, call, 0, 1)
    assert waiting.demands is not None
    assert [*waiting.demands] == [other]
    waiting.append(call_at(2.0, "a", flow=flow))
    assert waiting.demands[flow].deficit == 0.0
    long.done = True
    waiting.drop(long)
    assert [*waiting.demands] == [flow]


def test_the_flows_are_forgotten_when_nothing_waits(waiting: Waiting) -> None:
    call = call_at(0.0, "a", flow=Flow("own"))
    waiting.append(call)
    take(waiting, call, 0, 1)
    assert waiting.demands is None


def test_places_are_allotted_only_where_not_all_find_room(waiting: Waiting) -> None:
    one, two = Flow("one"), Flow("two")
    waiting.append(call_at(0.0, *"abcdef", flow=one))
    assert waiting.allot(3, 1000) is None  # there is but one flow
    waiting.append(call_at(1.0, *"abcdef", flow=two))
    assert waiting.allot(12, 1000) is None
    allotted = waiting.allot(4, 1000)
    assert allotted is not None
    assert sum(allotted.values()) == 4


def test_no_more_places_are_allotted_than_the_bytes_allow_on_average(waiting: Waiting) -> None:
    for number, flow in enumerate((Flow("one"), Flow("two"))):
        waiting.append(call_at(float(number), *["x" * 98] * 10, flow=flow))
    allotted = waiting.allot(32, 600)
    assert allotted is not None
    assert sum(allotted.values()) == 6
    assert len(allotted) == 2


# ---- bulk ---------------------------------------------------------------------------------------


def test_bulk_has_aged_when_its_oldest_call_has_waited_for_the_longest_wait(bulk: WaitingBulk) -> None:
    assert bulk.aged_at == NEVER
    first = call_at(1.0, "a")
    bulk.append(first)
    bulk.append(call_at(2.0, "b"))
    assert bulk.aged_at == 1.0 + LONGEST
    take(bulk, first, 0, 1)
    assert bulk.aged_at == 2.0 + LONGEST


def test_a_call_with_a_limit_of_its_own_ages_sooner_but_never_later(bulk: WaitingBulk) -> None:
    short = call_at(2.0, "b", max_wait=1.0)
    bulk.append(call_at(1.0, "a", max_wait=99.0))
    bulk.append(short)
    assert bulk.aged_at == 3.0
    short.done = True
    bulk.drop(short)
    assert bulk.aged_at == 1.0 + LONGEST


def test_a_call_that_left_from_behind_another_has_no_age(bulk: WaitingBulk) -> None:
    bulk.append(call_at(1.0, "a"))
    behind = call_at(2.0, "b", max_wait=0.0)
    bulk.append(behind)
    take(bulk, behind, 0, 1)
    assert bulk.aged_at == 1.0 + LONGEST
    shares = call_at(3.0, "c", max_wait=0.0)
    bulk.append(shares)
    bulk.remove_one(shares, 0)
    assert bulk.aged_at == 1.0 + LONGEST


def test_a_call_that_is_put_back_has_its_age(bulk: WaitingBulk) -> None:
    first = call_at(1.0, "a", max_wait=2.0)
    bulk.append(first)
    take(bulk, first, 0, 1)
    assert bulk.aged_at == NEVER
    bulk.append(call_at(5.0, "b"))
    bulk.put_back(Part(first, 0, 1))
    assert bulk.aged_at == 3.0
    take(bulk, first, 0, 1)
    assert bulk.aged_at == 5.0 + LONGEST


def test_items_that_were_taken_or_dropped_are_not_found_by_equal_ones(bulk: WaitingBulk) -> None:
    taken, dropped, waits = call_at(1.0, "a", "b"), call_at(2.0, "c"), call_at(3.0, "d")
    for call in (taken, dropped, waits):
        bulk.append(call)
    take(bulk, taken, 0, 1)
    dropped.done = True
    bulk.drop(dropped)
    assert bulk.twins is not None
    assert [bulk.twins.take(item) for item in items_of("a", "c")] == [[], []]
    assert bulk.twins.take(items_of("b")[0]) == [(taken, 1)]


def test_no_item_is_noted_where_equal_ones_are_computed_each_for_itself() -> None:
    assert WaitingBulk(LONGEST, deduplicates=False).twins is None
