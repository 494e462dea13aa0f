"""Where equal items are found: in flight, and among the bulk items that wait."""

from __future__ import annotations

import pytest

from batching import Batch, Call
from batching.call import Part
from batching.queue.twins import InFlightItems, WaitingTwins
from tests.batching.queue.steps import with_suspects
from tests.support.fakes import KEY, call_of, items_of

A, B, C = items_of("a", "b", "c")


def batch_of(*texts: str) -> Batch:
    call = call_of(*texts)
    batch = Batch(KEY, "full", 0.0)
    batch.add(Part(call, 0, len(texts)))
    return batch


@pytest.fixture
def in_flight() -> InFlightItems:
    return InFlightItems()


@pytest.fixture
def twins() -> WaitingTwins:
    return WaitingTwins()


def test_nothing_is_found_before_a_batch_has_left(in_flight: InFlightItems) -> None:
    assert not in_flight.has_any([A])


def test_an_item_is_found_with_its_batch_while_that_is_in_flight(in_flight: InFlightItems) -> None:
    batch = batch_of("a", "b")
    in_flight.left(batch)
    assert in_flight.has_any([C, B])
    assert in_flight.batches[B] is batch
    assert not in_flight.has_any([C])


def test_nothing_is_kept_of_a_batch_that_has_ended(in_flight: InFlightItems) -> None:
    batch = batch_of("a", "a", "b")
    in_flight.left(batch)
    in_flight.ended(batch)
    assert not in_flight.batches


def test_an_item_that_is_in_two_batches_is_found_in_the_one_that_left_last(in_flight: InFlightItems) -> None:
    first, second = batch_of("b", "a"), batch_of("a", "c")
    in_flight.left(first)
    in_flight.left(second)
    assert in_flight.batches[A] is second
    in_flight.ended(first)
    assert in_flight.batches[A] is second
    in_flight.ended(second)
    assert not in_flight.batches


def test_equal_items_of_all_calls_are_taken_together_and_once(twins: WaitingTwins) -> None:
    calls = [call_of("a", "b"), call_of("b", "b")]
    for call in calls:
        twins.add(call)
    assert twins.take(B) == [(calls[0], 1), (calls[1], 0), (calls[1], 1)]
    assert twins.take(B) == []
    assert twins.take(A) == [(calls[0], 0)]
    assert len(twins) == 0


def test_items_that_share_already_are_not_noted(twins: WaitingTwins) -> None:
    call = call_of("a", "b")
    call.take_out(0)
    twins.add(call)
    assert twins.take(A) == []
    assert twins.take(B) == [(call, 1)]


def test_suspects_ended_calls_and_items_that_have_left_are_passed_over(twins: WaitingTwins) -> None:
    suspect, ended, taken, waits = with_suspects(call_of("a"), 0), call_of("a"), call_of("a", "b"), call_of("a")
    for call in (suspect, ended, taken, waits):
        twins.add(call)
    ended.done = True
    taken.take(0, 1)
    assert twins.take(A) == [(waits, 0)]


def test_items_that_were_taken_are_forgotten(twins: WaitingTwins) -> None:
    call: Call = call_of("a", "b")
    twins.add(call)
    twins.remove([A, C])
    assert twins.take(A) == []
    assert twins.take(B) == [(call, 1)]
