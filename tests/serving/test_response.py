"""Responses on the wire: one form of head for all, and slow readers that are waited for within bounds."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest

from api.own_headers import OwnHeaders
from serving.connection import Request
from serving.response import WholeResponse, head, refusal, send_refusal, send_to_slow_reader
from tests.serving.conftest import SETTINGS, answers_in, received_by
from tests.support.concurrency import Nursery

if TYPE_CHECKING:
    from collections.abc import Iterator

DATE = r"Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's and a client's socket."""
    near, far = socket.socketpair()
    far.settimeout(5)
    with near, far:
        yield near, far


def request_of(*, method: str = "POST", version: tuple[int, int] = (1, 1), close: bool = False) -> Any:
    request = Request.__new__(Request)
    request.__dict__.update(method=method, version=version, headers=[], must_close=close)
    return request


def on_the_wire(pair: tuple[socket.socket, socket.socket], response: WholeResponse, *body: bytes) -> str:
    for piece in body:
        response.write(piece)
    response.close()
    pair[0].shutdown(socket.SHUT_WR)
    return received_by(pair[1]).decode()


def test_a_head_has_status_date_connection_and_the_headers_in_order() -> None:
    text = head("200 OK", [("B", "1"), ("A", "2")], keep_alive=True).decode()
    assert re.fullmatch(rf"HTTP/1\.1 200 OK\r\n{DATE}\r\nConnection: keep-alive\r\nB: 1\r\nA: 2\r\n\r\n", text)


def test_a_head_closes_unless_told_otherwise_and_speaks_the_clients_version() -> None:
    text = head("404 Not Found", [], version=(1, 0)).decode()
    assert text.startswith("HTTP/1.0 404 Not Found\r\n")
    assert "\r\nConnection: close\r\n" in text


def test_a_response_with_the_services_own_headers_is_sent_in_one_piece(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    response = WholeResponse(request_of(), pair[0], SETTINGS)
    response.start_response("200 OK", OwnHeaders([("X-A", "1")], 2))
    text = on_the_wire(pair, response, b"{}")
    assert re.fullmatch(
        rf"HTTP/1\.1 200 OK\r\n{DATE}\r\nConnection: keep-alive\r\nX-A: 1\r\nContent-Length: 2\r\n\r\n\{{\}}", text
    )


def test_a_response_that_ends_its_connection_says_so(pair: tuple[socket.socket, socket.socket]) -> None:
    response = WholeResponse(request_of(), pair[0], SETTINGS)
    response.force_close()
    response.start_response("200 OK", [("Content-Length", "2")])
    assert "\r\nConnection: close\r\n" in on_the_wire(pair, response, b"{}")


def test_a_response_without_a_length_is_sent_in_chunks_behind_the_same_head(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    response = WholeResponse(request_of(), pair[0], SETTINGS)
    response.start_response("200 OK", [("X-A", "1")])
    text = on_the_wire(pair, response, b"ab", b"c")
    start, _, rest = text.partition("\r\n\r\n")
    assert re.fullmatch(
        rf"HTTP/1\.1 200 OK\r\n{DATE}\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nX-A: 1", start
    )
    assert rest == "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


def test_a_response_to_head_has_the_length_and_no_body(pair: tuple[socket.socket, socket.socket]) -> None:
    response = WholeResponse(request_of(method="HEAD"), pair[0], SETTINGS)
    response.start_response("200 OK", [("Content-Length", "2")])
    assert on_the_wire(pair, response, b"").endswith("\r\nContent-Length: 2\r\n\r\n")


def test_a_body_that_comes_in_pieces_is_sent_in_pieces(pair: tuple[socket.socket, socket.socket]) -> None:
    response = WholeResponse(request_of(), pair[0], SETTINGS)
    response.start_response("200 OK", [("Content-Length", "3")])
    text = on_the_wire(pair, response, b"ab", b"c")
    assert text.count("HTTP/1.1 200 OK") == 1
    assert text.endswith("\r\n\r\nabc")


def test_a_refusal_is_a_whole_response_in_json_that_closes() -> None:
    (answer,) = answers_in(refusal(431, "too many", headers=[("Retry-After", "2")], identity="mine"))
    assert answer.status == 431
    assert answer.json == {"error": "too many", "error_type": "HeadersTooLarge", "request_id": "mine"}
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "application/json"
    assert "date" in answer.headers


def test_a_refusal_without_an_identity_gets_one_and_may_name_its_type() -> None:
    errors = [json.loads(refusal(429, "x", error_type="Overloaded").partition(b"\r\n\r\n")[2]) for _ in range(2)]
    assert {error["error_type"] for error in errors} == {"Overloaded"}
    assert len({error["request_id"] for error in errors}) == 2


def test_a_refusal_to_a_client_that_has_left_is_dropped(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].close()
    for _ in range(2):
        send_refusal(pair[0], refusal(400, "x"))


def test_a_client_that_reads_slowly_but_steadily_gets_all_of_its_answer() -> None:
    near, far = connected_over_tcp()
    answer = bytes(6_000_000)
    received = bytearray()
    with near, far, Nursery() as nursery:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 200_000))
        pace = threading.Event()

        def read_slowly() -> None:
            while len(received) < len(answer):
                received.extend(far.recv(65_536))
                pace.wait(0.02)

        nursery.start(read_slowly)
        send_to_slow_reader(near, memoryview(answer))
    assert bytes(received) == answer


def connected_over_tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname(), 5)
        near, _ = listener.accept()
        near.setblocking(True)
    return near, far


def test_a_client_that_takes_a_little_now_and_then_is_given_up() -> None:
    """It always takes something in time, but would hold a thread for hours."""

    class Dripping:
        """Takes ten bytes a tenth of a second, of a sender whose time-out is five seconds."""

        taken = 0

        def getsockopt(self, *_: int) -> bytes:
            return struct.pack("ll", 5, 0)

        def send(self, data: memoryview) -> int:
            self.taken += 10
            return 10

    client = Dripping()
    with pytest.raises(BlockingIOError, match="too slowly"):
        send_to_slow_reader(
            client,  # type: ignore[arg-type]
            memoryview(bytes(1_000_000)),
            clock=lambda: client.taken / 10,
            unread=lambda _: 1_000_000 - client.taken,
        )
    assert client.taken == 550  # five seconds, and five more for each 100,000 bytes


def test_a_client_that_takes_nothing_is_given_up_at_the_sockets_time_out() -> None:
    class Stalled:
        attempts = 0

        def getsockopt(self, *_: int) -> bytes:
            return struct.pack("ll", 5, 0)

        def send(self, data: memoryview) -> int:
            self.attempts += 1
            raise BlockingIOError

    client = Stalled()
    with pytest.raises(BlockingIOError):
        send_to_slow_reader(client, memoryview(b"x"), clock=lambda: 0.0, unread=lambda _: 100)  # type: ignore[arg-type]
    assert client.attempts == 1
