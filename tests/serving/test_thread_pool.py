"""A pool of threads that goes on with those it has."""

from __future__ import annotations

import threading

import pytest

from serving.thread_pool import ThreadPool


@pytest.fixture
def told() -> list[int]:
    return []


def refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_work_waits_for_the_threads_that_there_are(told: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPool(9, told.append) as pool:
        release, started = threading.Event(), threading.Event()

        def first() -> bool:
            started.set()
            return release.wait(5)

        running = pool.submit(first)
        started.wait(5)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        waiting = pool.submit(int, 7)
        assert told == [1]
        release.set()
        assert running.result(5)
        assert waiting.result(5) == 7


def test_without_any_thread_the_caller_is_told(told: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPool(9, told.append) as pool, monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(int)
    assert told == [0]


def test_threads_start_again_once_they_may(told: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPool(9, told.append) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError):
                pool.submit(int)
        assert pool.submit(int, 3).result(5) == 3
