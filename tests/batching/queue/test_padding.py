"""For an upstream that pads, calls of similar length share a batch, and no call is passed over for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.queue.padding import by_age, by_likeness
from tests.batching.queue.steps import lane_of, of_length, with_suspects
from tests.support.fakes import FakeClock, call_of, queue_of, take

if TYPE_CHECKING:
    from batching import BatchQueue, Call


def put_all(queue: BatchQueue, clock: FakeClock, *lengths: int) -> list[Call]:
    """Put calls of these lengths a millisecond apart."""
    calls = of_length(*lengths)
    for call in calls:
        queue.put(call)
        clock.time += 0.001
    return calls


def lengths_of_next(queue: BatchQueue) -> list[int]:
    return [len(item) for item in take(queue).items]


# The order


@pytest.mark.parametrize(
    ("lengths", "overdue", "order"),
    [
        ((50,), -1.0, [0]),
        ((50, 90, 20, 55, 48), -1.0, [0, 4, 3, 2, 1]),
        ((50, 90, 20, 50, 49), 2.0, [0, 1, 2, 3, 4]),  # a call that arrived at that very moment is overdue
        ((50, 90, 20, 50, 49), 1.999, [0, 1, 3, 4, 2]),
        ((50, 50, 90, 50), 2.0, [0, 1, 2, 3]),
        ((50, 45, 55), -1.0, [0, 1, 2]),  # equally like: the older first
    ],
)
def test_after_the_oldest_come_the_overdue_and_then_those_most_like_the_oldest(
    lengths: tuple[int, ...], overdue: float, order: list[int]
) -> None:
    calls = of_length(*lengths)
    assert by_likeness(calls, overdue) == [calls[at] for at in order]


def test_an_exact_likeness_does_not_go_before_a_call_that_is_overdue() -> None:
    calls = of_length(50, 90, 50)
    assert by_likeness([calls[0], calls[2], calls[1]], overdue=1.0) == [calls[0], calls[1], calls[2]]


def test_a_call_is_as_long_as_its_longest_item() -> None:
    first, mixed, like = call_of("x" * 10), call_of("x" * 10, "x" * 90), call_of("x" * 20)
    for number, call in enumerate((first, mixed, like)):
        call.arrived = float(number)
    assert by_likeness([first, mixed, like], overdue=-1.0) == [first, like, mixed]


def test_by_age_is_the_order_of_arrival() -> None:
    calls = of_length(10, 20, 30)
    assert by_age([calls[2], calls[0], calls[1]]) == calls


# The batches


def test_the_oldest_goes_and_takes_those_of_similar_length_with_it(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=3, max_padded_bytes=100_000)
    put_all(queue, clock, 10, 500, 12, 480, 11, 510)
    assert lengths_of_next(queue) == [10, 11, 12]
    assert lengths_of_next(queue) == [500, 480, 510]


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (1.0, [10, 10, 12]),
        (1.249, [10, 10, 12]),
        (1.25, [10, 500, 10]),
        (1.251, [10, 500, 10]),
        (1.5, [10, 500, 12]),
    ],
)
def test_a_call_that_has_waited_max_wait_is_passed_over_no_more(
    clock: FakeClock, late: float, expected: list[int]
) -> None:
    queue = queue_of(clock, max_batch_size=3, max_padded_bytes=100_000, max_wait=1.0)
    for length, arrival in ((10, 0.0), (500, 0.25), (12, 0.5), (480, 0.5), (10, late)):
        clock.time = arrival
        queue.put(*of_length(length))
    assert lengths_of_next(queue) == expected


@pytest.mark.parametrize(
    ("most", "padded", "expected"),
    [
        (3, 1000, [10, 200, 10]),
        (2, 1000, [10, 10]),
        (3, 219, [10, 10]),
        (3, 220, [10]),  # all would fit were they alike: no choice, and beside the second there is no room
        (2, 0, [10, 200]),  # the upstream does not pad
    ],
)
def test_there_is_a_choice_only_where_more_wait_than_fit_and_the_upstream_pads(
    clock: FakeClock, most: int, padded: int, expected: list[int]
) -> None:
    queue = queue_of(clock, max_batch_size=most, max_padded_bytes=padded)
    put_all(queue, clock, 10, 200, 10)
    queue.close()
    assert lengths_of_next(queue) == expected


@pytest.mark.parametrize(
    ("lengths", "padded", "expected"),
    [
        ((100, 100, 100, 100), 301, [[100, 100, 100], [100]]),
        ((100, 100, 100, 100), 300, [[100, 100, 100], [100]]),
        ((100, 100, 100, 100), 299, [[100, 100], [100, 100]]),
        ((10, 10, 101), 300, [[10, 10], [101]]),  # the first two would be padded as well
        ((400, 10), 300, [[400], [10]]),  # beyond the bound: alone
        ((100, 100, 400, 100, 100), 1000, [[100, 100], [400, 100], [100]]),
    ],
)
def test_a_padded_batch_may_be_filled_to_the_byte(
    clock: FakeClock, lengths: tuple[int, ...], padded: int, expected: list[list[int]]
) -> None:
    queue = queue_of(clock, max_batch_size=8, max_padded_bytes=padded)
    put_all(queue, clock, *lengths)
    queue.close()
    assert [lengths_of_next(queue) for _ in expected] == expected
    assert queue.queued_items == 0


@pytest.mark.parametrize(
    ("calls", "padded", "expected"),
    [
        ([(100, 100, 400, 100, 2000)], 1000, [[100, 100], [400, 100], [2000]]),
        ([(100,), (100, 100, 100)], 300, [[100, 100, 100], [100]]),
    ],
)
def test_the_items_of_one_call_are_padded_like_those_of_others(
    clock: FakeClock, calls: list[tuple[int, ...]], padded: int, expected: list[list[int]]
) -> None:
    queue = queue_of(clock, max_batch_size=8, max_padded_bytes=padded)
    for lengths in calls:
        queue.put(call_of(*("x" * (length - 2) for length in lengths)))
    queue.close()
    assert [lengths_of_next(queue) for _ in expected] == expected
    assert queue.queued_items == 0


def test_calls_that_stay_behind_are_in_the_order_of_arrival_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2, max_padded_bytes=100_000)
    calls = put_all(queue, clock, 10, 300, 200, 11, 100)
    assert [part.call for part in take(queue).parts] == [calls[0], calls[3]]
    lane = lane_of(queue)
    assert list(lane.calls) == [calls[1], calls[2], calls[4]]
    assert (lane.oldest, lane.waiting) == (calls[1].arrived, 3)


def test_a_suspect_travels_by_itself_for_an_upstream_that_pads_too(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=3, max_padded_bytes=100_000)
    calls = of_length(10, 11, 500, 12, 13)
    with_suspects(calls[1], 0)
    for call in calls:
        queue.put(call)
        clock.time += 0.001
    queue.drain()
    batches = [take(queue) for _ in range(3)]
    assert [[len(item) for item in batch.items] for batch in batches] == [[10, 12, 13], [11], [500]]
    assert [batch.is_suspect for batch in batches] == [False, True, False]
