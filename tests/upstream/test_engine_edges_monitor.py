"""The exact edges of the monitor: how old an answer may be, what is asked when, and what is said about it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from batching import CallReport
from batching.errors import NoUpstream, UpstreamError
from tests.support.fakes import FakeClock, limits_of
from upstream.endpoint import UpstreamInfo
from upstream.monitor import (
    FIRST_RETRY,
    LAST_RETRY,
    PROBE_TIMEOUT,
    SHORTEST_PERIOD,
    WELL_PERIOD,
    Clamp,
    UpstreamMonitor,
    clamped,
)

if TYPE_CHECKING:
    import pytest

URL = "http://upstream"


class FakeProbed:
    """Answers each probe with the next of ``answers``, then with the last; notes what it was given."""

    url = URL

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.timeouts: list[float] = []
        self.info_timeouts: list[float] = []
        self.told: UpstreamInfo | None = UpstreamInfo("model", 32, 512)

    def is_healthy(self, timeout: float) -> bool:
        self.timeouts.append(timeout)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def info(self, timeout: float) -> UpstreamInfo | None:
        self.info_timeouts.append(timeout)
        return self.told


def monitor_of(upstream: FakeProbed, clock: FakeClock | None = None) -> UpstreamMonitor:
    limits = limits_of()
    return UpstreamMonitor(upstream, Clamp(limits, limits_of()), clock or FakeClock())


def test_probes_and_questions_have_the_same_short_time() -> None:
    upstream = FakeProbed(True)
    monitor_of(upstream).check(0.0)
    assert upstream.timeouts == [PROBE_TIMEOUT]
    assert upstream.info_timeouts == [PROBE_TIMEOUT]


def test_an_answer_is_used_up_to_its_very_age() -> None:
    clock, upstream = FakeClock(), FakeProbed(True)
    monitor = monitor_of(upstream, clock)
    monitor.check(1.0)
    clock.time = 1.0
    monitor.check(1.0)
    assert len(upstream.timeouts) == 1
    clock.time = 1.001
    monitor.check(1.0)
    assert len(upstream.timeouts) == 2


def test_a_doubted_answer_is_used_only_for_a_moment_and_the_next_in_full_again() -> None:
    clock, upstream = FakeClock(), FakeProbed(True)
    monitor = monitor_of(upstream, clock)
    monitor.check(10.0)
    monitor.on_call(CallReport(URL, 1, "full", None, 0.1, UpstreamError("502")))
    clock.time = SHORTEST_PERIOD
    monitor.check(10.0)
    assert len(upstream.timeouts) == 1
    clock.time = SHORTEST_PERIOD + 0.001
    monitor.check(10.0)
    assert len(upstream.timeouts) == 2
    clock.time += 9.0
    monitor.check(10.0)
    assert len(upstream.timeouts) == 2


def test_who_asks_for_something_younger_than_a_moment_gets_it_also_in_doubt() -> None:
    clock, upstream = FakeClock(), FakeProbed(True)
    monitor = monitor_of(upstream, clock)
    monitor.check(0.0)
    monitor.on_call(CallReport(URL, 1, "full", None, 0.1, UpstreamError("502")))
    clock.time = SHORTEST_PERIOD / 2
    monitor.check(0.0)
    assert len(upstream.timeouts) == 2


def test_a_failure_of_one_that_is_not_ready_or_of_none_at_all_raises_no_doubts() -> None:
    monitor = monitor_of(FakeProbed(True))
    monitor.on_call(CallReport(URL, 1, "full", None, 0.1, UpstreamError("502")))
    assert not monitor._wake.is_set()
    monitor.check(0.0)
    monitor.on_call(CallReport(URL, 1, "full", None, 0.1, NoUpstream("none")))
    assert not monitor._wake.is_set()
    monitor.on_call(CallReport(URL, 1, "full", None, 0.1, UpstreamError("502")))
    assert monitor._wake.is_set()


def test_limits_are_read_when_it_comes_up_and_only_then() -> None:
    upstream = FakeProbed(False, True, True, False, True)
    clock = FakeClock()
    monitor = monitor_of(upstream, clock)
    asked = []
    for _ in range(5):
        clock.time += 1.0
        monitor.check(0.5)
        asked.append(len(upstream.info_timeouts))
    assert asked == [0, 1, 1, 1, 2]


def test_only_changes_are_logged_bad_news_as_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="upstream.monitor")
    upstream = FakeProbed(False, True, True, False, False)
    upstream.told = None
    clock = FakeClock()
    monitor = monitor_of(upstream, clock)
    for _ in range(5):
        clock.time += 1.0
        monitor.check(0.5)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.INFO, f"upstream {URL} is ready"),
        (logging.WARNING, f"upstream {URL} is not ready"),
    ]


def test_what_was_clamped_and_which_model_is_served_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="upstream.monitor")
    upstream = FakeProbed(True)
    upstream.told = UpstreamInfo(None, 8, None)
    monitor_of(upstream).check(0.0)
    said = [record.getMessage() for record in caplog.records]
    assert said[1] == "upstream serves an unnamed model"
    assert said[2].endswith("max_batch_size 32 -> 8")
    upstream.told = UpstreamInfo("bge-small", None, None)
    monitor_of(upstream).check(0.0)
    assert caplog.records[-1].getMessage() == "upstream serves bge-small"


def test_permits_for_exactly_all_batches_are_not_worth_a_word() -> None:
    limits, wanted = limits_of(), limits_of()
    permits = wanted.max_inflight_batches * wanted.max_batch_size
    assert clamped(limits, wanted, [UpstreamInfo(None, None, permits)]) == []
    assert limits.max_inflight_items == permits
    assert clamped(limits, wanted, [UpstreamInfo(None, None, permits - 1)]) == [
        f"items in flight at most {permits - 1}"
    ]
    assert clamped(limits, wanted, [UpstreamInfo(None, None, permits - 1)]) == []


def test_permits_add_up_to_no_more_than_is_wanted() -> None:
    limits, wanted = limits_of(), limits_of(max_inflight_items=100)
    clamped(limits, wanted, [UpstreamInfo(None, None, 70), UpstreamInfo(None, None, 70)])
    assert limits.max_inflight_items == 100


def test_where_nothing_is_known_of_any_upstream_permits_stay() -> None:
    limits = limits_of(max_inflight_items=7)
    assert clamped(limits, limits_of(), []) == []
    assert limits.max_inflight_items == 7


def test_waits_double_up_to_the_longest_and_begin_anew_after_good_news() -> None:
    upstream = FakeProbed(False, False, False, False, True, False, False, True)
    monitor = monitor_of(upstream)
    waits: list[float] = []

    class Wake:
        """Notes how long it is waited on, and lets no time pass."""

        def wait(self, timeout: float) -> None:
            waits.append(timeout)
            if len(waits) == 8:
                monitor._stopping = True

        def clear(self) -> None:
            pass

    monitor._wake = Wake()  # type: ignore[assignment]
    monitor._look = lambda: upstream.is_healthy(0.0)  # type: ignore[method-assign]
    monitor._run()
    assert waits == [
        *(FIRST_RETRY, 2 * FIRST_RETRY, LAST_RETRY, LAST_RETRY, WELL_PERIOD),
        *(FIRST_RETRY, 2 * FIRST_RETRY, WELL_PERIOD),
    ]


def test_the_thread_has_a_name_and_keeps_no_process_alive() -> None:
    monitor = monitor_of(FakeProbed(True))
    before = set(threading.enumerate())
    monitor.start()
    (thread,) = set(threading.enumerate()) - before
    assert (thread.name, thread.daemon) == ("upstream-monitor", True)
    monitor.stop()
    thread.join(10)
    assert not thread.is_alive()
