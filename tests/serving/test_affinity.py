"""Which core a worker process stays on, and when it leaves it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from serving import affinity
from serving.affinity import FULL, Watch, choose_core, is_crowded, stay_on_one_core
from serving.cores import Ticks

SHOW_AFFINITY = """
import os
from serving.affinity import stay_on_one_core
core = stay_on_one_core()
print(core is None or os.sched_getaffinity(0) == {core})
"""


def test_the_core_with_the_fewest_bound_processes_is_taken() -> None:
    assert choose_core({0, 1, 2}, {0: 1, 2: 3}, {}, turn=7) == 1


def test_of_equal_cores_an_idle_one_is_taken() -> None:
    assert choose_core({0, 1, 2}, {2: 1}, {0: 0.9, 1: 0.1}, turn=6) == 1


def test_a_little_load_is_chance_and_decides_nothing() -> None:
    assert {choose_core({0, 1}, {}, {0: 0.02, 1: 0.0}, turn=turn) for turn in range(2)} == {0, 1}


def test_services_that_start_together_choose_different_cores() -> None:
    assert {choose_core({0, 1, 2, 3}, {}, {}, turn=turn) for turn in range(100, 104)} == {0, 1, 2, 3}


def test_only_allowed_cores_are_considered() -> None:
    assert choose_core({5}, {5: 9, 1: 0}, {5: 1.0}, turn=3) == 5


def test_the_process_is_bound_to_the_core() -> None:
    here = os.getcwd()
    done = subprocess.run([sys.executable, "-c", SHOW_AFFINITY], cwd=here, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_where_binding_is_forbidden_the_service_runs_without_and_says_so(
    number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    assert stay_on_one_core() is None
    assert f"not staying on one core, which costs some speed: {os.strerror(number)}" in caplog.text


# Later


@pytest.mark.parametrize(
    ("load", "own", "crowded"),
    [
        ({0: 1.0, 1: 0.1}, 0.4, True),
        ({0: 1.0, 1: 0.1}, 0.95, False),  # all of it is ours
        ({0: 1.0, 1: 0.9}, 0.4, False),  # nowhere is more room
        ({0: 0.5, 1: 0.1}, 0.1, False),  # there is room here
        ({0: 1.0, 1: 0.1}, 0.05, False),  # what need not run here may be gone when we work
        ({0: FULL, 1: 0.5}, 0.5, True),
        ({}, 0.5, False),
    ],
)
def test_a_core_is_crowded_where_others_fill_it_and_another_has_room(
    load: dict[int, float], own: float, crowded: bool
) -> None:
    assert is_crowded(0, load, own) is crowded


class Machine:
    """Two cores whose load a test sets for each look, and a clock that moves as the watch sleeps."""

    def __init__(self, *looks: float) -> None:
        self._looks = iter(looks)
        self._busy = 0
        self._now = 0.0
        self.slept = 0

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        self.slept += 1
        self._busy += int(100 * next(self._looks))

    def ticks(self) -> dict[int, Ticks]:
        return {0: Ticks(self._busy, 100 * self.slept), 1: Ticks(0, 100 * self.slept)}

    def monotonic(self) -> float:
        return self._now

    def process_time(self) -> float:
        return self._now / 5  # a fifth of a core


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """What the process was told to run on after all."""
    told: list[set[int]] = []
    monkeypatch.setattr(affinity, "leave", lambda allowed: told.append(set(allowed)))
    return told


def test_a_core_that_stays_crowded_is_left_for_good(left: list[set[int]], caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(1.0, 0.2, 1.0, 1.0)
    watch = Watch(
        0,
        {0, 1},
        ticks=machine.ticks,
        process_time=machine.process_time,
        monotonic=machine.monotonic,
        sleep=machine.sleep,
    )
    watch.run()
    assert machine.slept == 4, "one crowded look is chance"
    assert left == [{0, 1}]
    assert "not staying on it any longer" in caplog.text


def test_all_threads_leave_the_core() -> None:
    program = """
import os, threading
allowed = os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(allowed)})
ids, go = [], threading.Event()
threads = [threading.Thread(target=lambda: (ids.append(threading.get_native_id()), go.wait())) for _ in range(3)]
[thread.start() for thread in threads]
from serving.affinity import leave
leave(allowed)
print(all(os.sched_getaffinity(each) == allowed for each in [0, *ids]))
go.set()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
