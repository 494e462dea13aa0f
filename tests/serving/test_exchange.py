"""One request on a connection: what the application is called with, and what is left on the connection behind it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from gunicorn.http.errors import NoMoreData

from api.body import BrokenBodyError, read_body
from api.environ import IS_GONE
from api.error_forms import RequestError
from serving.exchange import Exchange, is_drained, read_request
from serving.heads import ReceivedBody

if TYPE_CHECKING:
    from serving.connection import Connection
    from tests.serving.conftest import Lines

HEAD = b"POST /embed HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: 13\r\n\r\n" + b'{"input":"a"}'


def exchange_of(lines: Lines, conn: Connection, data: bytes) -> Exchange:
    conn.parser.unreader.unread(data)
    return read_request(conn, lines.heads, time.monotonic() + 5)


def test_the_environment_tells_whether_the_client_is_gone_for_parsed_and_remembered_heads(lines: Lines) -> None:
    conn = lines.connect()
    probes = []
    for _ in range(3):
        exchange = exchange_of(lines, conn, WHOLE)
        exchange.environ["wsgi.input"].read()
        probes.append(exchange.environ[IS_GONE])
    assert isinstance(exchange.request.body, ReceivedBody)
    assert [is_gone() for is_gone in probes] == [False] * 3
    lines.far_ends[0].close()
    assert [is_gone() for is_gone in probes] == [True] * 3


def test_a_remembered_head_tells_of_its_own_client_and_not_of_the_one_that_taught_it(lines: Lines) -> None:
    for _ in range(2):
        exchange_of(lines, lines.connect(), WHOLE)
    for far in lines.far_ends:
        far.close()
    assert not exchange_of(lines, lines.connect(), WHOLE).environ[IS_GONE]()


def test_without_a_probe_the_environment_does_not_name_one(lines: Lines) -> None:
    conn = lines.connect()
    conn.is_gone = None
    for _ in range(3):
        environ = exchange_of(lines, conn, WHOLE).environ
        assert IS_GONE not in environ
        environ["wsgi.input"].read()


@pytest.mark.parametrize(
    "body",
    [b"zz\r\n", b"2\r\nabXX", b"2;=\r\nab\r\n", b"2\r\nab\r\n0\r\nBad Trailer\r\n\r\n", b"2\r\na", b"2\r\nab\r\n", b""],
    ids=["size", "terminator", "extension", "trailer", "cut in a chunk", "cut behind a chunk", "nothing"],
)
@pytest.mark.parametrize("read", ["read", "readline", "readlines"])
def test_a_broken_body_raises_the_error_that_the_application_knows(lines: Lines, body: bytes, read: str) -> None:
    conn = lines.connect(ended=True)
    exchange = exchange_of(lines, conn, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    with pytest.raises(BrokenBodyError):
        getattr(exchange.environ["wsgi.input"], read)()


@pytest.mark.parametrize("body", [b"zz\r\n", b"2\r\nab"])
def test_a_broken_body_is_a_refusal_of_400_to_the_application(lines: Lines, body: bytes) -> None:
    exchange = exchange_of(lines, lines.connect(ended=True), HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    with pytest.raises(RequestError, match="ended early or its chunks are malformed") as caught:
        read_body(exchange.environ, 1000)
    assert caught.value.status == 400
    assert isinstance(caught.value.__cause__, BrokenBodyError)


def test_a_chunked_body_that_is_not_read_is_drained(lines: Lines) -> None:
    conn = lines.connect()
    chunks = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    exchange = exchange_of(lines, conn, chunks + WHOLE)
    assert is_drained(exchange.request)
    assert exchange_of(lines, conn, b"").environ["wsgi.input"].read() == b'{"input":"a"}'


@pytest.mark.parametrize("body", [b"zz\r\n", b"2\r\nab"], ids=["malformed", "cut"])
@pytest.mark.parametrize("is_read", [True, False])
def test_a_broken_body_is_never_drained(lines: Lines, body: bytes, is_read: bool) -> None:
    conn = lines.connect(ended=True)
    exchange = exchange_of(lines, conn, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    if is_read:
        with pytest.raises(BrokenBodyError):
            exchange.environ["wsgi.input"].read()
    assert not is_drained(exchange.request)


def test_a_cut_body_of_known_length_is_short(lines: Lines) -> None:
    conn = lines.connect(ended=True)
    exchange = exchange_of(lines, conn, WHOLE[:-1])
    assert exchange.environ["wsgi.input"].read() == b'{"input":"a"'


def test_a_client_that_leaves_within_a_head_raises_the_end_of_data(lines: Lines) -> None:
    with pytest.raises(NoMoreData):
        exchange_of(lines, lines.connect(ended=True), HEAD)


def test_a_client_that_leaves_before_a_head_stops_the_iteration(lines: Lines) -> None:
    with pytest.raises(StopIteration):
        exchange_of(lines, lines.connect(ended=True), b"")
