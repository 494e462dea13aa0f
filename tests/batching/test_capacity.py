"""The capacity says how many batches fit now and when more will, and tells its listener of each change."""

from __future__ import annotations

import pytest

from batching import Capacity
from batching.capacity import UNLIMITED_BYTES, Outage, Slots
from batching.clock import NEVER, NOW
from batching.errors import NoUpstream

OUTAGE = Outage(5.0, NoUpstream("down"))


def a_capacity(*slots: Slots) -> Capacity:
    capacity = Capacity(batches=4, batch_size=32, items=100)
    if slots:
        capacity.change(slots=slots)
    return capacity


@pytest.mark.parametrize(
    ("slots", "now", "batches", "next_rise", "opens_at"),
    [
        ([], 5.0, 4, NEVER, 5.0),
        ([Slots(NOW, 3)], 5.0, 3, NEVER, 5.0),
        ([Slots(NOW, 3), Slots(NOW, 2)], 5.0, 5, NEVER, 5.0),
        ([Slots(NOW, 3), Slots(7.0, 2)], 5.0, 3, 7.0, 5.0),
        ([Slots(NOW, 3), Slots(7.0, 2)], 6.999, 3, 7.0, 6.999),
        ([Slots(NOW, 3), Slots(7.0, 2)], 7.0, 5, NEVER, 7.0),
        ([Slots(NOW, 3), Slots(7.0, 2)], 7.001, 5, NEVER, 7.001),
        ([Slots(7.0, 2)], 6.999, 0, 7.0, 7.0),
        ([Slots(7.0, 2)], 7.0, 2, NEVER, 7.0),
        ([Slots(9.0, 1), Slots(7.0, 2)], 5.0, 0, 7.0, 7.0),
        ([Slots(9.0, 1), Slots(7.0, 2)], 8.0, 2, 9.0, 8.0),
        ([Slots(7.0, 1), Slots(7.0, 2)], 5.0, 0, 7.0, 7.0),
        ([Slots(7.0, 1), Slots(7.0, 2)], 7.0, 3, NEVER, 7.0),
        ([Slots(7.0, 0), Slots(9.0, 1)], 5.0, 0, 9.0, 9.0),  # no slot at all is no rise
        ([Slots(NOW, 0)], 5.0, 0, NEVER, NEVER),
        ([Slots(NOW, 0), Slots(7.0, 1)], 5.0, 0, 7.0, 7.0),
    ],
)
def test_slots_count_from_their_moment_on(
    slots: list[Slots], now: float, batches: int, next_rise: float, opens_at: float
) -> None:
    capacity = a_capacity(*slots)
    assert (capacity.batches(now), capacity.next_rise(now), capacity.opens_at(now)) == (batches, next_rise, opens_at)
    assert capacity.is_steady is all(each.start == NOW or not each.batches for each in slots)


def test_a_change_replaces_the_figures_given_and_no_others() -> None:
    capacity = a_capacity(Slots(NOW, 3), Slots(7.0, 2))
    capacity.change(batch_size=8)
    assert (capacity.batches(0.0), capacity.next_rise(0.0), capacity.batch_size, capacity.items) == (3, 7.0, 8, 100)
    capacity.change(items=50)
    assert (capacity.batches(0.0), capacity.next_rise(0.0), capacity.batch_size, capacity.items) == (3, 7.0, 8, 50)
    capacity.change(slots=[Slots(NOW, 1)])
    assert (capacity.batches(9.0), capacity.next_rise(0.0), capacity.batch_size, capacity.items) == (1, NEVER, 8, 50)


@pytest.mark.parametrize(
    ("figures", "is_told"),
    [
        ({}, False),
        ({"batch_size": 32}, False),
        ({"items": 100}, False),
        ({"slots": [Slots(NOW, 4)]}, False),
        ({"slots": [Slots(NOW, 1), Slots(NOW, 3)]}, False),
        ({"slots": [Slots(NOW, 4), Slots(7.0, 0)]}, False),
        ({"slots": [Slots(NOW, 4), Slots(7.0, 1)]}, True),
        ({"slots": [Slots(NOW, 5)]}, True),
        ({"slots": [Slots(7.0, 4)]}, True),
        ({"batch_size": 31}, True),
        ({"items": 101}, True),
        ({"batch_bytes": UNLIMITED_BYTES}, False),
        ({"batch_bytes": 1000}, True),
        ({"slots": [Slots(NOW, 3)], "batch_size": 31, "items": 99}, True),
    ],
    ids=str,
)
def test_the_listener_is_told_once_of_a_change_and_not_of_none(figures: dict[str, object], is_told: bool) -> None:
    capacity = a_capacity()
    told: list[tuple[int, int, int]] = []
    capacity.on_change(lambda: told.append((capacity.batches(0.0), capacity.batch_size, capacity.items)))
    capacity.change(**figures)  # type: ignore[arg-type]
    assert told == ([(capacity.batches(0.0), capacity.batch_size, capacity.items)] if is_told else [])


