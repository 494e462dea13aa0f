"""Whatever the upstream does, the client of it answers vectors untouched or one of our errors, in time."""

from __future__ import annotations

import base64
import errno
import gc
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from batching import Batch, BatchKey
from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.support import chaos
from tests.support.chaos import Chaos
from tests.support.concurrency import Nursery
from tests.support.fakes import KEY, call_of, vector_of
from upstream.endpoint import MAX_RELAYED_TEXT, MAX_REMEMBERED_KEYS, UpstreamClient, UpstreamInfo
from upstream.http_reply import MAX_TEXT_BYTES, ReplyReader
from upstream.transport import STALE_WITHIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds that a call may take, and that it may end late.
TIMEOUT, LATE = 0.4, 0.25


@pytest.fixture(scope="module")
def running() -> Iterator[Chaos]:
    with Chaos() as upstream:
        yield upstream


@pytest.fixture
def upstream(running: Chaos) -> Chaos:
    running.calm()
    return running


@pytest.fixture
def connect() -> Iterator[Callable[..., UpstreamClient]]:
    clients: list[UpstreamClient] = []

    def connect(upstream: Chaos | str, *, timeout: float = TIMEOUT, **options: str) -> UpstreamClient:
        url = upstream if isinstance(upstream, str) else upstream.url
        clients.append(UpstreamClient(url, connections=4, timeout=timeout, **options))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(upstream: Chaos, connect: Callable[..., UpstreamClient]) -> UpstreamClient:
    return connect(upstream)


def batch_of(*texts: str, key: BatchKey = KEY, patience: float = 60.0) -> Batch:
    batch = Batch(key, "full", time.monotonic())
    call = call_of(*texts, key=key, deadline=time.monotonic() + patience)
    batch.add(call, len(texts))
    return batch


def own_vectors(batch: Batch) -> list[bytes]:
    return [vector_of(item) for item in batch.items]


# What it says


def test_a_batch_becomes_one_call_and_one_vector_for_each_item(upstream: Chaos, client: UpstreamClient) -> None:
    batch = batch_of("a", "b\n", "ü", key=BatchKey("/embed", b',"normalize":false'))
    assert client.send(batch) == own_vectors(batch)
    (request,) = upstream.requests
    assert (request.method, request.path) == ("POST", "/embed")
    assert request.body == b'{"inputs":["a","b\\n","\\u00fc"],"normalize":false}'


