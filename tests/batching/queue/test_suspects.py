"""A suspected item costs one batch of its own, and neither the rest of its call nor other calls any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import ClientGone
from batching.timing.rule import SUSPECT
from tests.batching.queue.steps import OTHER_KEY, assert_empty, put_back, texts, with_suspects
from tests.support.fakes import FakeClock, call_of, items_of, put, queue_of, succeed, take, vector_of

if TYPE_CHECKING:
    from batching import Batch, BatchQueue, Call


def put_suspects(queue: BatchQueue, *texts: str, suspects: tuple[int, ...]) -> Call:
    call = with_suspects(call_of(*texts), *suspects)
    queue.put(call)
    return call


def all_batches(queue: BatchQueue) -> list[Batch]:
    """Take and answer batches until nothing waits."""
    batches = []
    while queue.queued_items:
        batches.append(take(queue))
        succeed(queue, batches[-1])
    return batches


def sizes(batches: list[Batch]) -> list[int]:
    return [len(batch.items) for batch in batches]


@pytest.mark.parametrize("position", [0, 1, 31, 32, 33, 500, 998, 999])
def test_one_suspect_costs_a_call_of_1000_items_one_batch_of_one_item(clock: FakeClock, position: int) -> None:
    queue = queue_of(clock, max_queued_items=1000)
    call = put_suspects(queue, *texts(1000), suspects=(position,))
    batches = all_batches(queue)
    assert len(batches) <= 34
    suspects = [batch for batch in batches if batch.is_suspect]
    assert [batch.items for batch in suspects] == [items_of(f"t{position}")]
    assert sum(size == 32 for size in sizes(batches)) >= 30
    assert call.results == [vector_of(item) for item in call.items]
    assert_empty(queue)


def test_a_batch_of_one_item_is_the_suspects_only(clock: FakeClock) -> None:
    queue = queue_of(clock, max_queued_items=1000)
    put_suspects(queue, *texts(1000), suspects=(500,))
    batches = all_batches(queue)
    assert [batch.is_suspect for batch in batches if len(batch.items) == 1] == [True]
    assert sizes(batches) == [32] * 15 + [20, 1] + [32] * 15 + [19]


def test_the_items_of_other_calls_fill_the_batches_around_a_suspect(clock: FakeClock) -> None:
    queue = queue_of(clock, max_queued_items=2000)
    put_suspects(queue, *texts(1000), suspects=(500,))
    others = [put(queue, f"other {number}") for number in range(24)]
    batches = all_batches(queue)
    assert sizes(batches) == [32] * 16 + [1] + [32] * 15 + [19 + 12]
    # The 12 places before the suspect went to the first that waited, the last batch took the others.
    assert [part.call for part in batches[15].parts[1:]] == others[:12]
    assert [part.call for part in batches[-1].parts[1:]] == others[12:]
    assert all(call.done and call.error is None for call in others)
    assert_empty(queue)


@pytest.mark.parametrize(
    ("calls", "suspects", "expected"),
    [
        # (the items of each call, the suspects of each call) -> the batches
        (["ab", "c", "d"], [(0,), (), ()], ["a", "bcd"]),
        (["a", "b", "cd"], [(), (0,), ()], ["acd", "b"]),
        (["a", "b", "c"], [(), (), (0,)], ["ab", "c"]),
        (["abc", "d"], [(1,), ()], ["ad", "b", "c"]),
        (["a", "bcd", "e"], [(), (1,), ()], ["abe", "c", "d"]),
        (["abc", "de"], [(2,), ()], ["abde", "c"]),
        (["abcd", "e"], [(1, 3), ()], ["ae", "b", "c", "d"]),
        (["ab", "cd", "ef"], [(0,), (0,), (0,)], ["a", "b", "c", "d", "e", "f"]),
        (["ab", "cd", "ef"], [(1,), (1,), (1,)], ["ace", "b", "d", "f"]),
        (["abcde", "f"], [(4,), ()], ["abcd", "e", "f"]),
    ],
    ids=str,
)
def test_suspects_before_behind_and_between_the_items_of_others_travel_by_themselves(
    clock: FakeClock, calls: list[str], suspects: list[tuple[int, ...]], expected: list[str]
) -> None:
    queue = queue_of(clock, max_batch_size=4)
    put_calls = [put_suspects(queue, *call, suspects=own) for call, own in zip(calls, suspects, strict=True)]
    queue.drain()
    batches = all_batches(queue)
    assert [batch.items for batch in batches] == [items_of(*batch) for batch in expected]
    for call in put_calls:
        assert call.results == [vector_of(item) for item in call.items]
    assert_empty(queue)


@pytest.mark.parametrize("count", [1, 10, 100])
def test_many_suspects_cost_a_batch_each_and_at_most_one_more_for_the_items_between_two(
    clock: FakeClock, count: int
) -> None:
    queue = queue_of(clock, max_queued_items=1000)
    put_suspects(queue, *texts(1000), suspects=tuple(range(0, 1000, 1000 // count)))
    batches = all_batches(queue)
    assert sum(batch.is_suspect for batch in batches) == count
    between = 1000 // count - 1
    assert len(batches) == count + count * -(-between // 32)
    assert_empty(queue)


def test_a_call_of_nothing_but_suspects_goes_item_by_item_without_delay(clock: FakeClock) -> None:
    queue = queue_of(clock, max_inflight_batches=100)
    call = put_suspects(queue, *texts(40), suspects=tuple(range(40)))
    batches = all_batches(queue)
    assert [batch.items for batch in batches] == [[item] for item in call.items]
    assert clock.now() == 0.0


def test_a_suspect_waits_for_no_other_item(clock: FakeClock) -> None:
    queue = queue_of(clock)
    clock.at(1.0, lambda: put_suspects(queue, "a", suspects=(0,)))
    batch = take(queue)
    assert (batch.reason, batch.is_suspect, batch.taken_at) == (SUSPECT.reason, True, 1.0)


def test_a_suspect_that_becomes_the_first_is_due_at_once(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "a")
    put_suspects(queue, "b", suspects=(0,))
    first, second = take(queue), take(queue)
    assert (first.items, first.taken_at) == (items_of("a"), pytest.approx(0.1))
    assert (second.items, second.taken_at, second.reason) == (items_of("b"), first.taken_at, "suspect")


def test_a_suspect_waits_for_a_slot_like_any_other_item(clock: FakeClock) -> None:
    queue = queue_of(clock, max_inflight_batches=1, max_batch_size=1)
    put(queue, "a")
    busy = take(queue)
    put_suspects(queue, "b", suspects=(0,))
    clock.at(1.0, lambda: (succeed(queue, busy), queue.drain()))
    batch = take(queue)
    assert (batch.items, batch.is_suspect, clock.now()) == (items_of("b"), True, 1.0)


def test_ordinary_batches_are_no_suspects(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    put(queue, "a")
    assert not take(queue).is_suspect


def test_an_endless_crowd_does_not_starve_the_call_that_holds_a_suspect(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4, max_inflight_batches=1)
    put(queue, "a")
    call = put_suspects(queue, "b", "c", "d", suspects=(1,))
    number = 0
    while not call.done:
        number += 1
        assert number <= 4  # with b, c alone, d
        for _ in range(8):
            put(queue, "crowd")
        succeed(queue, take(queue))
    assert call.error is None


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_stream_of_calls_with_suspects_does_not_starve_the_calls_between_them(clock: FakeClock, count: int) -> None:
    """However many calls with suspects arrive behind it, a call leaves with the batches of those before it."""
    queue = queue_of(clock, max_batch_size=4, max_inflight_batches=1)
    for number in range(count):
        put_suspects(queue, f"before {number}", suspects=(0,))
    call = put(queue, "plain")
    batches = 0
    while not call.done:
        put_suspects(queue, "behind", suspects=(0,))
        succeed(queue, take(queue))
        batches += 1
    assert batches == count + 1


def test_a_stream_of_suspects_of_one_key_does_not_starve_another(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4, max_inflight_batches=1)
    other = put(queue, "a", key=OTHER_KEY)
    while not other.done:
        assert clock.now() < 0.12
        put_suspects(queue, "b", "c", "d", suspects=(0, 1, 2))
        batch = take(queue)
        clock.sleep(0.01)
        succeed(queue, batch)
    assert batch.taken_at == pytest.approx(0.1, abs=0.011)  # the batch in flight is not interrupted


def test_the_suspects_of_a_call_that_was_given_up_are_not_sent(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call = put_suspects(queue, *texts(6), suspects=(0, 3, 5))
    put(queue, "a")
    take(queue)
    queue.abandon(call, ClientGone("gone"))
    assert take(queue).items == items_of("a")
    assert queue.queued_items == 0


def test_a_suspect_that_is_put_back_travels_by_itself_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call = put_suspects(queue, "a", "b", suspects=(1,))
    put(queue, "c")
    clock.time = 1.0
    first = take(queue)
    assert first.items == items_of("a", "c")
    suspect = take(queue)
    assert (suspect.items, suspect.is_suspect) == (items_of("b"), True)
    put_back(queue, suspect, 0)
    again = take(queue)
    assert (again.items, again.is_suspect) == (items_of("b"), True)
    succeed(queue, first)
    assert succeed(queue, again) == [call]
    assert_empty(queue)


def test_a_suspect_leaves_at_once_when_the_call_before_it_is_abandoned(clock: FakeClock) -> None:
    queue = queue_of(clock)
    head = put(queue, "head")
    suspect = put_suspects(queue, "suspect", suspects=(0,))
    clock.at(0.02, lambda: queue.abandon(head, ClientGone("gone")))
    batch = take(queue)
    assert (clock.now(), batch.is_suspect, batch.parts[0].call) == (0.02, True, suspect)


def test_a_suspect_needs_one_permit_whatever_waits_behind_it(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4, max_inflight_items=6)
    put(queue, *texts(4))
    first = take(queue)
    put_suspects(queue, "suspect", *texts(3), suspects=(0,))
    assert take(queue).is_suspect
    assert queue.in_flight_items == len(first.items) + 1
