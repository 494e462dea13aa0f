"""A batch whose thread has died fails at once, and its slot is free again."""

from __future__ import annotations

import threading

import pytest

from batching.errors import BatcherDied
from tests.batching.queue.steps import assert_empty
from tests.support.fakes import FakeClock, items_of, put, queue_of, succeed, take


def test_batches_of_dead_threads_fail_and_those_of_the_living_do_not(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2, max_inflight_batches=2)
    calls = [put(queue, "a", "b"), put(queue, "c", "d"), put(queue, "e", "f")]
    dead, alive = take(queue), take(queue)
    dead.owner = -1
    assert queue.fail_orphans([threading.get_ident()]) == [dead]
    assert isinstance(calls[0].error, BatcherDied)
    assert calls[0].error.retry_after == 1
    assert calls[0].event.is_set()
    assert not calls[1].done
    assert take(queue).items == items_of("e", "f")
    assert succeed(queue, dead) == []
    assert succeed(queue, alive) == [calls[1]]


def test_all_batches_of_dead_threads_fail(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    calls = [put(queue, "a"), put(queue, "b")]
    batches = [take(queue), take(queue)]
    batches[0].owner = batches[1].owner = -1
    assert set(queue.fail_orphans([threading.get_ident()])) == set(batches)
    assert all(isinstance(call.error, BatcherDied) and call.event.is_set() for call in calls)
    assert_empty(queue)


def test_the_slot_of_a_dead_thread_wakes_an_idle_one(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1, max_inflight_batches=1)
    put(queue, "a", "b")
    take(queue)
    clock.at(1.0, lambda: queue.fail_orphans([]))
    put(queue, "c")
    assert take(queue).items == items_of("c")
    assert clock.now() >= 1.0


def test_what_is_due_later_is_still_sent_then_after_a_thread_died(clock: FakeClock) -> None:
    queue = queue_of(clock, max_inflight_batches=1)
    put(queue, "a")
    take(queue).owner = -1
    clock.at(1.0, lambda: put(queue, "b"))
    clock.at(1.05, lambda: queue.fail_orphans([]))
    assert take(queue).items == items_of("b")
    assert clock.now() == pytest.approx(1.1)


def test_a_batch_belongs_to_the_thread_that_took_it(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "a")
    batch = take(queue)
    assert batch.owner == threading.get_ident()
    assert queue.fail_orphans([threading.get_ident()]) == []
    assert queue.fail_orphans([]) == [batch]
