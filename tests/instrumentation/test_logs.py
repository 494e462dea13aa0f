"""An operator reads in the log what has changed and what fails, the reason and what to look at; never each call."""

from __future__ import annotations

import logging

import pytest

from batching.errors import (
    NoUpstream,
    ProxyError,
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from batching.observer import CallReport
from instrumentation.logs import MANY_REFUSALS, MOST_KINDS, PERIOD, UpstreamLog, kind_of
from tests.support.concurrency import Nursery
from tests.support.fakes import FakeClock

URL, OTHER = "http://upstream", "http://other"
THREW = UpstreamFailed("the upstream answered with status 500", words="poison: shape mismatch", reason="status 500")
WRONG_KEY = UpstreamMisconfigured("the upstream answered with status 401", reason="status 401")
DOWN = UpstreamUnavailable("the upstream cannot be reached", reason="connection refused")
REFUSAL = UpstreamRejected("token 7 is odd", status=422)


class LogBench:
    """A log of upstreams, what becomes of calls, and the lines that are written."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.clock = FakeClock()
        self.log = UpstreamLog(self.clock)
        self._caplog = caplog

    def end(self, *errors: ProxyError | None, upstream: str = URL) -> None:
        """Let calls end like this."""
        for error in errors:
            self.log.on_call(CallReport(upstream, 1, "full", None, 0.1, error))

    def look_after(self, seconds: float) -> None:
        """Let the monitors look at the upstreams so many seconds later."""
        self.clock.time += seconds
        for url in (URL, OTHER):
            self.log.on_look(url)

    @property
    def lines(self) -> list[str]:
        """The lines so far, which are then forgotten."""
        lines = [record.getMessage() for record in self._caplog.records]
        self._caplog.clear()
        return lines

    @property
    def levels(self) -> list[int]:
        levels = [record.levelno for record in self._caplog.records]
        self._caplog.clear()
        return levels


@pytest.fixture
def bench(caplog: pytest.LogCaptureFixture) -> LogBench:
    caplog.set_level(logging.INFO, logger="instrumentation.logs")
    return LogBench(caplog)


# States


def test_a_change_of_state_is_one_line_with_the_reason_and_what_to_look_at(bench: LogBench) -> None:
    bench.log.on_state(URL, False, "connection refused")
    bench.log.on_state(URL, True)
    assert bench.lines == [
        f"upstream {URL} is not ready: connection refused; check that the server runs and listens at that address",
        f"upstream {URL} is ready",
    ]


def test_bad_news_is_a_warning_and_good_news_is_not(bench: LogBench) -> None:
    bench.log.on_state(URL, False, "connection refused")
    bench.log.on_state(URL, True)
    bench.log.on_ejection(URL)
    bench.end(DOWN)
    assert bench.levels == [logging.WARNING, logging.INFO, logging.WARNING, logging.WARNING]


def test_another_reason_is_told_and_the_same_not_again_within_a_minute(bench: LogBench) -> None:
    for reason in ("connection refused", "status 503", "connection refused", "status 503"):
        bench.log.on_state(URL, False, reason)
    assert len(bench.lines) == 2
    bench.clock.time += PERIOD
    bench.log.on_state(URL, False, "connection refused")
    assert len(bench.lines) == 1


def test_each_upstream_has_its_own_lines(bench: LogBench) -> None:
    for url in (URL, OTHER):
        bench.log.on_state(url, False, "connection refused")
        bench.log.on_ejection(url)
        bench.end(DOWN, upstream=url)
    assert sum(URL in line for line in bench.lines) == 3


def test_an_upstream_that_comes_and_goes_does_not_fill_the_log(bench: LogBench) -> None:
    for _ in range(100):
        bench.log.on_state(URL, False, "calls are answered with status 404")
        bench.log.on_state(URL, True)
        bench.clock.time += 0.1
    assert len(bench.lines) <= 4


def test_the_last_line_of_an_upstream_that_came_back_says_so(bench: LogBench) -> None:
    bench.log.on_state(URL, False, "connection refused")
    bench.log.on_state(URL, True)
    bench.clock.time += 1.0
    bench.log.on_state(URL, False, "connection refused")
    bench.clock.time += 300.0
    bench.log.on_state(URL, True)
    assert bench.lines[-1] == f"upstream {URL} is ready"


@pytest.mark.parametrize("flaps", [1, 2, 5, 20])
@pytest.mark.parametrize("is_ready", [False, True])
def test_the_latest_line_of_a_state_is_true_a_minute_later(bench: LogBench, flaps: int, is_ready: bool) -> None:
    for _ in range(flaps):
        bench.log.on_state(URL, False, "connection refused")
        bench.log.on_state(URL, True)
        bench.clock.time += 0.1
    if not is_ready:
        bench.log.on_state(URL, False, "connection refused")
    for _ in range(3):
        bench.look_after(PERIOD)
    told = [line for line in bench.lines if "is ready" in line or "is not ready" in line]
    assert ("is ready" in told[-1]) is is_ready


def test_what_fails_in_more_ways_than_are_told_is_counted(bench: LogBench) -> None:
    for number in range(3 * MOST_KINDS):
        bench.end(UpstreamFailed("nonsense", reason=f"byte {number}"))
    assert len(bench.lines) == MOST_KINDS + 1
    bench.look_after(PERIOD)
    (summary,) = bench.lines
    assert f"{3 * MOST_KINDS} of {3 * MOST_KINDS} calls" in summary
    assert f"{2 * MOST_KINDS} x another failure" in summary


def test_an_upstream_that_changes_more_often_than_is_told_is_in_the_summary(bench: LogBench) -> None:
    for _ in range(50):
        bench.log.on_state(URL, False, "connection refused")
        bench.log.on_state(URL, True)
    bench.look_after(PERIOD)
    assert f"upstream {URL} changed its state" in " ".join(bench.lines)
    bench.look_after(PERIOD)
    assert not any("changed its state" in line for line in bench.lines)


def test_an_ejection_is_told_once_a_minute(bench: LogBench) -> None:
    for _ in range(50):
        bench.log.on_ejection(URL)
        bench.clock.time += 1.0
    assert bench.lines == [f"upstream {URL} fails call after call and is left out for a while"]


# Calls


def test_the_first_failure_of_each_kind_is_one_line_and_a_thousand_more_are_none(bench: LogBench) -> None:
    kinds = [
        THREW,
        WRONG_KEY,
        DOWN,
        UpstreamGateway("the upstream answered with status 502", reason="status 502"),
        UpstreamBroke("the connection broke"),
        UpstreamTimeout("the upstream did not answer in time"),
        UpstreamOverloaded("the upstream is overloaded", pause=0.0),
        UpstreamError("the upstream answered with status 599", reason="status 599"),
    ]
    bench.end(*kinds)
    assert len(bench.lines) == len(kinds)
    for _ in range(1000):
        bench.end(*kinds)
        bench.clock.time += 0.01
    assert bench.lines == []


def test_a_line_names_upstream_reason_and_what_to_look_at(bench: LogBench) -> None:
    bench.end(WRONG_KEY)
    assert bench.lines == [f"a call to upstream {URL} failed: status 401; check INFERENCE_API_KEY"]


def test_an_upstream_that_fails_in_ever_new_words_does_not_fill_the_log(bench: LogBench) -> None:
    for number in range(100):
        bench.end(UpstreamMisconfigured("404", reason=f"status 404: the model `{number}` does not exist"))
        bench.end(UpstreamFailed("nonsense", reason=f"not a JSON array: invalid character (byte {number})"))
    bench.look_after(PERIOD)
    lines = bench.lines
    assert 2 <= len(lines) <= 50
    assert max(map(len, lines)) <= 2000


def test_calls_that_succeed_are_not_told(bench: LogBench) -> None:
    bench.end(*[None] * 1000)
    bench.look_after(PERIOD)
    assert bench.lines == []


def test_no_line_quotes_an_input(bench: LogBench) -> None:
    bench.end(THREW, *[REFUSAL] * MANY_REFUSALS)
    bench.look_after(PERIOD)
    text = " ".join(bench.lines)
    assert text
    assert "poison" not in text
    assert "token 7" not in text


def test_a_failure_without_a_reason_is_told_in_our_words() -> None:
    assert kind_of(UpstreamBroke("the connection broke")) == "the connection broke"
    assert kind_of(DOWN) == "connection refused"
    assert kind_of(ProxyError("a bug")) == "a bug"
    assert kind_of(NoUpstream("none")) == "none"


# Refusals


def test_refusals_are_the_clients_business_until_there_are_many_in_a_row(bench: LogBench) -> None:
    bench.end(*[REFUSAL] * (MANY_REFUSALS - 1), None, *[REFUSAL] * (MANY_REFUSALS - 1))
    assert bench.lines == []
    bench.end(REFUSAL)
    assert bench.lines == [
        f"upstream {URL} refused the last {MANY_REFUSALS} calls, the latest with status 422; check model and API"
    ]
    bench.end(*[REFUSAL] * 1000)
    assert bench.lines == []


def test_refusals_of_one_upstream_are_not_those_of_another(bench: LogBench) -> None:
    for _ in range(MANY_REFUSALS - 1):
        bench.end(REFUSAL)
        bench.end(REFUSAL, upstream=OTHER)
    assert bench.lines == []


# The summary


def test_each_minute_in_which_something_failed_has_a_summary_for_each_upstream(bench: LogBench) -> None:
    bench.end(*[None] * 90, *[THREW] * 7, *[DOWN] * 3)
    bench.end(*[None] * 5, WRONG_KEY, upstream=OTHER)
    assert len(bench.lines) == 3
    bench.look_after(PERIOD)
    assert bench.lines == [
        f"in 60 s 10 of 100 calls to upstream {URL} failed: 7 x status 500, 3 x connection refused",
        f"in 60 s 1 of 6 calls to upstream {OTHER} failed: 1 x status 401",
    ]
    bench.look_after(PERIOD)
    assert bench.lines == []


def test_the_summary_comes_once_a_minute_however_often_is_looked(bench: LogBench) -> None:
    for _ in range(600):
        bench.end(THREW)
        bench.look_after(0.5)
    summaries = [line for line in bench.lines if line.startswith("in ")]
    assert summaries == [f"in 60 s 120 of 120 calls to upstream {URL} failed: 120 x status 500"] * 5


def test_the_summary_of_a_longer_time_says_how_long_it_was(bench: LogBench) -> None:
    bench.end(THREW)
    bench.look_after(75.2)
    assert bench.lines[-1].startswith("in 75 s 1 of 1 calls")


def test_threads_that_report_at_once_lose_no_failure(bench: LogBench) -> None:
    with Nursery() as nursery:
        for _ in range(8):
            nursery.start(bench.end, *[THREW] * 500)
    bench.look_after(PERIOD)
    assert "failed: 4000 x status 500" in bench.lines[-1]
