"""An idle thread is woken for each batch and for nothing else; one of them keeps the time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from batching import FixedTiming
from batching.clock import NEVER, NOW
from batching.errors import ClientGone
from batching.queue.wakeups import IdleThreads
from tests.batching.queue.steps import OTHER_KEY, RecordingClock
from tests.support.fakes import KEY, Deadlock, FakeClock, items_of, put, queue_of, take

if TYPE_CHECKING:
    from batching import Batch


def die() -> None:
    raise SystemExit


# The idle threads by themselves


@pytest.fixture
def recording() -> RecordingClock:
    return RecordingClock()


@pytest.fixture
def idle(recording: RecordingClock) -> IdleThreads:
    return IdleThreads(threading.RLock(), recording)


def test_a_thread_sleeps_until_the_moment_when_the_next_batch_is_due(
    recording: RecordingClock, idle: IdleThreads
) -> None:
    idle.wait(0.25, 0.0)
    assert (recording.now(), recording.timeouts, recording.notifications) == (0.25, [0.25], 0)


def test_only_one_idle_thread_keeps_the_time_and_the_others_sleep_until_they_are_woken(
    recording: RecordingClock, idle: IdleThreads
) -> None:
    states: list[str] = []
    recording.at(0.01, lambda: idle.wait(0.1, 0.01))  # a second thread
    recording.at(0.02, lambda: states.append(repr(idle)))
    with pytest.raises(Deadlock):
        idle.wait(NEVER, 0.0)
    assert states == ["<IdleThreads 2, the first looks at 0.100>"]
    assert recording.timeouts == [None, pytest.approx(0.09)]
    assert (recording.now(), recording.notifications) == (0.1, 0)


def test_a_thread_that_is_due_no_earlier_than_another_does_not_keep_the_time(
    recording: RecordingClock, idle: IdleThreads
) -> None:
    recording.at(0.01, lambda: idle.wait(0.1, 0.01))
    recording.at(0.02, idle.release_all)
    idle.wait(0.1, 0.0)
    assert recording.timeouts == [0.1, None]
    assert (recording.now(), recording.notifications) == (0.02, 2)


def test_a_thread_that_is_due_earlier_than_another_keeps_the_time_instead(
    recording: RecordingClock, idle: IdleThreads
) -> None:
    states: list[str] = []
    recording.at(0.01, lambda: idle.wait(0.05, 0.01))
    recording.at(0.02, lambda: states.append(repr(idle)))
    idle.wait(0.1, 0.0)
    assert states == ["<IdleThreads 2, the first looks at 0.050>"]
    assert recording.timeouts == [0.1, pytest.approx(0.04)]


@pytest.mark.parametrize(("due", "notifications"), [(0.099, 1), (0.1, 0), (0.101, 0), (NOW, 1), (NEVER, 0)])
def test_a_thread_is_woken_only_for_a_batch_that_is_due_before_it_would_look_by_itself(
    recording: RecordingClock, idle: IdleThreads, due: float, notifications: int
) -> None:
    recording.at(0.05, lambda: idle.alert(due))
    idle.wait(0.1, 0.0)
    assert recording.notifications == notifications
    assert recording.now() == (0.05 if notifications else 0.1)


def test_a_second_alert_for_the_same_moment_wakes_no_second_thread(
    recording: RecordingClock, idle: IdleThreads
) -> None:
    def alert_twice() -> None:
        idle.alert(0.06)
        idle.alert(0.06)
        assert repr(idle) == "<IdleThreads 0, the first looks at 0.060>"

    recording.at(0.05, alert_twice)
    idle.wait(0.1, 0.0)
    assert recording.notifications == 1


def test_an_alert_without_an_idle_thread_is_not_kept_for_the_next(recording: RecordingClock, idle: IdleThreads) -> None:
    idle.alert(NOW)
    assert repr(idle) == "<IdleThreads 0, the first looks at inf>"
    idle.wait(0.1, 0.0)
    assert recording.now() == 0.1


@pytest.mark.parametrize("wake", ["time-out", "alert", "release", "death"])
def test_a_thread_leaves_no_trace_however_it_wakes(recording: RecordingClock, idle: IdleThreads, wake: str) -> None:
    actions = {"alert": lambda: idle.alert(NOW), "release": idle.release_all, "death": die, "time-out": lambda: None}
    recording.at(0.05, actions[wake])
    try:
        idle.wait(0.1, 0.0)
    except SystemExit:
        assert wake == "death"
    assert len(idle) == 0
    assert repr(idle) == "<IdleThreads 0, the first looks at inf>"


def test_when_the_thread_that_came_last_dies_the_other_still_keeps_the_time(
    recording: RecordingClock, idle: IdleThreads
) -> None:
    states: list[str] = []

    def second_thread() -> None:
        recording.at(0.02, lambda: states.append(repr(idle)))
        recording.at(0.03, die)
        with pytest.raises(SystemExit):
            idle.wait(0.1, 0.01)
        states.append(repr(idle))

    recording.at(0.01, second_thread)
    idle.wait(0.1, 0.0)
    assert states == [
        "<IdleThreads 2, the first looks at 0.100>",
        "<IdleThreads 1, the first looks at 0.100>",
    ]
    assert recording.now() == 0.1


def test_all_idle_threads_can_be_released_at_once(recording: RecordingClock, idle: IdleThreads) -> None:
    states: list[str] = []

    def release() -> None:
        idle.release_all()
        states.append(repr(idle))

    recording.at(0.5, lambda: idle.wait(2.0, 0.5))
    recording.at(1.0, release)
    idle.wait(NEVER, 0.0)
    assert (recording.now(), recording.notifications) == (1.0, 2)
    assert states == ["<IdleThreads 0, the first looks at inf>"]


@pytest.mark.parametrize(("look", "timeout"), [(0.05, 0.05), (0.1, 0.1), (0.2, 0.1), (0.0, 0.1)])
def test_the_next_thread_that_waits_looks_again_at_the_moment_given_unless_that_has_passed(
    recording: RecordingClock, idle: IdleThreads, look: float, timeout: float
) -> None:
    idle.look_again_at(look)
    idle.wait(0.1, 0.0)
    idle.wait(1.0, 0.5)  # the look is for one thread, once
    assert recording.timeouts == [timeout, 0.5]


# Which changes of the queue wake a thread


def test_32_arrivals_wake_an_idle_thread_once_for_the_first_and_once_for_the_full_batch(clock: FakeClock) -> None:
    queue = queue_of(clock)
    for number in range(32):
        clock.at(1.0 + number / 1000, lambda: put(queue, "text"))
    assert len(take(queue).items) == 32
    assert clock.notifications == 2


def test_a_key_that_is_due_earlier_wakes_a_thread_that_waits_for_another(clock: FakeClock) -> None:
    waits = iter([0.10, 0.07])
    queue = queue_of(clock, timing=lambda: FixedTiming(next(waits)))
    clock.at(1.00, lambda: put(queue, "due late"))
    clock.at(1.01, lambda: put(queue, "due soon", key=OTHER_KEY))
    assert (take(queue).key, round(clock.now(), 9)) == (OTHER_KEY, 1.08)
    assert (take(queue).key, round(clock.now(), 9)) == (KEY, 1.1)


def test_a_thread_that_leaves_with_a_batch_wakes_another_for_the_next(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    taken: list[Batch] = []
    clock.at(1.0, lambda: taken.append(take(queue)))  # a second thread, idle beside the first
    clock.at(2.0, lambda: put(queue, "a", "b"))
    taken.append(take(queue))
    assert [batch.items for batch in taken] == [items_of("a"), items_of("b")]
    assert clock.now() == 2.0


def test_arrivals_wake_no_thread_while_all_slots_are_taken(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1, max_inflight_batches=1)
    put(queue, "a")
    take(queue)
    for moment in range(1, 10):
        clock.at(moment, lambda: put(queue, "b"))
    with pytest.raises(Deadlock):
        take(queue)
    assert clock.notifications == 0


def test_arrivals_wake_no_thread_while_there_are_no_permits(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2, max_inflight_items=2)
    put(queue, "a", "b")
    take(queue)
    for moment in range(1, 10):
        clock.at(moment, lambda: put(queue, "c"))
    with pytest.raises(Deadlock):
        take(queue)
    assert clock.notifications == 0


def test_a_thread_that_dies_while_it_waits_is_not_the_one_that_is_woken(clock: FakeClock) -> None:
    queue = queue_of(clock)
    clock.at(1.0, die)
    with pytest.raises(SystemExit):
        take(queue)
    clock.at(2.0, lambda: put(queue, "text"))
    assert take(queue).items == items_of("text")
    assert clock.now() == pytest.approx(2.1)


def test_a_thread_that_is_woken_for_nothing_sleeps_on_until_the_right_moment(clock: FakeClock) -> None:
    waits = iter([0.1, 0.01])
    queue = queue_of(clock, timing=lambda: FixedTiming(next(waits)))
    clock.at(1.0, lambda: put(queue, "a"))
    clock.at(1.05, lambda: queue.abandon(put(queue, "b", key=OTHER_KEY), ClientGone("gone")))
    assert take(queue).items == items_of("a")
    assert (clock.now(), clock.notifications) == (pytest.approx(1.1), 2)


def test_the_end_is_told_to_every_idle_thread(clock: FakeClock) -> None:
    queue = queue_of(clock)
    ended: list[Batch | None] = []
    clock.at(1.0, lambda: ended.append(queue.take()))
    clock.at(2.0, queue.close)
    ended.append(queue.take())
    assert ended == [None, None]
    assert (clock.now(), clock.notifications) == (2.0, 2)
