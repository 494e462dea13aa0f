"""A response says whether its connection ends, and a request that is refused ends it."""

from __future__ import annotations

import socket
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from api.cors_headers import EXTENSION, CorsHeaders
from serving.connection import Connection
from serving.exchange import MOST_DRAINED
from tests.serving.attendant_bench import AttendantBench
from tests.serving.conftest import SETTINGS, Lines, answers_in
from tests.support.service import embed_request

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bench(lines: Lines) -> AttendantBench:
    return AttendantBench(lines)


HEAD = b"POST /embed HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    ("request_", "stays"),
    [
        (HEAD + b"Content-Length: 4\r\n\r\nabcd", True),
        (HEAD + b"Content-Length: 4\r\n\r\nabc", False),
        (HEAD + b"Content-Length: 4\r\n\r\n", False),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n", False),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd", True),
        (HEAD + b"Content-Length: 30000000\r\n\r\nabcd", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n", True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\nzz\r\n", False),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nContent-Length: 5\r\n\r\n", False),
        (HEAD + b"\r\n", True),
    ],
)
@pytest.mark.parametrize("method", [b"POST", b"HEAD"])
def test_a_response_says_that_the_connection_ends_unless_the_rest_of_its_request_is_here(
    bench: AttendantBench, request_: bytes, stays: bool, method: bytes
) -> None:
    bench.app.reads = False
    bench.app.status = "404 NOT FOUND"
    if method == b"HEAD":
        bench.app.pieces = list
    conn, client = bench.client(sends=request_.replace(b"POST", method, 1))
    served = threading.Thread(target=bench.attendant.attend, args=[conn])
    served.start()
    answer = client.recv(65_536)
    client.close()
    served.join(5)
    assert (b"\r\nConnection: keep-alive\r\n" in answer, b"\r\nConnection: close\r\n" in answer) == (stays, not stays)


def test_a_long_body_that_is_not_wanted_is_not_read_to_its_end(bench: AttendantBench) -> None:
    bench.app.reads = False
    body = bytes(2 * MOST_DRAINED)
    bench.app.during = lambda: conn.parser.unreader.unread(body)
    conn, client = bench.client(sends=HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
    assert not bench.attendant.attend(conn)
    assert answers_in(client.recv(65_536))[0].headers["connection"] == "close"


@pytest.mark.parametrize("bad", [b"GET / HTTP/1.1\r\nHost: h\r\nbad header: x\r\n\r\n", b"nonsense\r\n\r\n"])
def test_requests_behind_a_refused_one_are_never_served(bench: AttendantBench, bad: bytes) -> None:
    conn, client = bench.client(sends=embed_request("a") + bad + embed_request("b"))
    assert not bench.attendant.attend(conn)
    assert bench.app.served == [b'{"inputs": "a"}']
    assert [each.headers["connection"] for each in answers_in(client.recv(65_536))] == ["keep-alive", "close"]


@pytest.mark.parametrize(
    ("sent", "carried"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nOrigin: http://b\r\nbad header: x\r\n\r\n", "http://a"),
        (HEAD + b"Origin: http://b\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", None),
        (HEAD + b"Origin: http://a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "http://a"),
    ],
    ids=["a head that is not read", "another origin", "an origin that is allowed"],
)
def test_a_page_of_an_origin_that_is_allowed_may_read_a_refusal(
    bench: AttendantBench, sent: bytes, carried: str | None
) -> None:
    bench.app.extensions = {EXTENSION: CorsHeaders(["http://a"])}
    conn, client = bench.client(sends=sent)
    assert not bench.attendant.attend(conn)
    (answer,) = answers_in(client.recv(65_536))
    assert answer.status == 400
    assert answer.headers.get("access-control-allow-origin") == carried


@pytest.mark.parametrize(
    ("version", "length", "is_reset"), [("1.0", None, True), ("1.0", 9, False), ("1.1", None, False)]
)
def test_a_body_that_breaks_off_is_taken_for_a_whole_one_by_no_client(
    bench: AttendantBench, version: str, length: int | None, is_reset: bool
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionAbortedError("the rest never comes")

    bench.app.pieces, bench.app.length = pieces, length
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname(), 5) as far:
        near, _ = listener.accept()
        conn = Connection(SETTINGS, near, far.getsockname(), near.getsockname(), linger=half_close, readers=set())
        far.sendall(f"POST /embed HTTP/{version}\r\nHost: h\r\n\r\n".encode())
        assert not bench.attendant.attend(conn)
        conn.close(graceful=True)
        received = b""
        with pytest.raises(ConnectionResetError) if is_reset else nullcontext():
            while piece := far.recv(65_536):
                received += piece
        near.close()
    assert is_reset or b"half" in received
    assert not received.endswith(b"\r\n0\r\n\r\n")


def half_close(conn: Connection) -> None:
    conn.sock.shutdown(socket.SHUT_WR)
