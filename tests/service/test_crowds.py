"""Crowds that could spend what belongs to all: silent connections, slow readers, and metrics asked for without end."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import GUNICORN, Service, embed_request, eventually, read_answer
from tests.support.upstream import ScriptedUpstream, vector_for
from tests.support.upstream.faults import only_calls, vectors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.upstream.exchange import Exchange

#: A newcomer is answered within so many seconds.
SOON = 0.5
#: Open connections of the service under test: gunicorn wants more than it has threads.
MOST_CONNECTIONS = 160
MOST_UNSENT = 12_000_000
RIGHT = b"[" + vector_for("ordinary") + b"]"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: crowd\r\n\r\n"

#: A vector of 16 kB, and the texts of one request: with vectors like these its answer is larger than the buffers of
#: the system on both sides.
ROW = b"[" + b",".join([b"0.123456789"] * 1400) + b"]"
TEXTS = ["large"] * 500


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def service(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with start(tmp_path_factory, upstream) as service:
        yield service


def start(tmp_path_factory: pytest.TempPathFactory, upstream: ScriptedUpstream) -> Service:
    settings: dict[str, Any] = {
        "max_concurrent_requests": 16,
        "max_batch_size": 16,
        "threads": 40,
        "read_timeout_ms": 10_000,
        "max_unsent_bytes": MOST_UNSENT,
    }
    command = (*GUNICORN, "--worker-connections", str(MOST_CONNECTIONS))
    return Service(tmp_path_factory.mktemp("crowds"), command=command, inference_url=upstream.url, **settings)


def newcomers_are_served(service: Service, right: bytes = RIGHT) -> None:
    for path in ("/health/live", "/health/ready", "/metrics"):
        answer = service.get(path)
        assert answer.status == 200
        assert answer.took < SOON, path
    answer = service.embed("ordinary")
    assert answer.body == right
    assert answer.took < SOON


@pytest.mark.parametrize("beginning", [b"", b"POST /embed HTTP/1.1\r\nHost: cro", b"G"])
def test_more_silent_connections_than_may_be_open_keep_no_newcomer_out(service: Service, beginning: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(2 * MOST_CONNECTIONS):
            with suppress(ConnectionError):  # it may have made room already
                stack.enter_context(service.connect()).sendall(beginning)
        for _ in range(3):
            newcomers_are_served(service)


def test_idle_connections_make_room_and_are_closed_in_order(service: Service) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(service.connect()) for _ in range(MOST_CONNECTIONS)]
        for client in idle:
            client.sendall(LIVE)
            assert read_answer(client).status == 200
        newcomers_are_served(service)
        # The longest idle went first, with the end of its stream and no reset.
        assert idle[0].recv(1) == b""


def test_a_request_under_way_makes_no_room(service: Service, upstream: ScriptedUpstream) -> None:
    upstream.calls.clear()
    upstream.gate.clear()
    with service.connect() as asking, ExitStack() as stack:
        asking.sendall(embed_request("ordinary"))
        upstream.wait_for_calls(1)
        for _ in range(2 * MOST_CONNECTIONS):
            stack.enter_context(service.connect())
        eventually(lambda: service.get("/health/live").took < SOON)
        upstream.gate.set()
        assert read_answer(asking).body == RIGHT


# Slow readers


def large(exchange: Exchange) -> object:
    """Answer a long vector for each input."""
    count = len(json.loads(exchange.request.body)["inputs"])
    return vectors(*[ROW] * count)(exchange)


@pytest.fixture(scope="module")
def generous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose answers are large."""
    with ScriptedUpstream(fault=only_calls(large)) as upstream, start(tmp_path_factory, upstream) as service:
        yield service


@contextmanager
def slow_readers(service: Service, count: int) -> Iterator[list[socket.socket]]:
    """Connect clients that have been sent the beginnings of large answers, and read none of the rest by themselves."""
    with ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            client.settimeout(10)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.connect(("127.0.0.1", service.port))
            client.sendall(embed_request(TEXTS))
            client.recv(1, socket.MSG_PEEK)
            clients.append(client)
        yield clients


def test_an_answer_that_is_read_slowly_holds_neither_a_place_nor_a_thread(generous: Service) -> None:
    with slow_readers(generous, 1) as (client,):
        eventually(lambda: "autobatch_calls_in_progress 0.0" in generous.get("/metrics").body.decode())
        newcomers_are_served(generous, b"[" + ROW + b"]")
        answer = read_answer(client)
        assert answer.status == 200
        assert answer.body == b"[" + b",".join([ROW] * len(TEXTS)) + b"]"
        # The connection goes on behind it.
        client.sendall(embed_request("ordinary"))
        assert read_answer(client).body == b"[" + ROW + b"]"


def test_what_slow_readers_hold_is_bounded_and_told(generous: Service) -> None:
    answer_size = len(TEXTS) * (len(ROW) + 1) + 1
    assert answer_size < MOST_UNSENT
    with slow_readers(generous, 4) as clients:
        newcomers_are_served(generous, b"[" + ROW + b"]")
        received = [_read_to_the_end(client, answer_size) for client in clients]
    assert answer_size in received
    assert any(size < answer_size for size in received)
    assert generous.log.count("max_unsent_bytes (12000000) were waiting") == 1
    assert "Traceback" not in generous.log


def _read_to_the_end(client: socket.socket, wanted: int) -> int:
    """Return the bytes of the body that come; the service may have closed the connection."""
    received = b""
    with suppress(ConnectionError):
        while len(received.partition(b"\r\n\r\n")[2]) < wanted and (data := client.recv(1_000_000)):
            received += data
    return len(received.partition(b"\r\n\r\n")[2])


# Operations


@pytest.mark.parametrize("path", ["/metrics", "/health", "/nowhere"])
def test_clients_that_ask_without_end_slow_neither_requests_nor_probes(service: Service, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: crowd\r\n\r\n".encode()
    over = threading.Event()

    def hammer() -> None:
        with service.connect() as client:
            while not over.is_set():
                client.sendall(request)
                read_answer(client)

    threads = [threading.Thread(target=hammer) for _ in range(24)]
    for thread in threads:
        thread.start()
    try:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            assert service.get("/health/live").took < SOON
            assert service.embed("ordinary").took < SOON
        if path != "/health":
            assert service.get("/health/ready").took < SOON
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_nothing_of_all_this_was_an_unexpected_error(service: Service) -> None:
    assert "Traceback" not in service.log
