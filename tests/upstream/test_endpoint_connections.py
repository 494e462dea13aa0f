"""The endpoint over its pooled connections: what breaks, is closed or lies in wait there costs no wrong answer."""

from __future__ import annotations

import gc
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamBroke, UpstreamError, UpstreamRejected, UpstreamTimeout, UpstreamUnavailable
from tests.support.concurrency import Nursery
from tests.support.upstream import ScriptedUpstream, closed_port, faults
from tests.upstream.endpoint_bench import TIMEOUT, assert_answers, assert_fails, batch_of
from tests.upstream.network_bench import Silent
from upstream.http_reply import ReplyReader
from upstream.transport import STALE_WITHIN

if TYPE_CHECKING:
    from io import BufferedReader

    from tests.support.observers import RecordingObserver
    from tests.support.upstream import Exchange, Fault
    from tests.upstream.endpoint_bench import Connect
    from upstream.endpoint import Endpoint


def test_calls_one_after_the_other_share_a_connection(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    for fault in (faults.ok, faults.ok_chunked, faults.after_100_continue):
        upstream.script(fault)
        endpoint.send(batch_of("a", "b"))
        assert endpoint.health(TIMEOUT).is_well
        upstream.script(faults.refusal(422))
        with pytest.raises(UpstreamRejected):
            endpoint.send(batch_of("a"))
    assert upstream.connections == 1


def test_a_connection_closed_in_the_pause_costs_no_request(connect: Connect) -> None:
    with ScriptedUpstream(fault=faults.ok_then_close) as upstream:
        endpoint = connect(upstream)
        for number in range(5):
            assert_answers(endpoint, str(number))
            assert upstream.closed.acquire(timeout=10)


@pytest.mark.parametrize("fault", [faults.close, faults.reset], ids=["closed", "reset"])
def test_a_connection_closed_under_a_request_costs_no_request_either(
    upstream: ScriptedUpstream, endpoint: Endpoint, observer: RecordingObserver, fault: Fault
) -> None:
    endpoint.send(batch_of("a"))
    upstream.script(fault)
    assert_answers(endpoint, "b")
    assert (observer.stale_connections, upstream.connections) == ([endpoint.url], 2)


def test_a_new_connection_that_breaks_is_not_replaced_again(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    endpoint.send(batch_of("a"))
    upstream.script(faults.close, faults.close)
    assert_fails(endpoint, UpstreamBroke, 502)
    assert upstream.connections == 2


def test_a_connection_that_breaks_in_the_answer_was_not_stale(upstream: ScriptedUpstream, endpoint: Endpoint) -> None:
    endpoint.send(batch_of("a"))
    upstream.script(faults.reset_in_the_body)
    assert_fails(endpoint, UpstreamBroke, 502)
    assert upstream.connections == 1


def test_an_answer_that_does_not_wait_for_the_whole_request_counts(
    upstream: ScriptedUpstream, endpoint: Endpoint
) -> None:
    upstream.read_request = faults.read_the_head_only
    upstream.script(faults.refuse_and_hang)
    error = assert_fails(endpoint, UpstreamRejected, 413, "a" * 20_000_000)
    assert error.message == "too large"
    upstream.calm()
    assert_answers(endpoint, "b")


def test_an_interim_reply_does_not_stop_the_request(upstream: ScriptedUpstream, connect: Connect) -> None:
    upstream.read_request = faults.read_with_an_interim_reply
    assert_answers(connect(upstream, timeout=10), "a" * 20_000_000)


def test_a_connection_that_breaks_late_may_have_been_worked_on_and_was_not_stale(
    upstream: ScriptedUpstream, connect: Connect, observer: RecordingObserver
) -> None:
    endpoint = connect(upstream, timeout=2 + STALE_WITHIN)
    endpoint.send(batch_of("a"))
    upstream.script(lambda exchange: exchange.pause(STALE_WITHIN + 0.05))
    with pytest.raises(UpstreamBroke):
        endpoint.send(batch_of("b"))
    assert (observer.stale_connections, len(upstream.requests)) == ([], 2)


def test_each_address_of_a_host_is_tried(
    upstream: ScriptedUpstream, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [int(url.rpartition(":")[2]) for url in (closed_port(), upstream.url)]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert_answers(endpoint, "a")


def test_an_upstream_that_swallows_packets_ends_the_call_in_time(connect: Connect) -> None:
    with Silent("127.0.0.2", 0) as silent:
        error = assert_fails(connect(f"http://{silent.target}"), UpstreamTimeout, 504)
    assert "127.0.0.2" in error.reason
    assert "127.0.0.2" not in error.message


def test_an_address_that_swallows_packets_does_not_hide_the_next(
    upstream: ScriptedUpstream, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Silent("127.0.0.2", upstream.port):
        hosts = [("127.0.0.2", upstream.port), ("127.0.0.1", upstream.port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in hosts]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        endpoint = connect(f"http://upstream.test:{upstream.port}", timeout=10)
        for number in range(4):
            assert_answers(endpoint, str(number))


def test_writing_ends_at_the_deadline_if_the_upstream_does_not_read(
    upstream: ScriptedUpstream, endpoint: Endpoint
) -> None:
    def read_nothing(sock: socket.socket, stream: BufferedReader) -> None:
        upstream.stopping.wait(60)

    upstream.read_request = read_nothing
    assert_fails(endpoint, UpstreamTimeout, 504, "a" * 20_000_000)


def test_when_many_pooled_connections_are_stale_each_request_meets_only_one(
    upstream: ScriptedUpstream, endpoint: Endpoint
) -> None:
    with Nursery() as nursery:
        for number in range(4):
            nursery.start(endpoint.send, batch_of(str(number)))
    for number in range(4):
        upstream.script(faults.close)
        assert_answers(endpoint, str(number))


@pytest.mark.parametrize(
    "fault", [faults.reset, faults.half_a_body, faults.not_http, faults.ok_then_close, faults.html(503)]
)
def test_a_connection_leaves_nothing_for_the_collector(
    upstream: ScriptedUpstream, endpoint: Endpoint, fault: Fault
) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            upstream.script(fault)
            with suppress(UpstreamError):
                endpoint.send(batch_of("a"))
        readers = [each for each in gc.get_objects() if isinstance(each, ReplyReader)]
    finally:
        gc.enable()
    assert len(readers) <= 1


def test_a_refused_connection_leaves_nothing_for_the_collector(connect: Connect) -> None:
    endpoint = connect(closed_port())
    gc.collect()
    gc.disable()
    try:
        with suppress(UpstreamUnavailable):
            endpoint.send(batch_of("a"))
        problems = [each for each in gc.get_objects() if isinstance(each, ConnectionRefusedError)]
    finally:
        gc.enable()
    assert problems == []


def test_an_answer_that_was_not_asked_for_is_not_taken_for_the_next(
    upstream: ScriptedUpstream, endpoint: Endpoint
) -> None:
    upstream.script(*[faults.extra_bytes] * 5)
    for number in range(6):
        assert_answers(endpoint, str(number))


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(
    upstream: ScriptedUpstream, endpoint: Endpoint
) -> None:
    gate = threading.Event()

    def late(exchange: Exchange) -> object:
        gate.wait(10)
        return faults.ok(exchange)

    upstream.script(late)
    assert_fails(endpoint, UpstreamTimeout, 504)
    gate.set()
    for number in range(3):
        assert_answers(endpoint, str(number))


def test_threads_share_an_endpoint(upstream: ScriptedUpstream, connect: Connect) -> None:
    endpoint = connect(upstream, timeout=10.0)

    def ask(thread: int) -> None:
        for number in range(20):
            assert_answers(endpoint, f"{thread} {number}")

    with Nursery() as nursery:
        for thread in range(4):
            nursery.start(ask, thread)
    assert upstream.connections <= 4