def test_only_these_headers_go_upstream(
    upstream: Chaos, connect: Callable[..., UpstreamClient], monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_without_a_key_there_is_no_authorization(upstream: Chaos, client: UpstreamClient) -> None:
    client.send(batch_of("a"))
    assert upstream.requests[0].header("Authorization") is None


def test_proxies_and_netrc_of_the_environment_are_not_used(
    upstream: Chaos,
    connect: Callable[..., UpstreamClient],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, chaos.closed_port())
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    batch = batch_of("a")
    assert connect(upstream, api_key="key").send(batch) == own_vectors(batch)
    assert upstream.requests[0].header("Authorization") == "Bearer key"
    assert base64.b64encode(b"someone:secret").decode() not in str(upstream.requests)


def test_a_path_in_front_of_the_upstream_is_kept(upstream: Chaos, connect: Callable[..., UpstreamClient]) -> None:
    connect(upstream.url + "/models/one").send(batch_of("a"))
    assert upstream.requests[0].path == "/models/one/embed"


def test_a_cookie_is_never_sent_back(upstream: Chaos, client: UpstreamClient) -> None:
    upstream.script(chaos.ok_with("Set-Cookie: tenant=a; Path=/"))
    for _ in range(3):
        client.send(batch_of("a"))
    assert [request.header("Cookie") for request in upstream.requests] == [None, None, None]


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
def test_every_digit_of_a_vector_is_the_upstreams_own(upstream: Chaos, client: UpstreamClient, vector: bytes) -> None:
    upstream.script(chaos.every_vector(vector))
    assert client.send(batch_of("a", "b")) == [vector, vector]


@pytest.mark.parametrize("fault", [chaos.ok_chunked, chaos.after_100_continue])
def test_proper_answers_come_in_several_forms(upstream: Chaos, client: UpstreamClient, fault: chaos.Fault) -> None:
    upstream.script(fault, fault)
    for _ in range(2):
        batch = batch_of("a", "b")
        assert client.send(batch) == own_vectors(batch)


# What fails, and how

NONSENSE = {
    "html": chaos.html(200),
    "nothing": chaos.answer(b""),
    "half a document": chaos.answer(b"[[0.1,0.2],[0.1"),
    "an object": chaos.answer(b'{"data":[]}'),
    "one vector too few": chaos.one_vector_too_few,
    "one vector too many": chaos.one_vector_too_many,
    "null": chaos.every_vector(b"null"),
    "a number": chaos.every_vector(b"1"),
    "empty vectors": chaos.every_vector(b"[]"),
    "null in a vector": chaos.every_vector(b"[0.1,null]"),
    "NaN in a vector": chaos.every_vector(b"[0.1,NaN]"),
    "a string in a vector": chaos.every_vector(b'[0.1,"0.2"]'),
    "true in a vector": chaos.every_vector(b"[0.1,true]"),
    "a vector in a vector": chaos.every_vector(b"[[0.1,0.2]]"),
    "an object in a vector": chaos.every_vector(b"[{}]"),
    "bottomless nesting": chaos.answer(b"[" * 60_000),
    "mixed dimensions": chaos.vectors(b"[1,2]", b"[1,2,3]"),
    "one vector empty": chaos.vectors(b"[1]", b"[]"),
    "no framing": chaos.no_framing,
    "compressed": chaos.gzipped,
    "too long": chaos.huge_body,
    "announced too long": chaos.announced_as_huge,
    "a negative length": chaos.odd_length("-1"),
    "a superscript length": chaos.odd_length("\u00b2"),
    "two lengths": chaos.two_lengths,
    "a length beside chunks": chaos.length_and_chunks,
    "compressed chunks": chaos.compressed_chunks,
    "a bad chunk size": chaos.bad_chunk_size,
    "a huge header": chaos.huge_header,
    "too many headers": chaos.many_headers,
    "interim replies without end": chaos.interim_without_end,
    "an upgrade": chaos.upgrade,
    "not HTTP": chaos.not_http,
}
BROKEN = {
    "half a body": chaos.half_a_body,
    "a body shorter than announced": chaos.shorter_than_it_says,
    "truncated chunks": chaos.truncated_chunks,
    "no last chunk": chaos.no_last_chunk,
    "closed without answer": chaos.close,
    "reset": chaos.reset,
    "reset in the body": chaos.reset_in_the_body,
}
REFUSED = {
    "a redirect": chaos.redirect("/elsewhere"),
    "204": chaos.answer(b"", 204),
    "401": chaos.refusal(401),
    "404": chaos.html(404),
    "424": chaos.refusal(424),
    "500": chaos.refusal(500),
    "502": chaos.html(502),
}
LATE_ANSWERS = {
    "silence": chaos.hang,
    "silence in the body": chaos.hang_in_the_body,
    "dripping headers": chaos.drip_headers,
    "a dripping body": chaos.drip_body,
    "endless 100 Continue": chaos.endless_100_continue,
}


def assert_fails(client: UpstreamClient, fault: type[UpstreamError], status: int, *texts: str) -> UpstreamError:
    began = time.monotonic()
    with pytest.raises(UpstreamError) as raised:
        client.send(batch_of(*texts or ("a", "b")))
    assert time.monotonic() - began < TIMEOUT + LATE
    assert (type(raised.value), raised.value.status) == (fault, status)
    return raised.value


def assert_goes_on(client: UpstreamClient) -> None:
    batch = batch_of("c")
    assert client.send(batch) == own_vectors(batch)


@pytest.mark.parametrize("fault", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_a_502_for_all(upstream: Chaos, client: UpstreamClient, fault: chaos.Fault) -> None:
    upstream.script(fault)
    assert_fails(client, UpstreamProtocolError, 502)
    assert_goes_on(client)


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_a_broken_connection_is_a_502_for_all(upstream: Chaos, client: UpstreamClient, fault: chaos.Fault) -> None:
    upstream.script(fault)
    assert_fails(client, UpstreamBroke, 502)
    assert_goes_on(client)


@pytest.mark.parametrize("fault", REFUSED.values(), ids=REFUSED)
def test_a_failure_is_a_502_for_all(upstream: Chaos, client: UpstreamClient, fault: chaos.Fault) -> None:
    upstream.script(fault)
    assert_fails(client, UpstreamError, 502)
    assert_goes_on(client)


@pytest.mark.parametrize("fault", LATE_ANSWERS.values(), ids=LATE_ANSWERS)
def test_an_answer_that_does_not_come_in_time_is_a_504(
    upstream: Chaos, client: UpstreamClient, fault: chaos.Fault
) -> None:
    upstream.script(fault)
    assert_fails(client, UpstreamTimeout, 504)
    assert_goes_on(client)


def test_a_server_that_takes_up_no_connection_is_a_504(connect: Callable[..., UpstreamClient]) -> None:
    with Chaos(accepting=False) as upstream:
        assert_fails(connect(upstream), UpstreamTimeout, 504)


@pytest.mark.parametrize("url", [chaos.closed_port(), "http://no-such-host.invalid:80"])
def test_an_upstream_that_cannot_be_reached_is_a_503(connect: Callable[..., UpstreamClient], url: str) -> None:
    client = connect(url)
    with pytest.raises(UpstreamUnavailable) as raised:
        client.send(batch_of("a"))
    assert (raised.value.status, raised.value.retry_after) == (503, 1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 1), ("7", 7), ("0", 1), ("soon", 1), ("Wed, 21 Oct 2026 07:28:00 GMT", 1), ("\u00b2", 1), ("9" * 9999, 1)],
)
def test_an_overloaded_or_unready_upstream_says_when_to_come_back(
    upstream: Chaos, client: UpstreamClient, value: str | None, seconds: float
) -> None:
    headers = [] if value is None else [f"Retry-After: {value}"]
    upstream.script(chaos.refusal(429, "no", *headers), chaos.refusal(503, "no", *headers))
    assert assert_fails(client, UpstreamOverloaded, 429).retry_after == seconds
    assert assert_fails(client, UpstreamUnavailable, 503).retry_after == seconds


