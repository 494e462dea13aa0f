"""The master forks a worker only when the machine has tasks for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from wiring.spare_tasks import can_start, wait_for_tasks

if TYPE_CHECKING:
    import pytest


def test_threads_that_were_tried_end_again() -> None:
    before = threading.active_count()
    assert can_start(5)
    assert threading.active_count() <= before  # one that another test had left may have ended too


def test_a_machine_without_tasks_is_told_from_one_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    started = 0
    start = threading.Thread.start

    def start_three(thread: threading.Thread) -> None:
        nonlocal started
        started += 1
        if started > 3:
            raise RuntimeError("can't start new thread")
        start(thread)

    before = threading.active_count()
    monkeypatch.setattr(threading.Thread, "start", start_three)
    assert not can_start(5)
    assert threading.active_count() == before


def test_the_master_waits_until_there_are_tasks(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([False, False, False, True])
    slept: list[float] = []
    wait_for_tasks(8, lambda: False, can_start=lambda _: next(answers), sleep=slept.append)
    assert len(slept) == 2
    assert caplog.messages == ["the machine has no 8 tasks left for another worker: waiting for them"]


def test_a_signal_ends_the_wait() -> None:
    slept: list[float] = []
    wait_for_tasks(8, lambda: len(slept) == 3, can_start=lambda _: False, sleep=slept.append)
    assert len(slept) == 3


def test_where_there_are_tasks_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    wait_for_tasks(8, lambda: False, can_start=lambda _: True)
    assert caplog.messages == []
