"""Requests that are passed on by the real service: the answer comes as the upstream sends it, whole or visibly not."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.service import GUNICORN, Service, eventually, post, read_answer
from tests.support.upstream import ScriptedUpstream, TeiForm, faults
from tests.support.upstream.framing import chunked, framed, head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.upstream import Exchange, Fault

BODY = json.dumps({"ids": [1, 2]}).encode()
MOST, PLACES = 4, 2
#: Seconds in which a thing that is told at once is told.
SOON = 2.0


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(TeiForm({"model_id": "scripted"})) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def shared(running: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings: dict[str, Any] = {
        "max_concurrent_requests": MOST,
        "max_inflight_batches": PLACES,
        "max_batch_size": 4,
        "read_timeout_ms": 1000,
    }
    folder = tmp_path_factory.mktemp("forward")
    with Service(folder, command=GUNICORN, inference_url=running.url, **settings) as service:
        yield service


@pytest.fixture
def upstream(running: ScriptedUpstream) -> Iterator[ScriptedUpstream]:
    running.calm()
    yield running
    running.calm()


@pytest.fixture
def service(shared: Service, upstream: ScriptedUpstream) -> Iterator[Service]:
    """The shared service, which has let go of all that the test made it hold, and serves on."""
    yield shared
    upstream.calm()
    eventually(lambda: in_progress(shared) == 0)
    assert shared.embed("still there").status == 200


def in_progress(service: Service) -> float:
    lines = service.get("/metrics").body.decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("autobatch_calls_in_progress"))


def decode(service: Service, **headers: str) -> Any:
    return service.request("POST", "/decode", BODY, {"Content-Type": "application/json", **headers})


def for_decode(fault: Fault) -> Fault:
    """Play the fault for what is passed on, and answer all else properly."""
    return lambda exchange: (fault if exchange.request.path == "/decode" else faults.ok)(exchange)


def drip(exchange: Exchange) -> None:
    """Send a list so slowly that it never ends, though bytes always come."""
    exchange.send(head(200, "Content-Length: 100000"))
    exchange.drip(b"[" + b" " * 99_999, every=0.02)


def forget_closed(upstream: ScriptedUpstream) -> None:
    """Forget how many connections the upstream has closed."""
    while upstream.closed.acquire(blocking=False):
        continue


def pieces_of(go_on: threading.Semaphore, *pieces: bytes) -> Fault:
    """Send a chunk for each piece, and the next one once the test lets it go on."""

    def fault(exchange: Exchange) -> object:
        exchange.send(head(200, "Content-Type: application/json", "Transfer-Encoding: chunked"))
        for piece in pieces:
            exchange.send(chunked(piece))
            assert go_on.acquire(timeout=10)
        exchange.send(chunked(b""))
        return faults.KEEP

    return fault


def test_the_client_gets_bytes_while_the_upstream_still_works(service: Service, upstream: ScriptedUpstream) -> None:
    go_on = threading.Semaphore(0)
    upstream.fault = for_decode(pieces_of(go_on, b'["a",', b'"b"]'))
    with service.connect() as connection:
        connection.sendall(post(BODY, path="/decode"))
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.getheader("Transfer-Encoding")) == (200, "chunked")
        assert response.getheader("Content-Type") == "application/json"
        assert response.getheader("X-Request-Id")
        assert response.read1() == b'["a",'
        go_on.release()
        assert response.read1() == b'"b"]'
        go_on.release()
        assert response.read() == b""
        # The connection carries another request.
        connection.sendall(post(b'{"inputs":"a"}'))
        assert read_answer(connection).status == 200


def test_an_answer_of_known_length_keeps_it_for_clients_of_http_1_0_too(
    service: Service, upstream: ScriptedUpstream
) -> None:
    upstream.fault = for_decode(faults.answer(b"[" + b"0," * 500_000 + b"0]"))
    for version in (b"HTTP/1.1", b"HTTP/1.0"):
        answer = service.say(post(BODY, path="/decode").replace(b"HTTP/1.1", version))
        assert (answer.status, answer.headers["content-length"], len(answer.body)) == (200, "1000003", 1_000_003)


@pytest.mark.parametrize(
    ("broken", "version"),
    [
        (framed(b"[" + b"0," * 100_000 + b"0]")[:-5], b"HTTP/1.1"),
        (head(200, "Transfer-Encoding: chunked") + chunked(b"[" + b"0," * 100_000), b"HTTP/1.1"),
        (head(200, "Transfer-Encoding: chunked") + chunked(b"[" + b"0," * 100_000) + b"zz\r\n", b"HTTP/1.1"),
        (head(200, "Transfer-Encoding: chunked") + chunked(b"[" + b"0," * 100_000), b"HTTP/1.0"),
    ],
)
def test_an_answer_that_breaks_off_does_not_look_whole(
    service: Service, upstream: ScriptedUpstream, broken: bytes, version: bytes
) -> None:
    upstream.fault = for_decode(faults.say(broken))
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        service.say(post(BODY, path="/decode").replace(b"HTTP/1.1", version))
    assert "Error handling request" not in service.log


def test_a_refusal_keeps_its_status_and_its_words(service: Service, upstream: ScriptedUpstream) -> None:
    for status, kind in ((422, "Validation"), (413, "Validation"), (424, "Backend")):
        text = json.dumps({"error": "`ids` are too many", "error_type": kind}).encode()
        upstream.fault = for_decode(faults.answer(text, status))
        answer = decode(service)
        assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
        assert "`ids` are too many" in answer.json["error"]
        assert answer.json["error_type"] == kind


def test_an_upstream_that_is_not_ready_is_503_and_one_that_hangs_504(
    service: Service, upstream: ScriptedUpstream
) -> None:
    upstream.fault = for_decode(faults.hang)
    began = time.monotonic()
    answer = decode(service, **{"X-Request-Timeout-Ms": "300"})
    assert (answer.status, answer.json["error_type"]) == (504, "Timeout")
    assert time.monotonic() - began < SOON
    upstream.fault = for_decode(faults.refusal(503))
    answer = decode(service, **{"X-Request-Timeout-Ms": "300"})
    assert (answer.status, answer.json["error_type"]) == (503, "Unhealthy")
    assert "retry-after" in answer.headers


def test_a_body_that_drips_ends_at_the_clients_deadline(service: Service, upstream: ScriptedUpstream) -> None:
    upstream.fault = for_decode(drip)
    began = time.monotonic()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        decode(service, **{"X-Request-Timeout-Ms": "400"})
    assert time.monotonic() - began < SOON


def test_a_body_without_end_is_never_held_and_ends_with_its_client(
    service: Service, upstream: ScriptedUpstream
) -> None:
    upstream.fault = for_decode(faults.huge_body)
    forget_closed(upstream)
    worker = psutil.Process(service.workers[0])
    before = worker.memory_info().rss
    with service.connect() as connection:
        connection.sendall(post(BODY, path="/decode"))
        read = 0
        while read < 50_000_000:
            read += len(connection.recv(1 << 20))
        grown = worker.memory_info().rss - before
    assert grown < 20_000_000
    assert upstream.closed.acquire(timeout=SOON)


def test_a_client_that_hangs_up_while_nothing_comes_ends_the_upstreams_call(
    service: Service, upstream: ScriptedUpstream
) -> None:
    upstream.fault = for_decode(faults.hang)
    forget_closed(upstream)
    with service.connect() as connection:
        connection.sendall(post(BODY, path="/decode"))
        eventually(lambda: any(request.path == "/decode" for request in upstream.requests))
    assert upstream.closed.acquire(timeout=SOON)


def test_a_client_that_takes_nothing_is_not_waited_for_for_long(service: Service, upstream: ScriptedUpstream) -> None:
    upstream.fault = for_decode(faults.huge_body)
    forget_closed(upstream)
    with service.connect() as connection:
        connection.sendall(post(BODY, path="/decode"))
        assert connection.recv(10)
        assert upstream.closed.acquire(timeout=2 * SOON)


def test_a_body_without_length_comes_whole_to_clients_of_http_1_0_too(
    service: Service, upstream: ScriptedUpstream
) -> None:
    chunks = [b"[" + b"0," * 100_000, b"0]"]
    upstream.fault = for_decode(faults.say(head(200, "Transfer-Encoding: chunked") + chunked(*chunks, b"")))
    answer = service.say(post(BODY, path="/decode").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"".join(chunks), "close")
    assert answer.headers.keys().isdisjoint({"content-length", "transfer-encoding"})


def test_requests_that_are_passed_on_are_admitted_like_all_others(service: Service, upstream: ScriptedUpstream) -> None:
    upstream.fault = for_decode(faults.hang)
    with ExitStack() as stack:
        clients = [stack.enter_context(service.connect()) for _ in range(MOST)]
        for client in clients:
            client.sendall(post(BODY, path="/decode"))
        eventually(lambda: in_progress(service) == MOST)
        asked = [request for request in upstream.requests if request.path == "/decode"]
        assert len(asked) == PLACES
        for answer in (decode(service), service.embed("a")):
            assert (answer.status, answer.json["error_type"]) == (429, "Overloaded")
        for client in clients[PLACES:]:
            client.shutdown(socket.SHUT_RDWR)
        eventually(lambda: in_progress(service) == PLACES)
        assert service.embed("a").status == 200