def test_the_status_counts_even_where_its_text_cannot_be_trusted(upstream: Chaos, client: UpstreamClient) -> None:
    upstream.script(chaos.status_without_framing(503), chaos.status_without_framing(429))
    assert_fails(client, UpstreamUnavailable, 503)
    assert_fails(client, UpstreamOverloaded, 429)
    upstream.script(chaos.refusal(422, "x", "Content-Encoding: gzip"))
    assert_fails(client, UpstreamRejected, 422)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_input_that_was_alone_is_told_in_the_upstreams_words(
    upstream: Chaos, client: UpstreamClient, status: int
) -> None:
    upstream.script(chaos.refusal(status, "token 7 is odd"))
    error = assert_fails(client, UpstreamRejected, status, "a")
    assert isinstance(error, UpstreamRejected)
    assert (error.message, error.error_type) == ("token 7 is odd", "Validation")


@pytest.mark.parametrize("status", [400, 413, 422, 424, 429, 500, 503])
def test_what_the_upstream_says_of_several_inputs_is_not_passed_on(
    upstream: Chaos, client: UpstreamClient, status: int
) -> None:
    upstream.script(chaos.refusal(status, "my neighbour's secret"))
    with pytest.raises(UpstreamError) as raised:
        client.send(batch_of("a", "b"))
    assert "secret" not in f"{raised.value!r} {raised.value.message} {raised.value.copy()!r}"


@pytest.mark.parametrize("status", [424, 500, 502, 503])
def test_what_a_broken_upstream_says_is_not_passed_on_either(
    upstream: Chaos, client: UpstreamClient, status: int
) -> None:
    upstream.script(chaos.refusal(status, "Traceback: secret"))
    with pytest.raises(UpstreamError) as raised:
        client.send(batch_of("a"))
    assert "secret" not in f"{raised.value!r} {vars(raised.value)}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"error":7,"error_type":"<script>"}',
        b'{"error":' + b"[" * 30_000,
        b"x" * 3 * MAX_TEXT_BYTES,
    ],
)
def test_a_refusal_that_says_nothing_readable_is_told_in_our_words(
    upstream: Chaos, client: UpstreamClient, body: bytes
) -> None:
    upstream.script(chaos.answer(body, 422))
    error = assert_fails(client, UpstreamRejected, 422, "a")
    assert isinstance(error, UpstreamRejected)
    assert (error.message, error.error_type) == ("the upstream refused this input", "Validation")
    assert_goes_on(client)


def test_a_long_refusal_is_cut(upstream: Chaos, client: UpstreamClient) -> None:
    upstream.script(chaos.refusal(422, "x" * 10_000))
    assert assert_fails(client, UpstreamRejected, 422, "a").message == "x" * MAX_RELAYED_TEXT


