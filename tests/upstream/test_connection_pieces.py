"""A connection brings the body of a 200 in pieces as they come, and what ends it early is told."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from batching.errors import ClientGone, UpstreamBroke, UpstreamProtocolError
from tests.support.upstream.framing import chunked, framed, head
from tests.upstream.test_connection import REQUEST, Pair
from upstream.connection import CHUNK, Connection, State
from upstream.tls import PEER_CLOSED

if TYPE_CHECKING:
    from collections.abc import Iterator

END = 1.0


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.connection.close()
    pair.peer.close()


def rest_of(connection: Connection) -> list[bytes]:
    return list(iter(lambda: connection.read(END), b""))


def test_a_body_comes_in_the_pieces_in_which_it_was_sent(pair: Pair) -> None:
    pair.answer(head(200, "Content-Length: 9", "X-Time: 3") + b"one")
    reply = pair.connection.begin(REQUEST, END, 100)
    assert (reply.status, reply.headers["x-time"], reply.body) == (200, "3", b"")
    assert pair.connection.read(END) == b"one"
    for piece in (b"two", b"xyz"):
        pair.answer(piece)
        assert pair.connection.read(END) == piece
    assert (pair.connection.read(END), pair.state()) == (b"", State.IDLE)


@pytest.mark.parametrize(
    ("answer", "pieces"),
    [
        (framed(b"whole"), [b"whole"]),
        (framed(b""), []),
        (head(200, "Transfer-Encoding: chunked") + chunked(b"ab", b"cd", b""), [b"abcd"]),
        (head(103) + framed(b"whole"), [b"whole"]),
    ],
)
def test_a_connection_is_idle_as_soon_as_the_last_piece_was_read(
    pair: Pair, answer: bytes, pieces: list[bytes]
) -> None:
    for _ in range(2):
        pair.answer(answer)
        assert pair.connection.begin(REQUEST, END, 100).status == 200
        assert rest_of(pair.connection) == pieces
        assert pair.connection.is_available


def test_a_body_that_ends_its_connection_closes_it_after_the_last_piece(pair: Pair) -> None:
    pair.answer(framed(b"whole", 200, "Connection: close"))
    pair.connection.begin(REQUEST, END, 100)
    assert (rest_of(pair.connection), pair.state()) == ([b"whole"], State.CLOSED)


@pytest.mark.parametrize(("status", "body"), [(422, b'{"error":"no"}'), (503, b""), (204, b"")])
def test_a_refusal_comes_whole(pair: Pair, status: int, body: bytes) -> None:
    pair.answer(framed(body, status) if status != 204 else head(204))
    reply = pair.connection.begin(REQUEST, END, 100)
    assert (reply.status, reply.body, pair.state()) == (status, body, State.IDLE)
    assert pair.connection.read(END) == b""


def test_a_long_body_is_never_held_whole(pair: Pair) -> None:
    pair.answer(head(200, "Content-Length: 3000000"))
    pair.peer.setblocking(False)
    sent = 0
    while sent < 65_536:
        sent += pair.peer.send(bytes(65_536 - sent))
    pair.connection.begin(REQUEST, END, 1 << 40)
    assert 0 < len(pair.connection.read(END)) <= CHUNK


def test_a_body_longer_than_allowed_ends_with_an_error(pair: Pair) -> None:
    pair.answer(head(200, "Transfer-Encoding: chunked") + chunked(b"123"))
    pair.connection.begin(REQUEST, END, 5)
    assert pair.connection.read(END) == b"123"
    pair.answer(chunked(b"456"))
    with pytest.raises(UpstreamProtocolError, match="longer than 5 bytes"):
        pair.connection.read(END)
    assert pair.state() is State.CLOSED


@pytest.mark.parametrize("broken", [b"zz\r\n", b"3\r\nabcd\r\n"])
def test_a_body_whose_framing_breaks_ends_with_an_error(pair: Pair, broken: bytes) -> None:
    pair.answer(head(200, "Transfer-Encoding: chunked") + chunked(b"123"))
    pair.connection.begin(REQUEST, END, 100)
    assert pair.connection.read(END) == b"123"
    pair.answer(broken)
    with pytest.raises(UpstreamProtocolError):
        rest_of(pair.connection)
    assert pair.state() is State.CLOSED


@pytest.mark.parametrize("begun", [head(200, "Content-Length: 9") + b"one", head(200, "Content-Length: 9")])
def test_a_peer_that_closes_within_its_body_broke(pair: Pair, begun: bytes) -> None:
    pair.answer(begun)
    pair.peer.shutdown(socket.SHUT_WR)
    with pytest.raises(UpstreamBroke):  # noqa: PT012 - where it shows depends on what has come
        pair.connection.begin(REQUEST, END, 100)
        rest_of(pair.connection)
    assert pair.state() is State.CLOSED


def test_a_peer_that_closes_before_its_answer_may_never_have_seen_the_request(pair: Pair) -> None:
    pair.peer.shutdown(socket.SHUT_WR)
    with pytest.raises(PEER_CLOSED):
        pair.connection.begin(REQUEST, END, 100)
    assert pair.state() is State.CLOSED


@pytest.mark.parametrize("sent", [b"", head(200, "Content-Length: 9"), head(200, "Content-Length: 9") + b"one"])
def test_a_body_that_does_not_come_in_time_is_given_up(pair: Pair, sent: bytes) -> None:
    pair.answer(sent)
    with pytest.raises(TimeoutError):  # noqa: PT012
        pair.connection.begin(REQUEST, 0.05, 100)
        while True:
            pair.connection.read(0.05)
    assert pair.state() is State.CLOSED


def test_a_body_that_drips_is_given_up_at_its_moment_too(pair: Pair) -> None:
    pair.answer(head(200, "Content-Length: 99") + b"a" * 9)
    pair.connection.begin(REQUEST, END, 100)
    pair.connection.read(END)
    pair.answer(b"b")
    pair.time = END
    with pytest.raises(TimeoutError):
        pair.connection.read(END)


@pytest.mark.parametrize("sent", [b"", head(200, "Content-Length: 9") + b"one"])
def test_what_a_look_raises_while_nothing_comes_ends_the_exchange(
    pair: Pair, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> None:
        raise ClientGone("gone")

    monkeypatch.setattr("upstream.connection.SHORT_LOOK_PERIOD", 0.001)
    pair.answer(sent)
    with pytest.raises(ClientGone):  # noqa: PT012
        pair.connection.begin(REQUEST, 60.0, 100, look)
        rest_of(pair.connection)
    assert pair.state() is State.CLOSED


def test_no_look_is_made_for_the_exchange_that_follows(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr("upstream.connection.SHORT_LOOK_PERIOD", 0.001)
    pair.answer(framed(b"{}"))
    pair.connection.begin(REQUEST, END, 100, lambda: looks.append(1))
    rest_of(pair.connection)
    with pytest.raises(TimeoutError):
        pair.connection.exchange(REQUEST, 0.05, 100)
    assert not looks
