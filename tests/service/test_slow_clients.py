"""Clients of the real service that send slowly, read nothing or vanish: they are told so, and others are served."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import GUNICORN, Service, embed_request, eventually, read_answer
from tests.support.upstream import ScriptedUpstream, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.answer import Answer

READ_TIMEOUT = 0.5
THREADS = 24
HEAD = b"POST /embed HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def shared(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings: dict[str, Any] = {
        "read_timeout_ms": int(READ_TIMEOUT * 1000),
        "max_concurrent_requests": THREADS - 8,
        "max_batch_size": 8,
        "threads": THREADS,
    }
    folder = tmp_path_factory.mktemp("slow")
    with Service(folder, command=GUNICORN, inference_url=upstream.url, **settings) as service:
        yield service


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """The shared service, which must have come through the test alive and unchanged."""
    before = shared.workers
    yield shared
    assert shared.workers == before
    assert shared.embed("still there").body == b"[" + vector_for("still there") + b"]"


def refused(answer: Answer, status: int) -> str:
    assert (answer.status, answer.headers["connection"]) == (status, "close"), answer
    assert answer.headers["content-type"] == "application/json"
    message: str = answer.json["error"]
    return message


@pytest.mark.parametrize(
    "beginning",
    [
        b"P",
        b"POST /embed HTTP/1.1\r\nHost: t",
        HEAD + b"Content-Length: 100\r\n\r\n",
        HEAD + b'Content-Length: 100\r\n\r\n{"input"',
        HEAD + b'Transfer-Encoding: chunked\r\n\r\nff\r\n{"input"',
    ],
)
def test_a_client_that_stops_half_way_is_told_408(service: Service, beginning: bytes) -> None:
    with service.connect() as connection:
        began = time.monotonic()
        connection.sendall(beginning)
        message = refused(read_answer(connection), 408)
        assert "in time" in message
        assert READ_TIMEOUT <= time.monotonic() - began < READ_TIMEOUT + 1.5
        assert connection.recv(100) == b""


@pytest.mark.parametrize("beginning", [b"POST /embed HTTP/1.1\r\nX: ", HEAD + b"Content-Length: 1000\r\n\r\n"])
def test_a_client_that_drips_is_told_408_all_the_same(service: Service, beginning: bytes) -> None:
    with service.connect() as connection:
        began = time.monotonic()
        connection.sendall(beginning)
        connection.settimeout(0.05)
        received = b""
        while not received:
            assert time.monotonic() - began < READ_TIMEOUT + 1.5
            connection.sendall(b"x")
            try:
                received = connection.recv(4096)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408 ")
        assert b"application/json" in received


def test_a_slow_second_request_on_a_connection_is_told_408_too(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(embed_request("a"))
        assert read_answer(connection).status == 200
        connection.sendall(b"POST /em")
        refused(read_answer(connection), 408)


def test_slow_clients_on_every_thread_delay_a_request_until_they_time_out(service: Service) -> None:
    with ExitStack() as stack:
        for _ in range(THREADS):
            stack.enter_context(service.connect()).sendall(b"POST /embed HTTP/1.1\r\n")
        began = time.monotonic()
        assert service.embed("ordinary").status == 200
        assert time.monotonic() - began < READ_TIMEOUT + 1.5


def test_silent_connections_hold_no_thread(service: Service) -> None:
    with ExitStack() as stack:
        for _ in range(10 * THREADS):
            stack.enter_context(service.connect())
        began = time.monotonic()
        assert service.embed("ordinary").status == 200
        assert time.monotonic() - began < READ_TIMEOUT


def test_connections_that_we_close_but_the_client_does_not_delay_no_request(service: Service) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            lingering = stack.enter_context(service.connect())
            lingering.sendall(b"nonsense\r\n\r\n")
            refused(read_answer(lingering), 400)
        began = time.monotonic()
        assert service.embed("ordinary").status == 200
        assert time.monotonic() - began < READ_TIMEOUT


def test_a_request_that_waits_for_longer_than_the_read_time_out_is_not_too_slow(
    service: Service, upstream: ScriptedUpstream
) -> None:
    """The limit is on what the client does, not on what the upstream does."""
    upstream.calls.clear()
    upstream.gate.clear()
    with service.connect() as connection:
        connection.sendall(embed_request("waiting"))
        upstream.wait_for_calls(1)
        # The main loop looks at its clients once a second.
        slower = service.connect()
        slower.sendall(b"P")
        refused(read_answer(slower), 408)
        slower.close()
        upstream.gate.set()
        assert read_answer(connection).status == 200
        connection.sendall(embed_request("again"))
        assert read_answer(connection).status == 200


def test_clients_that_do_not_read_their_answers_cost_no_worker(service: Service) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            careless = stack.enter_context(service.connect())
            careless.sendall(embed_request(["x"] * 500))
        assert service.embed("ordinary").status == 200


def test_connections_that_vanish_at_any_point_leave_nothing_behind(
    service: Service, upstream: ScriptedUpstream
) -> None:
    request = embed_request("fleeting")
    for length in range(0, len(request) + 1, 9):
        with service.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(request[:length])
    eventually(lambda: "autobatch_calls_in_progress 0.0" in service.get("/metrics").body.decode())


def test_nothing_of_all_this_was_an_unexpected_error(service: Service) -> None:
    assert "Traceback" not in service.log


def test_many_slow_senders_do_not_keep_health_checks_waiting(
    upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sizes: dict[str, Any] = {"max_concurrent_requests": 32, "threads": 40, "read_timeout_ms": 10_000}
    with Service(tmp_path_factory.mktemp("slow"), inference_url=upstream.url, **sizes) as service, ExitStack() as stack:
        service.wait_until_serving()
        for _ in range(80):
            stack.enter_context(service.connect()).sendall(b"POST /embed HTTP/1.1\r\nHost: slow\r\n")
        assert service.get("/health/live").took < 2.0
        assert service.embed("a").status == 200