# Redirects


def test_a_redirect_is_never_followed(upstream: Chaos, client: UpstreamClient) -> None:
    with Chaos() as elsewhere:
        upstream.script(chaos.redirect(elsewhere.url + "/embed"))
        assert_fails(client, UpstreamError, 502)
        assert elsewhere.connections == 0
    assert len(upstream.requests) == 1


def test_the_body_of_a_redirect_is_not_read_without_end(upstream: Chaos, client: UpstreamClient) -> None:
    def endless(exchange: chaos.Exchange) -> None:
        exchange.send(chaos.head(307, "Location: /embed", "Transfer-Encoding: chunked"))
        while not exchange.server.stopping.is_set():
            exchange.send(chaos.chunked(b"x" * 65_536))

    upstream.script(endless)
    began = time.monotonic()
    assert_fails(client, UpstreamError, 502)
    assert time.monotonic() - began < TIMEOUT / 2


# Deadlines


def test_the_batchs_own_deadline_counts_if_it_is_earlier(
    upstream: Chaos, connect: Callable[..., UpstreamClient]
) -> None:
    upstream.script(chaos.drip_body)
    client = connect(upstream, timeout=30.0)
    began = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        client.send(batch_of("a", patience=0.2))
    assert 0.15 < time.monotonic() - began < 0.2 + LATE


def test_with_no_time_left_nothing_is_sent(upstream: Chaos, client: UpstreamClient) -> None:
    with pytest.raises(UpstreamTimeout):
        client.send(batch_of("a", patience=-0.1))
    assert upstream.requests == []


# Connections


def test_calls_one_after_the_other_share_a_connection(upstream: Chaos, client: UpstreamClient) -> None:
    for fault in (chaos.ok, chaos.ok_chunked, chaos.after_100_continue):
        upstream.script(fault)
        client.send(batch_of("a", "b"))
        assert client.is_healthy(TIMEOUT)
        upstream.script(chaos.refusal(422))
        with pytest.raises(UpstreamRejected):
            client.send(batch_of("a"))
    assert upstream.connections == 1


def test_a_connection_closed_in_the_pause_costs_no_request(connect: Callable[..., UpstreamClient]) -> None:
    with Chaos(chaos.ok_then_close) as upstream:
        client = connect(upstream)
        for number in range(5):
            batch = batch_of(str(number))
            assert client.send(batch) == own_vectors(batch)
            assert upstream.closed.acquire(timeout=10)


@pytest.mark.parametrize("fault", [chaos.close, chaos.reset], ids=["closed", "reset"])
def test_a_connection_closed_under_a_request_costs_no_request_either(
    upstream: Chaos, client: UpstreamClient, fault: chaos.Fault
) -> None:
    stale: list[str] = []
    client._on_stale_connection = stale.append
    client.send(batch_of("a"))
    upstream.script(fault)
    batch = batch_of("b")
    assert client.send(batch) == own_vectors(batch)
    assert (stale, upstream.connections) == ([client.url], 2)


def test_a_new_connection_that_breaks_is_not_tried_again_and_again(upstream: Chaos, client: UpstreamClient) -> None:
    client.send(batch_of("a"))
    upstream.script(chaos.close, chaos.close)
    assert_fails(client, UpstreamBroke, 502)
    assert upstream.connections == 2


def test_a_connection_that_breaks_in_the_answer_was_not_stale(upstream: Chaos, client: UpstreamClient) -> None:
    client.send(batch_of("a"))
    upstream.script(chaos.reset_in_the_body)
    assert_fails(client, UpstreamBroke, 502)
    assert upstream.connections == 1


def test_an_answer_that_does_not_wait_for_the_whole_request_counts(
    upstream: Chaos, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaos, "_read_request", chaos.read_the_head_only)
    upstream.script(chaos.refuse_and_hang)
    error = assert_fails(client, UpstreamRejected, 413, "a" * 20_000_000)
    assert error.message == "too large"
    monkeypatch.undo()
    batch = batch_of("b")
    assert client.send(batch) == own_vectors(batch)


