"""The endpoint passes requests on as they are, and tells a refusal by the kind that it has."""

from __future__ import annotations

import gc
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from batching.errors import (
    ClientGone,
    ProxyError,
    Unsupported,
    UpstreamBroke,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.support.upstream import faults
from tests.support.upstream.framing import framed
from tests.upstream.endpoint_bench import TIMEOUT
from upstream.http_reply import ReplyReader
from upstream.request import Request

if TYPE_CHECKING:
    from tests.support.upstream import Fault, ScriptedUpstream
    from tests.upstream.endpoint_bench import Connect
    from upstream.endpoint import Endpoint
    from upstream.stream import Stream

BODY = b'{"ids":[1,2]}'


def no_look() -> None:
    """The request may go on."""


def forward(endpoint: Endpoint, path: str = "/decode", headers: bytes = b"") -> Stream:
    return endpoint.forward(Request(path, BODY, headers), time.monotonic() + TIMEOUT, no_look)


def body_of(stream: Stream) -> bytes:
    return b"".join(iter(lambda: stream.read(time.monotonic() + TIMEOUT), b""))


def test_a_request_goes_upstream_as_it_is_and_its_answer_comes_back(
    upstream: ScriptedUpstream, endpoint: Endpoint
) -> None:
    upstream.fault = faults.answer(b'["a b"]', 200, "x-compute-time: 3")
    stream = forward(endpoint, headers=b"X-Request-Id: r\r\n")
    assert (stream.reply.headers["x-compute-time"], body_of(stream)) == ("3", b'["a b"]')
    (request,) = upstream.requests
    assert (request.method, request.path, request.body) == ("POST", "/decode", BODY)
    assert (request.header("X-Request-Id"), request.header("Content-Type")) == ("r", "application/json")


def test_the_path_of_the_base_address_stands_in_front(upstream: ScriptedUpstream, connect: Connect) -> None:
    upstream.fault = faults.answer(b"[]")
    body_of(forward(connect(upstream.url + "/models/one")))
    assert [request.path for request in upstream.requests] == ["/models/one/decode"]


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        (faults.refusal(400, "empty"), UpstreamRejected, 400),
        (faults.refusal(413, "too large"), UpstreamRejected, 413),
        (faults.refusal(422, "too long"), UpstreamRejected, 422),
        (faults.refusal(424, "not a re-ranker"), UpstreamFailed, 424),
        (faults.refusal(500, "broken"), UpstreamFailed, 502),
        (faults.refusal(429), UpstreamOverloaded, 429),
        (faults.refusal(503), UpstreamUnavailable, 503),
        (faults.refusal(502), UpstreamGateway, 502),
        (faults.refusal(401), UpstreamMisconfigured, 502),
        (faults.redirect("/elsewhere"), UpstreamMisconfigured, 502),
        (faults.refusal(404), Unsupported, 404),
        (faults.refusal(405), Unsupported, 404),
        (faults.refusal(501), Unsupported, 404),
        (faults.close, UpstreamBroke, 502),
        (faults.hang, UpstreamTimeout, 504),
    ],
)
def test_what_is_no_answer_is_an_error_of_its_kind(
    upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault, kind: type[ProxyError], status: int
) -> None:
    upstream.fault = fault
    with pytest.raises(ProxyError) as raised:
        forward(endpoint)
    assert (type(raised.value), raised.value.status) == (kind, status)


def test_an_answer_that_breaks_within_its_body_is_an_error_where_it_is_read(
    upstream: ScriptedUpstream, endpoint: Endpoint
) -> None:
    upstream.fault = faults.say(framed(b'["a","b"]')[:-3])
    stream = forward(endpoint)
    with pytest.raises(UpstreamBroke):
        body_of(stream)


@pytest.mark.parametrize("status", [400, 422, 424])
def test_the_upstreams_words_are_passed_on_with_a_refusal(
    upstream: ScriptedUpstream, endpoint: Endpoint, status: int
) -> None:
    upstream.fault = faults.refusal(status, "`ids` cannot be empty")
    with pytest.raises(ProxyError, match="`ids` cannot be empty"):
        forward(endpoint)


def test_a_path_that_the_server_turns_out_not_to_have_is_named(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    upstream.fault = faults.refusal(404)
    with pytest.raises(Unsupported, match="does not have /similarity: it answers with status 404"):
        forward(endpoint, "/similarity")


def test_a_look_may_end_the_wait(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    def look() -> None:
        raise ClientGone("gone")

    upstream.fault = faults.hang
    with pytest.raises(ClientGone):
        endpoint.forward(Request("/decode", BODY), time.monotonic() + 60, look)


def test_no_time_is_no_call(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    with pytest.raises(UpstreamTimeout):
        endpoint.forward(Request("/decode", BODY), time.monotonic() - 1, no_look)
    assert not upstream.requests


def test_its_dialect_says_what_may_be_passed_on(endpoint: Endpoint) -> None:
    assert [endpoint.forwards(path) for path in ("/decode", "/tokenize", "/similarity", "/embed")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("fault", [faults.reset, faults.say(framed(b"[1,2]")[:-3]), faults.not_http, faults.html(503)])
def test_a_stream_leaves_nothing_for_the_collector(
    upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault
) -> None:
    upstream.fault = fault
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            with suppress(ProxyError):
                body_of(forward(endpoint))
        readers = [each for each in gc.get_objects() if isinstance(each, ReplyReader)]
    finally:
        gc.enable()
    assert len(readers) <= 1
