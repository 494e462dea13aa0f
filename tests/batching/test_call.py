"""What a call and a batch hold before, while and after they travel."""

from __future__ import annotations

import pytest

from batching import Batch
from batching.call import ISOLATION, Part
from tests.support.fakes import KEY, call_of, items_of


def batch_of(*parts: Part, taken_at: float = 0.0) -> Batch:
    batch = Batch(KEY, "full", taken_at)
    for part in parts:
        batch.add(part)
    return batch


# A call


def test_a_call_without_items_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        call_of()


def test_a_call_that_was_in_no_batch_has_nothing_to_tell() -> None:
    call = call_of("a", "b")
    assert (call.batch_size, call.reason, call.queue_delay, call.inference_time) == (0, "", 0.0, 0.0)
    assert (call.arrived, call.results, call.error, call.done) == (0.0, [], None, False)
    assert (call.returned, call.suspects, call.follower, call.is_gone) == ([], frozenset(), None, None)
    assert (call.missing, call.waiting, call.event.is_set()) == (2, 2, False)


@pytest.mark.parametrize(("taken", "waiting"), [(0, 3), (1, 2), (3, 0)])
def test_the_items_that_no_batch_has_taken_wait(taken: int, waiting: int) -> None:
    call = call_of("a", "b", "c")
    call.taken = taken
    assert call.waiting == waiting


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)], ids=str)
def test_a_call_is_complete_with_the_last_of_its_results_in_whatever_order_they_come(order: tuple[int, ...]) -> None:
    call = call_of("a", "b", "c")
    ends = [call.fill(at, [b"%d" % at]) for at in order]
    assert (ends, call.missing, call.results) == ([False, False, True], 0, [b"0", b"1", b"2"])


@pytest.mark.parametrize("first", [0, 1, 2])
def test_results_that_come_together_go_to_their_own_places(first: int) -> None:
    call = call_of("a", "b", "c", "d")
    assert not call.fill(first, [b"1", b"2"])
    assert call.results == [*[b""] * first, b"1", b"2", *[b""] * (2 - first)]
    assert call.missing == 2


def test_all_results_of_a_call_at_once_are_taken_as_they_are() -> None:
    call = call_of("a", "b")
    results = [b"1", b"2"]
    assert call.fill(0, results)
    assert call.results is results  # on every request's path: not copied


def test_a_call_records_the_batch_that_ended_it() -> None:
    call = call_of("a")
    call.arrived = 10.0
    batch = batch_of(Part(call, 0, 1), Part(call_of("b", "c"), 0, 2), taken_at=10.5)
    call.record(batch, 12.0)
    assert (call.batch_size, call.reason, call.queue_delay, call.inference_time) == (3, "full", 0.5, 1.5)


# A batch


def test_a_batch_holds_the_items_of_its_parts_in_their_order() -> None:
    parts = [Part(call_of("a", "b", "c"), 1, 3), Part(call_of("d"), 0, 1)]
    batch = batch_of(*parts)
    assert (batch.items, batch.parts) == (items_of("b", "c", "d"), parts)
    assert repr(batch) == "<Batch embed of 3 items in 2 parts, full>"


@pytest.mark.parametrize(("deadlines", "latest"), [([], 5.0), ([4.0], 5.0), ([7.0, 9.0, 8.0], 9.0)], ids=str)
def test_a_batch_lives_as_long_as_the_latest_deadline_of_its_calls(deadlines: list[float], latest: float) -> None:
    parts = [Part(call_of("a", deadline=deadline), 0, 1) for deadline in deadlines]
    assert batch_of(*parts, taken_at=5.0).deadline == latest


@pytest.mark.parametrize(
    ("reasons", "told"),
    [([None], None), (["broken"], "broken"), ([None, "broken", None], "broken"), (["broken", "overloaded"], "broken")],
    ids=str,
)
def test_a_batch_says_why_a_call_in_it_is_sent_again(reasons: list[str | None], told: str | None) -> None:
    assert batch_of(*(Part(call_of("a"), 0, 1, reason) for reason in reasons)).retry_reason == told


def test_items_that_come_back_wait_before_those_that_wait_for_the_first_time() -> None:
    call = call_of("a", "bb", "ccc", "dddd", "eeeee")
    call.take(0, 4)
    call.give_back(Part(call, 3, 4))
    call.give_back(Part(call, 0, 2, "overloaded"))
    assert call.waiting_parts() == [Part(call, 0, 2, "overloaded"), Part(call, 3, 4), Part(call, 4, 5)]
    assert (call.waiting, call.waiting_bytes, call.is_emptied) == (4, 3 + 4 + 6 + 7, False)


