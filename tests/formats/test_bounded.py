"""A mapping that clients fill stays bounded, however many threads set entries."""

from __future__ import annotations

import pytest

from formats.bounded import Bounded
from tests.support.concurrency import Nursery, frequent_switches


def filled(most: int, count: int) -> Bounded[int, str]:
    """Return a mapping with room for ``most`` entries into which ``count`` were put."""
    mapping: Bounded[int, str] = Bounded(most)
    for number in range(count):
        mapping[number] = str(number)
    return mapping


@pytest.mark.parametrize(("most", "count"), [(1, 1), (1, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 100)])
def test_beyond_the_bound_the_oldest_entry_is_forgotten(most: int, count: int) -> None:
    newest = range(max(0, count - most), count)
    assert list(filled(most, count).items()) == [(number, str(number)) for number in newest]


def test_an_entry_that_is_replaced_takes_no_second_place_and_stays_as_old_as_it_is() -> None:
    mapping = filled(3, 3)
    mapping[0] = "replaced"
    assert mapping == {0: "replaced", 1: "1", 2: "2"}
    mapping[3] = "3"
    assert mapping == {1: "1", 2: "2", 3: "3"}


def test_looking_up_makes_no_entry_younger() -> None:
    mapping = filled(2, 2)
    assert mapping[0] == mapping.get(0) == "0"
    mapping[2] = "2"
    assert (0 in mapping, mapping.get(0), mapping.get(1)) == (False, None, "1")


def test_an_entry_that_is_missing_is_missing_as_in_any_dictionary() -> None:
    with pytest.raises(KeyError):
        filled(2, 0)[0]


def test_room_that_a_deletion_made_is_used() -> None:
    mapping = filled(2, 2)
    del mapping[0]
    mapping[2] = "2"
    assert mapping == {1: "1", 2: "2"}


def test_threads_that_set_entries_at_the_same_time_keep_to_the_bound() -> None:
    mapping: Bounded[tuple[int, int], int] = Bounded(8)

    def fill(thread: int) -> None:
        for number in range(2000):
            mapping[thread, number] = number
            assert len(mapping) <= 8

    with frequent_switches(), Nursery() as nursery:
        for thread in range(4):
            nursery.start(fill, thread)
    assert len(mapping) == 8
