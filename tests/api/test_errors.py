"""Wherever a failure is noticed, the client reads the same JSON, and the request has an identity."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from api import errors
from api.error_forms import ERROR_TYPES, MOST_TEXT, RequestError, retry_after_header
from batching.errors import (
    BatcherDied,
    ClientGone,
    DeadlineExceeded,
    Overloaded,
    ProxyError,
    ShuttingDown,
    UpstreamError,
    UpstreamFailed,
    UpstreamMisconfigured,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.conftest import Edge, refused
from upstream.busy import QuotaExhausted

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


# Routes and methods


@pytest.mark.parametrize("path", ["/nowhere", "/embed/", "/EMBED", "/embed/x", "/%00", "/../etc/passwd", "/é"])
def test_an_unknown_path_is_404(edge: Edge, path: str) -> None:
    refused(edge.client.get(path), 404, "NotFound")
    refused(edge.post({"input": "a"}, path=path), 404, "NotFound")


def test_doubled_slashes_are_404_and_no_redirect_page(edge: Edge) -> None:
    response = edge.client.get("/health//live")
    refused(response, 404, "NotFound")
    assert "Location" not in response.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_another_method_is_405_and_allow_names_the_right_one(edge: Edge, method: str) -> None:
    response = edge.client.open("/embed", method=method)
    refused(response, 405, "MethodNotAllowed")
    assert {each.strip() for each in response.headers["Allow"].split(",")} == {"OPTIONS", "POST"}


def test_options_are_told_each_time(edge: Edge) -> None:
    for _ in range(3):
        response = edge.client.options("/embed")
        assert (response.status_code, response.data) == (200, b"")
        assert {each.strip() for each in response.headers["Allow"].split(",")} == {"OPTIONS", "POST"}


def test_a_get_route_allows_get_only(edge: Edge) -> None:
    response = edge.client.post("/health")
    refused(response, 405, "MethodNotAllowed")
    assert "GET" in response.headers["Allow"]


def test_a_head_request_gets_the_headers_of_the_error_and_no_body(edge: Edge) -> None:
    response = edge.client.head("/nowhere")
    assert (response.status_code, response.mimetype, response.data) == (404, "application/json", b"")


# Our errors


@pytest.mark.parametrize(
    ("error", "status", "error_type"),
    [
        (Overloaded("full", retry_after=1), 429, "Overloaded"),
        (ShuttingDown("stopping", retry_after=1), 503, "Unhealthy"),
        (DeadlineExceeded("late"), 504, "Timeout"),
        (BatcherDied("died", retry_after=1), 503, "Unhealthy"),
        (UpstreamError("failed"), 502, "Backend"),
        (UpstreamProtocolError("nonsense"), 502, "Backend"),
        (UpstreamTimeout("slow"), 504, "Timeout"),
        (UpstreamUnavailable("down", retry_after=7), 503, "Unhealthy"),
        (UpstreamOverloaded("busy", retry_after=2.5), 429, "Overloaded"),
        (ClientGone("gone"), 499, "ClientClosedRequest"),
        (ProxyError("bug"), 500, "Unhandled"),
    ],
)
def test_every_error_of_the_engine_has_its_status_type_and_retry_after(
    edge_with: Callable[..., AbstractContextManager[Edge]], error: ProxyError, status: int, error_type: str
) -> None:
    with edge_with(unavailable_wait_ms=0) as edge:
        edge.upstream.failures = [error] * 2  # what may be repeated is
        response = edge.post({"input": "a"})
    assert refused(response, status, error_type) == error.message
    if error.retry_after is None:
        assert "Retry-After" not in response.headers
    else:
        assert error.retry_after <= int(response.headers["Retry-After"]) <= error.retry_after + 3


def test_retry_after_is_spread_and_never_early() -> None:
    assert {retry_after_header(1) for _ in range(200)} == {"1", "2", "3"}
    assert {retry_after_header(0.2) for _ in range(200)} == {"1", "2", "3"}


@pytest.mark.parametrize("status", sorted(ERROR_TYPES))
def test_request_errors_name_themselves(status: int) -> None:
    assert RequestError(status, "x").error_type == ERROR_TYPES[status]


def test_an_unexpected_exception_is_logged_with_the_requests_identity_and_not_told(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    def check(max_age: float) -> dict[str, bool]:
        raise RuntimeError("inner detail")

    edge.service.readiness.check = check  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        response = edge.client.get("/health", headers={"X-Request-Id": "abc"})
    assert "inner" not in refused(response, 500, "Unhandled")
    assert "abc" in caplog.text
    assert "inner detail" in caplog.text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ('quote " and </html> ü 日本 😀', 'quote " and </html> ü 日本 😀'),
        ("two\nlines\r\nand\ttabs\u2028", "two lines  and tabs "),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x00\x7f\x9b31m", "\\x00\\x7f\\x9b31m"),
        ("turned \u202e round", "turned \\u202e round"),
        ("half \ud800 a pair", "half \\ud800 a pair"),
        ("x" * 5000, "x" * MOST_TEXT),
        ("\x00" * 5000, "\\x00" * (MOST_TEXT // 4)),
    ],
)
def test_an_upstreams_words_are_told_as_plain_text_of_one_line(edge: Edge, words: str, told: str) -> None:
    edge.upstream.failures = [UpstreamRejected(words, status=422)]
    assert refused(edge.post({"input": "a"}), 422, "Validation") == told


# Identity


def test_a_harmless_request_id_is_echoed(edge: Edge) -> None:
    for identity in ("a", "A-b_9", "x" * 64):
        assert edge.post({"input": "a"}, {"X-Request-Id": identity}).headers["X-Request-Id"] == identity
        error = edge.client.get("/nowhere", headers={"X-Request-Id": identity})
        assert json.loads(error.data)["request_id"] == identity


@pytest.mark.parametrize("identity", ["", "x" * 65, "a b", "a;b", "<script>", "é", "a.b", '"', "a\x00"])
def test_any_other_request_id_is_replaced(edge: Edge, identity: str) -> None:
    given = edge.post({"input": "a"}, {"X-Request-Id": identity}).headers["X-Request-Id"]
    assert given != identity
    assert given.replace("-", "").isalnum()


def test_every_request_gets_an_identity_of_its_own(edge: Edge) -> None:
    assert len({edge.client.get("/health/live").headers["X-Request-Id"] for _ in range(50)}) == 50


def test_two_apps_need_not_agree_on_anything(edge_with: Callable[..., AbstractContextManager[Edge]]) -> None:
    with edge_with() as one, edge_with() as other:
        assert one.post({"input": "a"}).status_code == other.post({"input": "a"}).status_code == 200
        assert one.scrape()['autobatch_items_total{class="interactive",outcome="ok"}'] == 1


# What OpenAI's SDKs obey


@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings", "/api/embed"])
def test_a_refusal_for_now_says_in_both_ways_when_to_come_again(
    edge_with: Callable[..., AbstractContextManager[Edge]], path: str
) -> None:
    with edge_with(max_concurrent_requests=1) as edge:
        edge.upstream.gate.clear()
        first = edge.in_background({"input": "a"})
        edge.upstream.arrived.acquire(timeout=10)
        refusal = edge.post({"input": "b"}, path=path)
        edge.upstream.gate.set()
        assert first().status_code == 200
    assert refusal.status_code == 429
    assert refusal.headers["retry-after-ms"] == f"{refusal.headers['Retry-After']}000"
    assert "x-should-retry" not in refusal.headers


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        (DeadlineExceeded("late"), True),
        (UpstreamTimeout("late"), True),
        (UpstreamFailed("it throws on this"), True),
        (UpstreamMisconfigured("404"), True),
        (QuotaExhausted("You exceeded your current quota", pause=None), True),
        (UpstreamUnavailable("down", retry_after=1), False),
        (UpstreamError("500"), False),
        (Overloaded("full", retry_after=1), False),
        (UpstreamRejected("no", status=422), False),  # which is repeated by none
    ],
)
def test_what_a_repeat_would_meet_again_is_told_to_be_final(error: ProxyError, is_final: bool) -> None:
    assert errors.is_final(error) is is_final