def test_an_interim_reply_does_not_stop_the_request(
    upstream: Chaos, connect: Callable[..., UpstreamClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaos, "_read_request", chaos.read_with_an_interim_reply)
    batch = batch_of("a" * 20_000_000)
    assert connect(upstream, timeout=10).send(batch) == own_vectors(batch)


def test_what_breaks_late_may_have_been_worked_on_and_was_not_stale(
    upstream: Chaos, connect: Callable[..., UpstreamClient]
) -> None:
    stale: list[str] = []
    client = connect(upstream, timeout=2 + STALE_WITHIN)
    client._on_stale_connection = stale.append
    client.send(batch_of("a"))
    upstream.script(lambda exchange: exchange.pause(STALE_WITHIN + 0.05))
    with pytest.raises(UpstreamBroke):
        client.send(batch_of("b"))
    assert (stale, len(upstream.requests)) == ([], 2)


def test_each_address_of_a_host_is_tried(
    upstream: Chaos, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [int(url.rpartition(":")[2]) for url in (chaos.closed_port(), upstream.url)]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    batch = batch_of("a")
    assert client.send(batch) == own_vectors(batch)


def test_all_addresses_together_have_the_time_of_the_call(
    connect: Callable[..., UpstreamClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float | None] = []

    class Silent(socket.socket):
        def connect(self, address: object) -> None:
            waited.append(self.gettimeout())
            time.sleep(self.gettimeout() or 0)
            raise TimeoutError

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (1, 2, 3)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", Silent)
    assert_fails(connect("http://silent.test"), UpstreamUnavailable, 503)
    assert len(waited) == 3


def test_an_address_that_swallows_packets_does_not_hide_the_next(
    upstream: Chaos, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Swallowing(socket.socket):
        def connect(self, address: Any) -> None:
            if address[1] == 1:
                time.sleep(self.gettimeout() or 0)
                raise TimeoutError
            super().connect(address)

    ports = [1, int(upstream.url.rpartition(":")[2])]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", Swallowing)
    batch = batch_of("a")
    assert client.send(batch) == own_vectors(batch)


def test_where_the_kernel_knows_no_ipv6_the_other_addresses_are_tried(
    upstream: Chaos, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnlyIPv4(socket.socket):
        def __init__(self, family: int = -1, *args: Any, **kwargs: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no IPv6 here")
            super().__init__(family, *args, **kwargs)

    port = int(upstream.url.rpartition(":")[2])
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", OnlyIPv4)
    batch = batch_of("a")
    assert client.send(batch) == own_vectors(batch)


def test_a_host_name_that_cannot_be_one_is_an_upstream_out_of_reach(connect: Callable[..., UpstreamClient]) -> None:
    client = connect("http://a..b")
    assert_fails(client, UpstreamUnavailable, 503)
    assert not client.is_healthy(1.0)


def test_writing_ends_at_the_deadline_if_nobody_reads(
    upstream: Chaos, client: UpstreamClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_nothing(stream: object) -> None:
        upstream.stopping.wait(60)

    monkeypatch.setattr(chaos, "_read_request", read_nothing)
    assert_fails(client, UpstreamTimeout, 504, "a" * 20_000_000)


def test_when_many_pooled_connections_are_stale_each_request_meets_only_one(
    upstream: Chaos, client: UpstreamClient
) -> None:
    with Nursery() as nursery:
        for number in range(4):
            nursery.start(client.send, batch_of(str(number)))
    for number in range(4):
        upstream.script(chaos.close)
        batch = batch_of(str(number))
        assert client.send(batch) == own_vectors(batch)


@pytest.mark.parametrize(
    "fault", [chaos.reset, chaos.half_a_body, chaos.not_http, chaos.ok_then_close, chaos.html(503)]
)
def test_a_connection_leaves_nothing_for_the_collector(
    upstream: Chaos, client: UpstreamClient, fault: chaos.Fault
) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            upstream.script(fault)
            with suppress(UpstreamError):
                client.send(batch_of("a"))
        readers = [each for each in gc.get_objects() if isinstance(each, ReplyReader)]
    finally:
        gc.enable()
    assert len(readers) <= 1


def test_a_refused_connection_leaves_nothing_for_the_collector(connect: Callable[..., UpstreamClient]) -> None:
    client = connect(chaos.closed_port())
    gc.collect()
    gc.disable()
    try:
        with suppress(UpstreamUnavailable):
            client.send(batch_of("a"))
        problems = [each for each in gc.get_objects() if isinstance(each, ConnectionRefusedError)]
    finally:
        gc.enable()
    assert problems == []


def test_an_answer_nobody_asked_for_is_not_taken_for_the_next(upstream: Chaos, client: UpstreamClient) -> None:
    upstream.script(*[chaos.extra_bytes] * 5)
    for number in range(6):
        batch = batch_of(str(number))
        assert client.send(batch) == own_vectors(batch)


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(upstream: Chaos, client: UpstreamClient) -> None:
    gate = threading.Event()

    def late(exchange: chaos.Exchange) -> object:
        gate.wait(10)
        return chaos.ok(exchange)

    upstream.script(late)
    assert_fails(client, UpstreamTimeout, 504)
    gate.set()
    for number in range(3):
        batch = batch_of(str(number))
        assert client.send(batch) == own_vectors(batch)


def test_threads_share_a_client(upstream: Chaos, connect: Callable[..., UpstreamClient]) -> None:
    client = connect(upstream, timeout=10.0)

    def ask(thread: int) -> None:
        for number in range(20):
            batch = batch_of(f"{thread} {number}")
            assert client.send(batch) == own_vectors(batch)

    with Nursery() as nursery:
        for thread in range(4):
            nursery.start(ask, thread)
    assert upstream.connections <= 4


# Dimensions


def test_a_changed_dimension_is_told_once_and_then_taken_as_the_new_one(
    upstream: Chaos, client: UpstreamClient
) -> None:
    upstream.script(*[chaos.every_vector(vector) for vector in (b"[1,2]", b"[1,2,3]", b"[1,2,3]")])
    client.send(batch_of("a"))
    with pytest.raises(UpstreamProtocolError, match="from 2 to 3"):
        client.send(batch_of("a"))
    assert client.send(batch_of("a")) == [b"[1,2,3]"]


def test_each_key_has_its_own_dimension_and_their_number_ends(upstream: Chaos, client: UpstreamClient) -> None:
    for number in range(3):
        upstream.script(chaos.every_vector(b"[" + b",".join([b"1"] * (number + 1)) + b"]"))
        client.send(batch_of("a", key=BatchKey("/embed", b',"dimensions":%d' % number)))
    for number in range(MAX_REMEMBERED_KEYS + 5):
        client._check_dimension(BatchKey("/embed", str(number).encode()), 8)
    assert len(client._dimensions) <= MAX_REMEMBERED_KEYS


# Health and limits


@pytest.mark.parametrize("fault", [chaos.ok, chaos.no_framing, chaos.html(200)])
def test_healthy_is_who_answers_200(upstream: Chaos, client: UpstreamClient, fault: chaos.Fault) -> None:
    upstream.fault = fault
    assert client.is_healthy(TIMEOUT)
    assert (upstream.requests[0].method, upstream.requests[0].path) == ("GET", "/health")
    assert upstream.requests[0].header("Content-Type") is None


@pytest.mark.parametrize("fault", [chaos.hang, chaos.drip_headers, chaos.close, chaos.html(503), chaos.not_http])
def test_who_does_not_is_not_healthy(upstream: Chaos, client: UpstreamClient, fault: chaos.Fault) -> None:
    upstream.fault = fault
    began = time.monotonic()
    assert not client.is_healthy(0.2)
    assert time.monotonic() - began < 0.2 + LATE


def test_nobody_is_healthy_behind_a_closed_port(connect: Callable[..., UpstreamClient]) -> None:
    client = connect(chaos.closed_port())
    assert not client.is_healthy(0.2)
    assert client.info(0.2) is None


def test_the_upstream_tells_its_limits(upstream: Chaos, client: UpstreamClient) -> None:
    assert client.info(TIMEOUT) == UpstreamInfo("chaos", 32, 512)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"model_id":7,"max_client_batch_size":true,"max_concurrent_requests":-1}', UpstreamInfo(None, None, None)),
        (b'{"max_client_batch_size":1.5,"max_concurrent_requests":"9"}', UpstreamInfo(None, None, None)),
        (b"{}", UpstreamInfo(None, None, None)),
        (b"[]", None),
        (b"<html>", None),
        (b"[" * 30_000, None),
        (b"x" * 3 * MAX_TEXT_BYTES, None),
    ],
)
def test_limits_that_make_no_sense_count_as_untold(
    upstream: Chaos, client: UpstreamClient, body: bytes, said: UpstreamInfo | None
) -> None:
    upstream.fault = chaos.answer(body)
    assert client.info(TIMEOUT) == said
    upstream.fault = chaos.answer(body, 404)
    assert client.info(TIMEOUT) is None
