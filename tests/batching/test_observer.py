"""Each event reaches every observer, whatever the others make of it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from batching import BatchReport, CallReport, Observer, Observers, RequestReport, Task

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS: dict[str, tuple[object, ...]] = {
    "on_request": (RequestReport("/embed", 2, "ok"),),
    "on_batch": (BatchReport(Task.EMBED, 2, "full", "ok", [(0.5, 2)], 1.0, None),),
    "on_call": (CallReport("http://upstream", 2, "full", None, 1.0, None),),
    "on_stale_connection": ("http://upstream",),
    "on_state": ("http://upstream", False, "connection refused"),
    "on_look": ("http://upstream",),
    "on_dialect": ("http://upstream",),
    "on_ejection": ("http://upstream",),
    "on_thread_death": (),
}


class Recorder(Observer):
    """Notes each event, then does what it was told to do."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.events: list[tuple[object, ...]] = []
        for name in EVENTS:
            setattr(self, name, lambda *args, name=name: (self.events.append((name, *args)), then()))


def fail() -> None:
    raise ZeroDivisionError("a bug in an observer")


def happen(observer: Observer, event: str) -> None:
    getattr(observer, event)(*EVENTS[event])


def test_the_events_of_these_tests_are_all_there_are() -> None:
    events = {name: method for name, method in vars(Observer).items() if name.startswith("on_")}
    assert set(events) == set(EVENTS) == {name for name in vars(Observers) if name.startswith("on_")}
    for name, method in events.items():
        assert len(inspect.signature(method).parameters) == 1 + len(EVENTS[name])


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_reaches_every_observer_once_in_the_order_in_which_they_were_given(event: str) -> None:
    order: list[int] = []
    recorders = [Recorder(lambda number=number: order.append(number)) for number in range(3)]  # type: ignore[misc]
    happen(Observers(*recorders), event)
    assert [recorder.events for recorder in recorders] == [[(event, *EVENTS[event])]] * 3
    assert order == [0, 1, 2]


@pytest.mark.parametrize("event", EVENTS)
def test_an_observer_that_fails_keeps_no_other_from_hearing_and_the_failure_is_logged(
    event: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, broken, last = Recorder(), Recorder(fail), Recorder()
    happen(Observers(first, broken, last), event)
    happen(Observers(broken, broken), event)
    assert first.events == last.events == [(event, *EVENTS[event])]
    assert len(broken.events) == len(caplog.records) == 3
    assert "a bug in an observer" in caplog.text


@pytest.mark.parametrize("event", EVENTS)
def test_the_end_of_the_process_is_not_held_up(event: str) -> None:
    def exit_process() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        happen(Observers(Recorder(exit_process)), event)


def test_observers_that_are_added_hear_what_happens_from_then_on() -> None:
    first, second, third = Recorder(), Recorder(), Recorder()
    observers = Observers(first)
    happen(observers, "on_thread_death")
    observers.add(second, third)
    happen(observers, "on_ejection")
    assert [len(recorder.events) for recorder in (first, second, third)] == [2, 1, 1]


def test_observers_may_be_nested() -> None:
    inner = Recorder()
    happen(Observers(Recorder(fail), Observers(Recorder(fail), inner)), "on_state")
    assert inner.events == [("on_state", *EVENTS["on_state"])]


@pytest.mark.parametrize("event", EVENTS)
def test_an_observer_need_not_care_for_an_event(event: str) -> None:
    happen(Observer(), event)
    happen(Observers(), event)
    happen(Observers(Observer()), event)
