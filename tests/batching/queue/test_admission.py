"""Calls and items are admitted up to the limits and not beyond, and what is refused leaves no trace."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from batching.capacity import Outage, Slots
from batching.clock import NOW
from batching.errors import ClientGone, NoUpstream, Overloaded, ShuttingDown, UpstreamOverloaded
from batching.queue.admission import Admission
from tests.batching.queue.steps import texts
from tests.support.fakes import FakeClock, call_of, capacity_of, limits_of, put, queue_of, succeed, take

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def admitted_or_refused(is_admitted: bool) -> AbstractContextManager[object]:
    return nullcontext() if is_admitted else pytest.raises(Overloaded)


@pytest.mark.parametrize(("before", "is_admitted"), [(1, True), (2, True), (3, False)])
def test_as_many_calls_as_allowed_are_admitted(clock: FakeClock, before: int, is_admitted: bool) -> None:
    queue = queue_of(clock, max_calls=3)
    for text in texts(before):
        put(queue, text)
    with admitted_or_refused(is_admitted) as refused:
        put(queue, "one more")
    assert (queue.calls, queue.queued_items) == (before + is_admitted, before + is_admitted)
    if not is_admitted:
        assert (refused.value.status, refused.value.retry_after, clock.now()) == (429, 1, 0.0)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("items", "is_admitted"), [(1, True), (2, True), (3, False)])
def test_the_items_of_a_call_are_admitted_all_or_none(clock: FakeClock, items: int, is_admitted: bool) -> None:
    queue = queue_of(clock, max_queued_items=5)
    put(queue, "a", "b", "c")
    with admitted_or_refused(is_admitted) as refused:
        put(queue, *texts(items))
    assert (queue.calls, queue.queued_items) == ((2, 3 + items) if is_admitted else (1, 3))
    if not is_admitted:
        assert (refused.value.status, refused.value.retry_after) == (429, 1)  # type: ignore[attr-defined]


def test_a_call_that_ends_makes_room_for_another(clock: FakeClock) -> None:
    queue = queue_of(clock, max_calls=2, max_queued_items=2)
    first, _ = put(queue, "a"), put(queue, "b")
    with pytest.raises(Overloaded):
        put(queue, "c")
    queue.abandon(first, ClientGone("gone"))
    put(queue, "c")


def test_items_upstream_do_not_count_as_waiting_but_their_calls_count_as_admitted(clock: FakeClock) -> None:
    queue = queue_of(clock, max_calls=2, max_queued_items=2, max_batch_size=2)
    put(queue, "a", "b")
    batch = take(queue)
    put(queue, "c", "d")
    with pytest.raises(Overloaded):
        put(queue, "e")
    succeed(queue, batch)
    assert queue.calls == 1


def test_a_closed_queue_refuses_every_call(clock: FakeClock) -> None:
    queue = queue_of(clock)
    queue.close()
    with pytest.raises(ShuttingDown) as refused:
        put(queue, "a")
    assert (refused.value.status, refused.value.retry_after) == (503, 1)
    assert (queue.calls, queue.queued_items) == (0, 0)


def test_a_drained_queue_still_admits_calls(clock: FakeClock) -> None:
    queue = queue_of(clock)
    queue.drain()
    put(queue, "a")
    assert queue.calls == 1


# The upstream's pause


@pytest.mark.parametrize(
    ("opens_at", "deadline", "retry_after"),
    [
        (12.0, 11.999, 2.0),
        (12.0, 12.0, 2.0),
        (12.0, 12.001, None),
        (10.5, 10.4, 1.0),  # at least a second
        (10.0, 10.0, None),  # this very moment: no pause any more
    ],
)
def test_a_call_is_refused_where_the_pause_outlasts_its_deadline(
    opens_at: float, deadline: float, retry_after: float | None
) -> None:
    capacity = capacity_of()
    capacity.change(slots=[Slots(opens_at, 1)])
    admission = Admission(limits_of(), capacity)
    call = call_of("a", "b", deadline=deadline)
    error = admission.hopeless(call, 10.0)
    assert (None if error is None else error.retry_after) == retry_after
    if retry_after is None:
        admission.admit(call, 10.0)
        assert (admission.calls, admission.queued_items) == (1, 2)
    else:
        with pytest.raises(UpstreamOverloaded):
            admission.admit(call, 10.0)
        assert (admission.calls, admission.queued_items) == (0, 0)


def test_a_full_queue_is_told_before_a_pause_and_the_end_before_both() -> None:
    capacity = capacity_of()
    capacity.change(slots=[Slots(9.0, 1)])
    admission = Admission(limits_of(max_calls=1), capacity)
    admission.admit(call_of("a"), 0.0)
    with pytest.raises(Overloaded):
        admission.admit(call_of("b", deadline=1.0), 0.0)
    admission.is_closed = True
    with pytest.raises(ShuttingDown):
        admission.admit(call_of("b", deadline=1.0), 0.0)


def test_a_call_is_admitted_where_no_slot_is_known_to_open(clock: FakeClock) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    first = put(queue, "a", deadline=1.0)
    capacity.change(slots=[Slots(NOW, 0)])
    second = put(queue, "b", deadline=1.0)
    assert not first.done
    assert not second.done
    clock.at(0.5, lambda: capacity.change(slots=[Slots(NOW, 1)]))
    assert (len(take(queue).items), clock.now()) == (2, 0.5)


# An outage: no upstream takes batches


@pytest.mark.parametrize(
    ("ends_at", "slots", "under_way", "is_admitted"),
    [
        (12.0, [], 0, True),
        (10.001, [], 0, True),
        (10.0, [], 0, False),
        (NOW, [], 0, False),
        # The probe has a slot of its own: it may be open (taken or not), its call under way, or still to open.
        (NOW, [Slots(NOW, 1)], 0, True),
        (NOW, [Slots(10.0, 1)], 0, True),
        (NOW, [Slots(NOW, 1)], 1, False),
        (NOW, [Slots(10.001, 1)], 0, False),
        (12.0, [Slots(NOW, 1)], 1, True),
        # Calls that hang at an ejected upstream have slots too.
        (NOW, [Slots(NOW, 3), Slots(10.0, 1)], 3, True),
        (NOW, [Slots(NOW, 3), Slots(10.001, 1)], 3, False),
    ],
    ids=str,
)
def test_in_an_outage_calls_are_admitted_until_it_has_lasted_as_long_as_calls_wait_and_then_for_the_probe(
    ends_at: float, slots: list[Slots], under_way: int, is_admitted: bool
) -> None:
    capacity = capacity_of()
    capacity.change(slots=slots, outage=Outage(ends_at, NoUpstream("down", retry_after=3.0), under_way))
    admission = Admission(limits_of(), capacity)
    if is_admitted:
        admission.admit(call_of("a", "b"), 10.0)
        assert (admission.calls, admission.queued_items) == (1, 2)
        return
    errors = []
    for _ in range(2):
        with pytest.raises(NoUpstream, match="down") as refused:
            admission.admit(call_of("a", "b"), 10.0)
        assert (refused.value.status, refused.value.retry_after) == (503, 3.0)
        errors.append(refused.value)
    assert errors[0] is not errors[1]  # each thread raises its own
    assert (admission.calls, admission.queued_items) == (0, 0)


def test_an_outage_refuses_none_for_its_deadline_which_ends_it_in_time_by_itself() -> None:
    capacity = capacity_of()
    capacity.change(slots=[Slots(20.0, 1)], outage=Outage(30.0, NoUpstream("down")))
    Admission(limits_of(), capacity).admit(call_of("a", deadline=15.0), 10.0)


def test_the_limits_are_told_before_an_outage() -> None:
    capacity = capacity_of()
    capacity.change(slots=[], outage=Outage(NOW, NoUpstream("down")))
    with pytest.raises(Overloaded):
        Admission(limits_of(max_queued_items=1), capacity).admit(call_of("a", "b"), 0.0)


# Guests


def test_a_guest_holds_the_place_of_a_call_until_it_leaves(clock: FakeClock) -> None:
    queue = queue_of(clock, max_calls=2)
    put(queue, "a")
    queue.admit_guest()
    assert (queue.calls, queue.queued_items) == (2, 1)
    for admit in (queue.admit_guest, lambda: put(queue, "b")):
        with pytest.raises(Overloaded, match="2 requests are being served") as refused:
            admit()
        assert (refused.value.status, refused.value.retry_after) == (429, 1)
    queue.guest_left()
    put(queue, "b")


def test_no_guest_comes_after_the_close_and_those_that_are_there_hold_up_no_batcher(clock: FakeClock) -> None:
    queue = queue_of(clock)
    queue.admit_guest()
    queue.close()
    with pytest.raises(ShuttingDown):
        queue.admit_guest()
    assert queue.take() is None
    assert queue.reject_all() == 0
    queue.guest_left()
    assert queue.calls == 0


def test_a_guest_is_admitted_whatever_the_upstreams_take() -> None:
    capacity = capacity_of()
    capacity.change(slots=[], outage=Outage(NOW, NoUpstream("down")))
    Admission(limits_of(), capacity).admit_guest()
