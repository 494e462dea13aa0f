"""The master replaces a worker at once, but waits longer each time where workers die soon after their start."""

from __future__ import annotations

import queue
import signal
from typing import TYPE_CHECKING

import pytest

from wiring.respawn import EARLY, FIRST_DELAY, LONGEST_DELAY, Respawn, go_before_the_master, has_work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Time:
    """A clock that moves when a test, or what sleeps, moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.on_sleep: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def respawn(time: Time) -> Respawn:
    return Respawn(lambda: time.now, time.sleep)


def die(respawn: Respawn, time: Time, age: int, *, after: float = 0.1, wanted: bool = False) -> None:
    respawn.born(age)
    time.now += after
    respawn.died(age, wanted=wanted)


def test_one_death_is_replaced_at_once(respawn: Respawn, time: Time) -> None:
    die(respawn, time, 1)
    assert respawn.delay == 0.0


def test_each_further_early_death_doubles_the_wait_up_to_a_bound(respawn: Respawn, time: Time) -> None:
    delays = []
    for age in range(12):
        die(respawn, time, age)
        delays.append(respawn.delay)
    assert delays[:4] == [0.0, FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY]
    assert delays[-1] == LONGEST_DELAY


def test_a_worker_that_has_lived_ends_the_row(respawn: Respawn, time: Time) -> None:
    for age in range(3):
        die(respawn, time, age)
    die(respawn, time, 3, after=EARLY)
    assert respawn.delay == 0.0


def test_an_end_that_the_master_asked_for_is_no_death(respawn: Respawn, time: Time) -> None:
    for age in range(5):
        die(respawn, time, age, wanted=True)
    assert respawn.delay == 0.0


def test_the_wait_is_logged_once_and_takes_its_time(
    respawn: Respawn, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    for age in range(3):
        die(respawn, time, age)
    began = time.now
    respawn.wait(queue.SimpleQueue())
    assert time.now - began == pytest.approx(2 * FIRST_DELAY, abs=0.1)
    assert len(caplog.messages) == 1


def test_one_wait_is_for_all_workers_that_are_to_be_forked(respawn: Respawn, time: Time) -> None:
    for age in range(3):
        die(respawn, time, age)
    respawn.wait(queue.SimpleQueue())
    assert respawn.delay == 0.0
    die(respawn, time, 3)
    assert respawn.delay == 4 * FIRST_DELAY


def test_a_signal_for_the_master_ends_the_wait_and_the_end_of_another_worker_does_not(
    respawn: Respawn, time: Time
) -> None:
    for age in range(9):
        die(respawn, time, age)
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    signals.put(signal.SIGCHLD)
    began = time.now

    def end() -> None:
        if time.now - began > 1.0:
            signals.put(signal.SIGTERM)

    time.on_sleep = end
    respawn.wait(signals)
    assert 1.0 < time.now - began < 2.0
    assert [signals.get_nowait(), signals.get_nowait()] == [signal.SIGCHLD, signal.SIGTERM]


def test_looking_for_signals_takes_none_away() -> None:
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    assert not has_work(signals)
    signals.put(signal.SIGHUP)
    assert has_work(signals)
    assert has_work(signals)


@pytest.mark.parametrize(("before", "after"), [("0", "100"), ("-998", "-898"), ("950", "1000")])
def test_where_memory_runs_out_a_worker_goes_before_the_master(tmp_path: Path, before: str, after: str) -> None:
    file = tmp_path / "oom_score_adj"
    file.write_text(f"{before}\n")
    go_before_the_master(file)
    assert file.read_text() == after


def test_without_such_a_file_all_goes_on(tmp_path: Path) -> None:
    go_before_the_master(tmp_path / "missing")