@pytest.mark.parametrize(
    ("takes", "left"),
    [
        ([(0, 1)], [(1, 2), (3, 4)]),
        ([(0, 2)], [(3, 4)]),
        ([(3, 4)], [(0, 2)]),
        ([(0, 1), (3, 4), (1, 2)], []),
    ],
    ids=str,
)
def test_a_batch_takes_items_that_came_back_from_the_start_of_their_part(
    takes: list[tuple[int, int]], left: list[tuple[int, int]]
) -> None:
    call = call_of("a", "b", "c", "d")
    call.take(0, 4)
    call.give_back(Part(call, 0, 2))
    call.give_back(Part(call, 3, 4))
    for start, stop in takes:
        call.take(start, stop)
    assert [(part.start, part.stop) for part in call.waiting_parts()] == left
    assert call.is_emptied is (not left)


@pytest.mark.parametrize(
    ("suspects", "returned", "starts"),
    [((), None, False), ((1,), None, True), ((0,), None, False), ((0,), (0, 1), True), ((1,), (0, 1), False)],
    ids=str,
)
def test_a_call_starts_with_a_suspect_where_its_first_waiting_item_is_one(
    suspects: tuple[int, ...], returned: tuple[int, int] | None, starts: bool
) -> None:
    call = call_of("a", "b")
    call.suspects = frozenset(suspects)
    call.take(0, 1)
    if returned is not None:
        call.give_back(Part(call, *returned))
    assert call.starts_with_suspect is starts


def test_a_batch_is_no_suspect_and_can_be_measured_unless_said_otherwise() -> None:
    batch = batch_of()
    assert (batch.is_suspect, batch.is_measurable, batch.owner) == (False, True, 0)


@pytest.mark.parametrize(("start", "stop", "items"), [(0, 4, "abcd"), (1, 3, "bc"), (3, 4, "d")])
def test_a_subset_of_a_batch_is_like_the_whole_but_carries_no_calls(start: int, stop: int, items: str) -> None:
    calls = [call_of("a", "b", deadline=70.0), call_of("c", "d", deadline=60.0)]
    batch = batch_of(*(Part(call, 0, 2) for call in calls), taken_at=5.0)
    subset = batch.subset(start, stop)
    assert (subset.key, subset.reason, subset.taken_at, subset.deadline) == (KEY, ISOLATION, 5.0, 70.0)
    assert (subset.items, subset.parts) == (items_of(*items), [])
    assert batch.items == items_of(*"abcd")


# Items that share


def test_an_item_leaves_from_what_waits_for_the_first_time() -> None:
    call = call_of("a", "b", "c", "d")
    call.take_out(2)
    assert call.waiting_parts() == [Part(call, 0, 2), Part(call, 3, 4)]
    assert [call.waits(position) for position in range(4)] == [True, True, False, True]
    assert call.waiting == 3


def test_an_item_leaves_from_what_waits_again_and_keeps_the_reason_of_the_others() -> None:
    call = call_of("a", "b", "c")
    call.take(0, 3)
    call.give_back(Part(call, 0, 3, "overloaded"))
    call.take_out(1)
    assert call.waiting_parts() == [Part(call, 0, 1, "overloaded"), Part(call, 2, 3, "overloaded")]
    call.take_out(0)
    call.take_out(2)
    assert call.is_emptied


def test_a_call_that_shares_prolongs_the_batch() -> None:
    first, second = call_of("a", deadline=1.0), call_of("a", deadline=2.0)
    batch = batch_of(Part(first, 0, 1))
    batch.share(Part(second, 0, 1), 0)
    assert batch.deadline == 2.0
    assert [(shared.part.call, shared.at) for shared in batch.shared] == [(second, 0)]


def test_the_call_of_an_item_is_told_by_its_position() -> None:
    first, second = call_of("a", "b"), call_of("c")
    batch = batch_of(Part(first, 0, 2), Part(second, 0, 1))
    assert [batch.call_at(position) for position in range(3)] == [first, first, second]
    with pytest.raises(IndexError):
        batch.call_at(3)


def test_a_batch_of_one_call_is_told_from_one_item_and_from_several_calls() -> None:
    first, second = call_of("a", "b"), call_of("c")
    assert batch_of(Part(first, 0, 1), Part(first, 1, 2)).is_of_one_call
    assert not batch_of(Part(second, 0, 1)).is_of_one_call
    assert not batch_of(Part(first, 0, 1), Part(second, 0, 1)).is_of_one_call