def test_the_bytes_of_a_batch_are_bounded_where_an_upstream_takes_less() -> None:
    capacity = a_capacity()
    assert capacity.batch_bytes == UNLIMITED_BYTES
    capacity.change(batch_bytes=1000)
    capacity.change(slots=[Slots(NOW, 1)], outage=OUTAGE)
    assert (capacity.batch_bytes, capacity.full_batch_size) == (1000, 32)
    assert repr(capacity) == "<Capacity 1 batches, 1 items and 1000 bytes each, 100 in all>"


def test_a_pause_that_is_moved_is_a_change() -> None:
    capacity = a_capacity(Slots(7.0, 4))
    told: list[float] = []
    capacity.on_change(lambda: told.append(capacity.next_rise(0.0)))
    capacity.change(slots=[Slots(7.0, 4)])
    capacity.change(slots=[Slots(8.0, 4)])
    assert told == [8.0]


def test_a_capacity_without_a_listener_can_be_changed() -> None:
    capacity = a_capacity()
    capacity.change(batch_size=8)
    assert capacity.batch_size == 8


def test_the_state_of_the_capacity_can_be_read() -> None:
    assert repr(a_capacity()) == "<Capacity 4 batches, 32 items each, 100 in all>"
    assert repr(a_capacity(Slots(7.0, 2), Slots(NOW, 1))) == (
        "<Capacity 1 batches +2 at 7.000, 32 items each, 100 in all>"
    )


# An outage: a single item tries the upstream


def test_in_an_outage_a_batch_is_one_item_and_the_full_batch_is_remembered() -> None:
    capacity = a_capacity()
    capacity.change(slots=[Slots(7.0, 1)], outage=OUTAGE)
    assert (capacity.batch_size, capacity.full_batch_size, capacity.outage) == (1, 32, OUTAGE)
    assert (capacity.is_steady, capacity.opens_at(0.0), capacity.items) == (False, 7.0, 100)


def test_slots_that_are_given_without_an_outage_end_it() -> None:
    capacity = a_capacity()
    capacity.change(slots=[Slots(NOW, 1)], outage=OUTAGE)
    assert not capacity.is_steady
    capacity.change(slots=[Slots(NOW, 4)])
    assert (capacity.batch_size, capacity.full_batch_size, capacity.outage) == (32, 32, None)
    assert capacity.is_steady


def test_limits_that_are_read_during_an_outage_count_after_it_and_do_not_end_it() -> None:
    capacity = a_capacity()
    capacity.change(slots=[Slots(NOW, 1)], outage=OUTAGE)
    capacity.change(batch_size=8)
    capacity.change(items=50)
    assert (capacity.batch_size, capacity.full_batch_size, capacity.outage) == (1, 8, OUTAGE)
    capacity.change(slots=[Slots(NOW, 4)])
    assert (capacity.batch_size, capacity.items) == (8, 50)


@pytest.mark.parametrize(
    ("outage", "is_told"), [(OUTAGE, False), (OUTAGE._replace(ends_at=6.0), True), (None, True)], ids=str
)
def test_the_listener_is_told_of_the_beginning_the_end_and_each_change_of_an_outage(
    outage: Outage | None, is_told: bool
) -> None:
    capacity = a_capacity()
    told: list[Outage | None] = []
    capacity.on_change(lambda: told.append(capacity.outage))
    slots = [Slots(7.0, 1)]
    capacity.change(slots=slots, outage=OUTAGE)
    assert told == [OUTAGE]
    capacity.change(slots=slots, outage=outage)
    assert told[1:] == ([outage] if is_told else [])
