"""Whatever an upstream answers, the endpoint returns its vectors untouched or raises one of our errors, in time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.support.upstream import ScriptedUpstream, closed_port, faults
from tests.support.upstream.framing import chunked, head
from tests.upstream.endpoint_bench import LATE, TIMEOUT, assert_answers, assert_fails, batch_of
from upstream.health import Health

if TYPE_CHECKING:
    from tests.support.upstream import Exchange, Fault
    from tests.upstream.endpoint_bench import Connect
    from upstream.endpoint import Endpoint

NONSENSE = {
    "html": faults.html(200),
    "nothing": faults.answer(b""),
    "half a document": faults.answer(b"[[0.1,0.2],[0.1"),
    "an object": faults.answer(b'{"data":[]}'),
    "one vector too few": faults.one_vector_too_few,
    "one vector too many": faults.one_vector_too_many,
    "null": faults.every_vector(b"null"),
    "a number": faults.every_vector(b"1"),
    "empty vectors": faults.every_vector(b"[]"),
    "null in a vector": faults.every_vector(b"[0.1,null]"),
    "NaN in a vector": faults.every_vector(b"[0.1,NaN]"),
    "a string in a vector": faults.every_vector(b'[0.1,"0.2"]'),
    "true in a vector": faults.every_vector(b"[0.1,true]"),
    "a vector in a vector": faults.every_vector(b"[[0.1,0.2]]"),
    "an object in a vector": faults.every_vector(b"[{}]"),
    "bottomless nesting": faults.answer(b"[" * 60_000),
}
MALFORMED = {
    "no framing": faults.no_framing,
    "compressed": faults.gzipped,
    "too long": faults.huge_body,
    "announced too long": faults.announced_as_huge,
    "a negative length": faults.odd_length("-1"),
    "a superscript length": faults.odd_length("\u00b2"),
    "two lengths": faults.two_lengths,
    "a length beside chunks": faults.length_and_chunks,
    "compressed chunks": faults.compressed_chunks,
    "a bad chunk size": faults.bad_chunk_size,
    "a huge header": faults.huge_header,
    "too many headers": faults.many_headers,
    "interim replies without end": faults.interim_without_end,
    "an upgrade": faults.upgrade,
    "not HTTP": faults.not_http,
}
BROKEN = {
    "half a body": faults.half_a_body,
    "a body shorter than announced": faults.shorter_than_it_says,
    "truncated chunks": faults.truncated_chunks,
    "no last chunk": faults.no_last_chunk,
    "closed without answer": faults.close,
    "reset": faults.reset,
    "reset in the body": faults.reset_in_the_body,
}
#: Faults with the kind of error and the status that clients get.
REFUSED: dict[str, tuple[Fault, type[UpstreamError], int]] = {
    "204": (faults.answer(b"", 204), UpstreamError, 502),
    "301": (faults.answer(b"", 301, "Location: /elsewhere"), UpstreamMisconfigured, 502),
    "307": (faults.redirect("/elsewhere"), UpstreamMisconfigured, 502),
    "308": (faults.answer(b"", 308, "Location: /elsewhere"), UpstreamMisconfigured, 502),
    "401": (faults.refusal(401), UpstreamMisconfigured, 502),
    "403": (faults.refusal(403), UpstreamMisconfigured, 502),
    "404": (faults.html(404), UpstreamMisconfigured, 502),
    "405": (faults.html(405), UpstreamMisconfigured, 502),
    "408": (faults.html(408), UpstreamGateway, 502),
    "424": (faults.refusal(424), UpstreamFailed, 424),
    "500": (faults.refusal(500), UpstreamFailed, 502),
    "502": (faults.html(502), UpstreamGateway, 502),
    "504": (faults.html(504), UpstreamGateway, 504),
    "599": (faults.html(599), UpstreamFailed, 502),
}
LATE_ANSWERS = {
    "silence": faults.hang,
    "silence in the body": faults.hang_in_the_body,
    "dripping headers": faults.drip_headers,
    "a dripping body": faults.drip_body,
    "endless 100 Continue": faults.endless_100_continue,
}


# What comes back untouched


@pytest.mark.parametrize(
    "vector",
    [
        b"[0.1,-2,3e-7,4E+08,0.10000000000000000000000001,1e999,-0.0]",
        b"[ 1 ,\n\t2 ]",
        b"[0]",
        b"[123456789012345678901234567890]",
    ],
)
def test_every_digit_of_a_vector_is_the_upstreams_own(
    upstream: ScriptedUpstream, endpoint: Endpoint, vector: bytes
) -> None:
    upstream.script(faults.every_vector(vector))
    assert endpoint.send(batch_of("a", "b")).results == [vector, vector]


@pytest.mark.parametrize("fault", [faults.ok_chunked, faults.after_100_continue])
def test_proper_answers_come_in_several_forms(upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault) -> None:
    upstream.script(fault, fault)
    for _ in range(2):
        assert_answers(endpoint, "a", "b")


# What fails, and how


@pytest.mark.parametrize("fault", NONSENSE.values(), ids=NONSENSE)
def test_an_answer_that_makes_no_sense_may_have_been_caused_by_an_input(
    upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault
) -> None:
    upstream.script(fault)
    error = assert_fails(endpoint, UpstreamFailed, 502)
    assert error.pause is None
    assert error.reason
    assert_answers(endpoint)


@pytest.mark.parametrize("fault", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_proper_http_is_a_502_for_all_and_no_inputs_fault(
    upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault
) -> None:
    upstream.script(fault)
    assert assert_fails(endpoint, UpstreamProtocolError, 502).pause is None
    assert_answers(endpoint)


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_a_broken_connection_is_a_502_for_all(upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault) -> None:
    upstream.script(fault)
    assert assert_fails(endpoint, UpstreamBroke, 502).pause is None
    assert_answers(endpoint)


@pytest.mark.parametrize("name", REFUSED)
def test_each_status_has_its_meaning(upstream: ScriptedUpstream, endpoint: Endpoint, name: str) -> None:
    fault, kind, status = REFUSED[name]
    upstream.script(fault)
    error = assert_fails(endpoint, kind, status)
    assert (error.pause, error.reason.partition(",")[0].partition(":")[0]) == (None, f"status {name}")
    assert_answers(endpoint)


@pytest.mark.parametrize("fault", LATE_ANSWERS.values(), ids=LATE_ANSWERS)
def test_an_answer_that_does_not_come_in_time_is_a_504(
    upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault
) -> None:
    upstream.script(fault)
    assert_fails(endpoint, UpstreamTimeout, 504)
    assert_answers(endpoint)


def test_a_server_that_takes_up_no_connection_is_a_504(connect: Connect) -> None:
    with ScriptedUpstream(accepting=False) as upstream:
        assert_fails(connect(upstream), UpstreamTimeout, 504)


@pytest.mark.parametrize("url", [closed_port(), "http://no-such-host.invalid:80"])
def test_an_upstream_that_cannot_be_reached_is_a_503(connect: Connect, url: str) -> None:
    endpoint = connect(url)
    with pytest.raises(UpstreamUnavailable) as raised:
        endpoint.send(batch_of("a"))
    assert (raised.value.status, raised.value.retry_after, raised.value.pause) == (503, 1, None)


def test_a_host_name_that_cannot_be_one_is_an_upstream_out_of_reach(connect: Connect) -> None:
    endpoint = connect("http://a..b")
    assert_fails(endpoint, UpstreamUnavailable, 503)
    assert not endpoint.health(1.0).is_well


# Redirects


def test_a_redirect_is_never_followed(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    with ScriptedUpstream() as elsewhere:
        upstream.script(faults.redirect(elsewhere.url + "/embed"))
        error = assert_fails(endpoint, UpstreamMisconfigured, 502)
        assert elsewhere.connections == 0
    assert elsewhere.url in error.reason
    assert elsewhere.url not in error.message
    assert len(upstream.requests) == 1


def test_the_body_of_a_redirect_is_not_read_without_end(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    def endless(exchange: Exchange) -> None:
        exchange.send(head(307, "Location: /embed", "Transfer-Encoding: chunked"))
        while not exchange.server.stopping.is_set():
            exchange.send(chunked(b"x" * 65_536))

    upstream.script(endless)
    began = time.monotonic()
    assert_fails(endpoint, UpstreamMisconfigured, 502)
    assert time.monotonic() - began < TIMEOUT / 2


# Health


@pytest.mark.parametrize("fault", [faults.ok, faults.no_framing, faults.html(200)])
def test_an_upstream_that_answers_200_is_healthy(upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault) -> None:
    upstream.fault = fault
    assert endpoint.health(TIMEOUT) == Health(True)
    assert (upstream.requests[0].method, upstream.requests[0].path) == ("GET", "/health")
    assert upstream.requests[0].header("Content-Type") is None
    assert upstream.requests[0].header("Content-Length") is None


@pytest.mark.parametrize("fault", [faults.hang, faults.drip_headers, faults.close, faults.html(503), faults.not_http])
def test_an_upstream_that_does_not_is_not_healthy(upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault) -> None:
    upstream.fault = fault
    began = time.monotonic()
    health = endpoint.health(0.2)
    assert not health.is_well
    assert not health.is_unknown
    assert health.reason
    assert time.monotonic() - began < 0.2 + LATE


def test_no_upstream_is_healthy_behind_a_closed_port(connect: Connect) -> None:
    endpoint = connect(closed_port())
    assert "refused" in endpoint.health(0.2).reason
    assert endpoint.info(0.2) is None


@pytest.mark.parametrize("fault", [faults.hang, faults.close, faults.html(200), faults.not_http])
def test_an_upstream_that_says_nothing_readable_of_itself_tells_no_limits(
    upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault
) -> None:
    upstream.fault = fault
    assert endpoint.info(0.2) is None
