"""The endpoint says only what it should to its upstream, and turns each answer into results or one of our errors."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING

import pytest

from batching import Answer, BatchKey, Options, Task
from batching.errors import (
    Unsupported,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from batching.outcomes import Source
from tests.support.fakes import results_of
from tests.support.upstream import ScriptedUpstream, closed_port, faults
from tests.upstream.endpoint_bench import LATE, TIMEOUT, assert_answers, assert_fails, batch_of
from upstream.dialects.dialect import UpstreamInfo
from upstream.dialects.relaying import MAX_RELAYED_TEXT
from upstream.requester import MAX_TOLD_BYTES

if TYPE_CHECKING:
    from tests.upstream.endpoint_bench import Connect
    from upstream.endpoint import Endpoint


# What it says


def test_a_batch_becomes_one_call_and_one_vector_for_each_item(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    batch = batch_of("a", "b\n", "ü", key=BatchKey(Task.EMBED, Options(normalize=False)))
    assert endpoint.send(batch) == Answer(results_of(batch), 8, source=Source(None, 8))
    (request,) = upstream.requests
    assert (request.method, request.path) == ("POST", "/embed")
    assert request.body == b'{"inputs":["a","b\\n","\\u00fc"],"normalize":false}'


def test_only_these_headers_go_upstream(upstream: ScriptedUpstream, connect: Connect) -> None:
    connect(upstream, api_key="key").send(batch_of("a"))
    host = upstream.url.removeprefix("http://")
    assert sorted(upstream.requests[0].headers) == [
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("Authorization", "Bearer key"),
        ("Content-Length", str(len(upstream.requests[0].body))),
        ("Content-Type", "application/json"),
        ("Host", host),
        ("User-Agent", "auto-batching-proxy"),
    ]


def test_without_a_key_there_is_no_authorization(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    endpoint.send(batch_of("a"))
    assert upstream.requests[0].header("Authorization") is None


def test_proxies_and_netrc_of_the_environment_are_not_used(
    upstream: ScriptedUpstream,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, closed_port())
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert_answers(connect(upstream, api_key="key"))
    assert upstream.requests[0].header("Authorization") == "Bearer key"
    assert base64.b64encode(b"someone:secret").decode() not in str(upstream.requests)


def test_a_path_in_front_of_the_upstream_is_kept(upstream: ScriptedUpstream, connect: Connect) -> None:
    endpoint = connect(upstream.url + "/models/one")
    endpoint.send(batch_of("a"))
    endpoint.health(TIMEOUT)
    assert [request.path for request in upstream.requests] == ["/models/one/embed", "/models/one/health"]


def test_a_cookie_is_never_sent_back(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    upstream.script(faults.ok_with("Set-Cookie: client=a; Path=/"))
    for _ in range(3):
        endpoint.send(batch_of("a"))
    assert [request.header("Cookie") for request in upstream.requests] == [None, None, None]


def test_an_endpoint_says_where_it_leads(connect: Connect) -> None:
    endpoint = connect("http://upstream:8080")
    assert (repr(endpoint), endpoint.url) == ("<Endpoint http://upstream:8080, tei>", "http://upstream:8080")


def test_what_its_dialect_cannot_do_the_endpoint_cannot_do(connect: Connect) -> None:
    endpoint = connect("http://upstream")
    assert endpoint.fit(BatchKey(Task.EMBED), [b'"a"']) == BatchKey(Task.EMBED)
    with pytest.raises(Unsupported):
        endpoint.fit(BatchKey(Task.PREDICT), [b"{}"])


# Refusals


@pytest.mark.parametrize(
    ("value", "seconds", "pause"),
    [
        (None, 1, 0.0),
        ("7", 7, 7.0),
        ("0", 1, 0.0),
        ("1.5", 1.5, 1.5),
        ("soon", 1, 0.0),
        ("-1", 1, 0.0),
        ("9" * 9999, 1, 0.0),
    ],
)
def test_an_overloaded_or_unready_upstream_says_when_to_come_back(
    upstream: ScriptedUpstream, endpoint: Endpoint, value: str | None, seconds: float, pause: float
) -> None:
    headers = [] if value is None else [f"Retry-After: {value}"]
    upstream.script(faults.refusal(429, "no", *headers), faults.refusal(503, "no", *headers))
    for kind, status in ((UpstreamOverloaded, 429), (UpstreamUnavailable, 503)):
        error = assert_fails(endpoint, kind, status)
        assert (error.retry_after, error.pause) == (seconds, pause)


def test_the_status_counts_even_where_its_text_cannot_be_trusted(
    upstream: ScriptedUpstream, endpoint: Endpoint
) -> None:
    upstream.script(faults.status_without_framing(503), faults.status_without_framing(429))
    assert_fails(endpoint, UpstreamUnavailable, 503)
    assert_fails(endpoint, UpstreamOverloaded, 429)
    upstream.script(faults.refusal(422, "x", "Content-Encoding: gzip"))
    assert_fails(endpoint, UpstreamRejected, 422)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_input_that_was_alone_is_told_in_the_upstreams_words(
    upstream: ScriptedUpstream, endpoint: Endpoint, status: int
) -> None:
    upstream.script(faults.refusal(status, "token 7 is odd"))
    error = assert_fails(endpoint, UpstreamRejected, status, "a")
    assert isinstance(error, UpstreamRejected)
    assert (error.message, error.error_type, error.pause) == ("token 7 is odd", "Validation", None)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_upstreams_words_of_several_inputs_are_kept_for_the_client_to_whom_all_belong(
    upstream: ScriptedUpstream, endpoint: Endpoint, status: int
) -> None:
    upstream.script(faults.refusal(status, "token 7 is odd"))
    error = assert_fails(endpoint, UpstreamRejected, status, "a", "b")
    assert isinstance(error, UpstreamRejected)
    assert error.message == "the upstream refused this batch of 2 inputs"
    assert (error.in_full().message, error.in_full().status) == ("token 7 is odd", status)


@pytest.mark.parametrize("status", [400, 413, 422, 424, 429, 500, 503])
def test_what_the_upstream_says_of_several_inputs_is_not_passed_on(
    upstream: ScriptedUpstream, endpoint: Endpoint, status: int
) -> None:
    upstream.script(faults.refusal(status, "my neighbour's secret"))
    with pytest.raises(UpstreamError) as raised:
        endpoint.send(batch_of("a", "b"))
    assert "secret" not in f"{raised.value!r} {raised.value.message} {raised.value.copy()!r}"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_an_upstream_says_that_did_not_look_at_the_inputs_is_not_passed_on_either(
    upstream: ScriptedUpstream, endpoint: Endpoint, status: int
) -> None:
    upstream.script(faults.refusal(status, "Traceback: secret"))
    with pytest.raises(UpstreamError) as raised:
        endpoint.send(batch_of("a"))
    assert "secret" not in f"{raised.value!r} {vars(raised.value)}"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error":7,"error_type":"<script>"}'])
def test_a_refusal_that_says_nothing_readable_is_told_in_our_words(
    upstream: ScriptedUpstream, endpoint: Endpoint, body: bytes
) -> None:
    upstream.script(faults.answer(body, 422))
    error = assert_fails(endpoint, UpstreamRejected, 422, "a")
    assert isinstance(error, UpstreamRejected)
    assert (error.message, error.error_type) == ("the upstream refused this input", "Validation")
    assert_answers(endpoint)


def test_a_long_refusal_is_cut(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    upstream.script(faults.refusal(422, "x" * 10_000))
    assert assert_fails(endpoint, UpstreamRejected, 422, "a").message == "x" * MAX_RELAYED_TEXT


# Deadlines


def test_a_call_ends_by_the_time_out_and_the_batchs_own_deadline_does_not_end_it(
    upstream: ScriptedUpstream, connect: Connect
) -> None:
    """The server works on when its client has gone: the place in flight is free only when it has finished."""
    upstream.script(faults.drip_body)
    endpoint = connect(upstream, timeout=0.3)
    began = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        endpoint.send(batch_of("a", lasts=0.01))
    assert 0.25 < time.monotonic() - began < 0.3 + LATE


def test_a_batch_whose_deadline_has_just_passed_is_answered(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    batch = batch_of("a", lasts=-0.1)
    assert endpoint.send(batch).results == results_of(batch)


def test_with_no_time_left_nothing_is_sent(upstream: ScriptedUpstream, connect: Connect) -> None:
    with pytest.raises(UpstreamTimeout):
        connect(upstream, timeout=0.0).send(batch_of("a"))
    assert upstream.requests == []


# Limits


def test_the_upstream_tells_its_limits(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    told = endpoint.info(TIMEOUT)
    assert told is not None
    assert told._replace(raw=None) == UpstreamInfo("scripted", 32, 512, models=("scripted",))
    assert told == endpoint.known
    assert [(request.method, request.path) for request in upstream.requests] == [("GET", "/info")]


def test_a_text_about_itself_that_is_too_long_is_not_read(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    upstream.fault = faults.answer(b'{"x":"' + b"x" * MAX_TOLD_BYTES + b'"}')
    assert endpoint.info(TIMEOUT) is None
