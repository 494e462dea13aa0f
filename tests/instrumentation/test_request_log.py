"""Each request and each upstream call is one line, of which nothing is a body, a key or a client's own word."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from batching import Call
from batching.errors import UpstreamError
from batching.observer import CallReport
from batching.rank import Flow, Rank
from config.logs import REQUEST_LOGGER
from instrumentation.request_log import RequestLog
from tests.support.fakes import KEY, call_of, items_of


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> RequestLog:
    caplog.set_level(logging.INFO, REQUEST_LOGGER)
    return RequestLog(frozenset({"search"}))


def members(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Return the members of the one line that was written."""
    (record,) = caplog.records
    assert record.name == REQUEST_LOGGER
    found: dict[str, Any] = vars(record)["members"]
    return found


def answered(rank: Rank, tokens: int | None = None) -> Call:
    call = Call(items_of("secret text"), KEY, 1.0, rank=rank)
    call.batch_size, call.reason, call.queue_delay, call.inference_time, call.tokens = 32, "full", 0.0123, 0.036, tokens
    return call


def test_an_answered_request_is_told_with_the_batch_that_it_was_in(
    log: RequestLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.request("id-1", "/embed", 200, 0.05, answered(Rank(), tokens=7))
    assert members(caplog) == {
        "event": "request",
        "id": "id-1",
        "route": "/embed",
        "status": 200,
        "ms": 50.0,
        "items": 1,
        "class": "interactive",
        "queue_ms": 12.3,
        "batch_size": 32,
        "reason": "full",
        "upstream_ms": 36.0,
        "tokens": 7,
    }
    (message,) = caplog.messages
    assert message.startswith("request id=id-1 route=/embed status=200 ms=50.0 items=1 class=interactive ")
    assert message.endswith(" queue_ms=12.3 batch_size=32 reason=full upstream_ms=36.0 tokens=7")


def test_a_request_that_asked_the_engine_for_nothing_is_short(
    log: RequestLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.request("id-1", "unmatched", 404, 0.001, None)
    assert members(caplog) == {"event": "request", "id": "id-1", "route": "unmatched", "status": 404, "ms": 1.0}


def test_a_refused_request_has_no_batch(log: RequestLog, caplog: pytest.LogCaptureFixture) -> None:
    log.request("id-1", "/embed", 429, 0.001, call_of("a"))
    assert set(members(caplog)) == {"event", "id", "route", "status", "ms", "items", "class"}


@pytest.mark.parametrize(("name", "told"), [("search", "search"), ("a client's own word", "other")])
def test_only_flows_that_the_operator_has_named_are_named(
    log: RequestLog, caplog: pytest.LogCaptureFixture, name: str, told: str
) -> None:
    log.request("id-1", "/embed", 200, 0.05, answered(Rank(is_bulk=True, flow=Flow(name))))
    assert (members(caplog)["class"], members(caplog)["flow"]) == ("bulk", told)


def test_a_request_that_was_not_read_has_its_status(log: RequestLog, caplog: pytest.LogCaptureFixture) -> None:
    log.unread(408)
    assert members(caplog) == {"event": "request", "route": "unread", "status": 408}


def test_an_upstream_call_is_told_with_its_size_its_time_and_its_tokens(
    log: RequestLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.on_call(CallReport("http://a", 32, "full", None, 0.036, None, 640))
    assert caplog.messages == ["call upstream=http://a size=32 reason=full ms=36.0 result=ok tokens=640"]


def test_a_call_that_failed_and_was_made_again_says_so(log: RequestLog, caplog: pytest.LogCaptureFixture) -> None:
    log.on_call(CallReport("http://a", 1, "isolation", "connect", 0.5, UpstreamError("no")))
    assert members(caplog)["retry"] == "connect"
    assert members(caplog)["result"] == UpstreamError.error_type
