"""The exact edges of choosing by length: who is taken along, who is overdue, what a padded batch has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.queue.padding import by_age, by_likeness
from tests.support.fakes import FakeClock, call_of, queue_of

if TYPE_CHECKING:
    from batching import Batch, BatchQueue, Call


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def of_length(*lengths: int) -> list[Call]:
    """Calls of one text each, a second apart from each other."""
    calls = [call_of("x" * (length - 2)) for length in lengths]  # two quotes make up the rest
    for number, call in enumerate(calls):
        call.arrived = float(number)
    return calls


def lengths_of(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [len(item) for item in batch.items]


def put(queue: BatchQueue, *lengths: int) -> None:
    for call in of_length(*lengths):
        queue.put(call)


def test_the_oldest_comes_first_and_then_whoever_is_most_like_it() -> None:
    calls = of_length(50, 90, 20, 55, 48)
    assert by_likeness(calls, overdue=-1.0) == [calls[0], calls[4], calls[3], calls[2], calls[1]]


def test_who_arrived_at_the_very_moment_that_is_overdue_goes_before_all_but_the_oldest() -> None:
    calls = of_length(50, 90, 20, 50, 49)
    assert by_likeness(calls, overdue=2.0) == [calls[0], calls[1], calls[2], calls[3], calls[4]]
    assert by_likeness(calls, overdue=1.999) == [calls[0], calls[1], calls[3], calls[4], calls[2]]


def test_an_exact_likeness_does_not_go_before_who_is_overdue() -> None:
    calls = of_length(50, 90, 50)
    assert by_likeness([calls[0], calls[2], calls[1]], overdue=1.0) == [calls[0], calls[1], calls[2]]


def test_a_request_is_as_long_as_its_longest_text() -> None:
    first, mixed, like = call_of("x" * 10), call_of("x" * 10, "x" * 90), call_of("x" * 20)
    for number, call in enumerate((first, mixed, like)):
        call.arrived = float(number)
    assert by_likeness([first, mixed, like], overdue=-1.0) == [first, like, mixed]
    assert by_age([like, mixed, first]) == [first, mixed, like]


def test_a_padded_batch_may_be_filled_to_the_byte(clock: FakeClock) -> None:
    queue = queue_of(clock, max_padded_bytes=300)
    put(queue, 100, 100, 100, 100)
    assert lengths_of(queue.take()) == [100, 100, 100]
    queue = queue_of(clock, max_padded_bytes=299)
    put(queue, 100, 100, 100, 100)
    assert lengths_of(queue.take()) == [100, 100]


def test_whoever_came_before_is_padded_as_well(clock: FakeClock) -> None:
    queue = queue_of(clock, max_padded_bytes=300)
    put(queue, 10, 10, 101)
    queue.close()
    assert [lengths_of(queue.take()) for _ in range(2)] == [[10, 10], [101]]


def test_texts_of_one_request_are_counted_beside_those_of_others(clock: FakeClock) -> None:
    queue = queue_of(clock, max_padded_bytes=300)
    put(queue, 100)
    queue.put(call_of("x" * 98, "x" * 98, "x" * 98))
    queue.close()
    assert [lengths_of(queue.take()) for _ in range(2)] == [[100, 100, 100], [100]]


def test_a_text_beyond_the_padded_budget_goes_alone(clock: FakeClock) -> None:
    queue = queue_of(clock, max_padded_bytes=300)
    put(queue, 400, 10)
    queue.close()
    assert [lengths_of(queue.take()) for _ in range(2)] == [[400], [10]]


def test_there_is_a_choice_only_where_more_wait_than_fit(clock: FakeClock) -> None:
    for most, padded, expected in (
        (3, 1000, [10, 200, 10]),
        (2, 1000, [10, 10]),
        (3, 219, [10, 10]),
        (3, 220, [10]),  # all would fit were they alike: no choice, and beside the second there is no room
    ):
        queue = queue_of(clock, max_batch_size=most, max_padded_bytes=padded)
        put(queue, 10, 200, 10)
        queue.close()
        assert lengths_of(queue.take()) == expected


def test_without_padding_nobody_is_passed_over(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, 10, 200, 10)
    assert lengths_of(queue.take()) == [10, 200]


def test_what_stays_behind_is_in_the_order_of_arrival_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2, max_padded_bytes=10_000)
    for length in (10, 300, 200, 11, 100):
        put(queue, length)
        clock.time += 1.0
    queue.close()
    assert lengths_of(queue.take()) == [10, 11]
    (lane,) = queue._busy.values()
    assert [call.arrived for call in lane.calls] == [1.0, 2.0, 4.0]
    assert lane.oldest == 1.0
