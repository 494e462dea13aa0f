"""Responses on the wire: one form of head for all, and slow readers that are waited for within bounds."""

from __future__ import annotations

import json
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from api.own_headers import OwnHeaders
from serving.connection import Request
from serving.response import LARGE, WholeResponse, head, refusal, send_refusal, send_soon
from tests.serving.conftest import SETTINGS, answers_in, received_by
from tests.support.concurrency import Nursery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serving.conftest import Clock

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


@pytest.mark.parametrize("stays", [True, False])
def test_the_head_says_what_is_decided_just_before_it_is_sent(
    pair: tuple[socket.socket, socket.socket], stays: bool
) -> None:
    response = WholeResponse(request_of(), pair[0], SETTINGS)
    response.start_response("200 OK", [("Content-Length", "2")])
    response.may_stay = lambda _: stays
    text = on_the_wire(pair, response, b"{}")
    assert f"\r\nConnection: {'keep-alive' if stays else 'close'}\r\n" in text
    assert response.should_close() is not stays


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


def test_a_large_body_is_sent_behind_its_head(pair: tuple[socket.socket, socket.socket]) -> None:
    body = bytes(range(256)) * 400
    response = WholeResponse(request_of(), pair[0], SETTINGS)
    response.start_response("200 OK", [("Content-Length", str(len(body)))])
    response.write(body)
    received = b""
    while len(received) < len(body):
        received += pair[1].recv(1_000_000)
    assert response.unsent is None
    assert received.partition(b"\r\n\r\n")[2] == body


# Clients that do not take it at once


@pytest.mark.parametrize("size", [10, LARGE, 8_000_000])
def test_what_the_client_does_not_take_soon_is_left_for_the_main_thread(
    pair: tuple[socket.socket, socket.socket], size: int
) -> None:
    pair[0].setblocking(False)
    filled = fill(pair[0])
    response = WholeResponse(request_of(), pair[0], SETTINGS)
    response.start_response("200 OK", [("Content-Length", str(size))])
    response.write(bytes(size))
    assert response.unsent is not None
    received = bytearray()
    rest = response.unsent
    while rest or len(received) < filled:
        received += pair[1].recv(1_000_000)
        with suppress(BlockingIOError):
            rest = rest[pair[0].send(rest) :]
    pair[0].close()
    received += received_by(pair[1])
    head, _, body = bytes(received[filled:]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == bytes(size)


def fill(sock: socket.socket) -> int:
    filled = 0
    with suppress(BlockingIOError):
        while True:
            filled += sock.send(bytes(65_536))
    return filled


def test_a_client_that_takes_it_within_a_moment_is_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    answer = bytes(4_000_000)
    received: list[bytes] = []
    with Nursery() as nursery:
        nursery.start(lambda: received.append(received_by(pair[1])))
        assert send_soon(pair[0], memoryview(answer), moment=30.0) is None
        pair[0].close()
    assert received == [answer]


def test_a_client_that_takes_nothing_is_waited_for_no_longer_than_the_moment(
    pair: tuple[socket.socket, socket.socket], clock: Clock
) -> None:
    answer = memoryview(bytes(4_000_000))
    rest = send_soon(pair[0], answer, moment=0.01)
    assert rest is not None
    assert 0 < len(rest) < len(answer)
    assert send_soon(pair[0], rest, moment=0.0, clock=clock) == rest


def test_a_client_that_has_left_breaks_the_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[1].close()
    with pytest.raises(BrokenPipeError):
        send_soon(pair[0], memoryview(b"x"), moment=1.0)
