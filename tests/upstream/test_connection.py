"""A connection makes one exchange after the other over its stream, says what it is doing, and ends with its stream."""

from __future__ import annotations

import errno
import gc
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamBroke, UpstreamProtocolError
from tests.support.upstream.framing import framed, head
from upstream.addresses import Address, Target
from upstream.connection import Connection, State
from upstream.http_reply import ReplyReader
from upstream.tls import PEER_CLOSED

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = b"GET /info HTTP/1.1\r\nHost: upstream\r\n\r\n"
TARGET = Target(Address(socket.AF_INET, socket.SOCK_STREAM, 6, ("10.0.0.1", 80)))


def still() -> float:
    return 0.0


class Pair:
    """A connection and the peer's end of its stream. Its clock moves by ``step`` seconds whenever it is read."""

    def __init__(self) -> None:
        stream, self.peer = socket.socketpair()
        stream.setblocking(False)
        self.time = self.step = 0.0
        #: What the connection said of itself each time it looked at the clock.
        self.said: list[str] = []
        self.connection = Connection(stream, TARGET, self.now)

    def now(self) -> float:
        self.said.append(repr(self.connection))
        self.time += self.step
        return self.time

    def answer(self, *answers: bytes) -> None:
        for answer in answers:
            self.peer.sendall(answer)

    def state(self) -> State:
        return self.connection.state


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.connection.close()
    pair.peer.close()


def test_one_exchange_after_the_other_is_made(pair: Pair) -> None:
    for body in (b"first", b"second"):
        pair.answer(framed(body))
        assert pair.connection.exchange(REQUEST, 1.0, 100).body == body
        assert pair.peer.recv(1000) == REQUEST
        assert pair.connection.is_available


def test_a_connection_says_where_it_leads_and_what_it_does(pair: Pair) -> None:
    assert repr(pair.connection) == "<Connection to 10.0.0.1:80, new>"
    pair.answer(framed(b"{}"))
    pair.connection.exchange(REQUEST, 1.0, 100)
    assert set(pair.said) == {"<Connection to 10.0.0.1:80, active>"}
    assert repr(pair.connection) == "<Connection to 10.0.0.1:80, idle>"
    pair.connection.close()
    assert repr(pair.connection) == "<Connection to 10.0.0.1:80, closed>"


def test_closing_twice_is_closing_once(pair: Pair) -> None:
    pair.connection.close()
    pair.connection.close()
    assert pair.peer.recv(1) == b""


def test_what_has_not_served_or_is_closed_is_not_available(pair: Pair) -> None:
    assert not pair.connection.is_available
    pair.connection.close()
    assert not pair.connection.is_available


@pytest.mark.parametrize("event", ["bytes", "end"])
def test_an_idle_connection_with_something_to_read_is_not_available(pair: Pair, event: str) -> None:
    pair.answer(framed(b"{}"))
    pair.connection.exchange(REQUEST, 1.0, 100)
    if event == "bytes":
        pair.answer(framed(b"of no request"))
    else:
        pair.peer.close()
    assert not pair.connection.is_available
    assert pair.state() is State.IDLE


@pytest.mark.parametrize("answer", [framed(b"{}", 200, "Connection: close"), framed(b"{}") + b"more"])
def test_a_connection_that_cannot_go_on_is_closed_after_its_reply(pair: Pair, answer: bytes) -> None:
    pair.answer(answer)
    assert pair.connection.exchange(REQUEST, 1.0, 100).body == b"{}"
    assert pair.state() is State.CLOSED


def test_a_peer_that_closes_without_a_byte_is_told_from_one_that_breaks_off(pair: Pair) -> None:
    pair.peer.shutdown(socket.SHUT_WR)
    with pytest.raises(PEER_CLOSED):
        pair.connection.exchange(REQUEST, 1.0, 100)
    assert pair.state() is State.CLOSED


@pytest.mark.parametrize("come", [head(100), b"HTTP/1.1 ", framed(b"long")[:-1]])
def test_a_reply_that_breaks_off_is_broken(pair: Pair, come: bytes) -> None:
    pair.answer(come)
    pair.peer.shutdown(socket.SHUT_WR)
    with pytest.raises(UpstreamBroke):
        pair.connection.exchange(REQUEST, 1.0, 100)
    assert pair.state() is State.CLOSED


def test_a_reply_that_breaks_off_counts_if_its_status_is_enough(pair: Pair) -> None:
    pair.answer(framed(b"busy", 503, "Retry-After: 2")[:-1])
    pair.peer.shutdown(socket.SHUT_WR)
    reply = pair.connection.exchange(REQUEST, 1.0, 100)
    assert (reply.status, reply.headers["retry-after"], reply.body) == (503, "2", b"")
    assert pair.state() is State.CLOSED


def test_an_answer_that_a_closing_peer_left_counts(pair: Pair) -> None:
    pair.answer(framed(b"too large", 413))
    pair.peer.close()
    assert pair.connection.exchange(REQUEST, 1.0, 100).body == b"too large"
    assert pair.state() is State.CLOSED


def test_an_answer_that_comes_before_all_is_sent_counts(pair: Pair) -> None:
    pair.answer(framed(b"too large", 413))
    assert pair.connection.exchange(b"x" * 10_000_000, 1.0, 100).status == 413
    assert pair.state() is State.CLOSED


def test_nonsense_closes_the_connection(pair: Pair) -> None:
    pair.answer(b"SSH-2.0-OpenSSH_9.2\r\n")
    with pytest.raises(UpstreamProtocolError):
        pair.connection.exchange(REQUEST, 1.0, 100)
    assert pair.state() is State.CLOSED


@pytest.mark.parametrize("come", [b"", framed(b"long")[:-1]], ids=["nothing came", "a part came"])
@pytest.mark.parametrize("step", [0.0, 0.004], ids=["while it waited", "while it worked"])
def test_an_exchange_ends_at_the_deadline_of_its_clock(pair: Pair, come: bytes, step: float) -> None:
    pair.step = step
    pair.answer(come)
    with pytest.raises(TimeoutError):
        pair.connection.exchange(REQUEST, 0.01, 100)
    assert pair.state() is State.CLOSED


def test_a_request_that_is_not_read_ends_at_the_deadline_too(pair: Pair) -> None:
    with pytest.raises(TimeoutError):
        pair.connection.exchange(b"x" * 10_000_000, 0.01, 100)
    assert pair.state() is State.CLOSED


def test_bytes_without_end_do_not_keep_an_exchange_beyond_its_deadline(pair: Pair) -> None:
    pair.step = 1.0
    pair.answer(*[head(103)] * 50)
    with pytest.raises(TimeoutError):
        pair.connection.exchange(REQUEST, 2.0, 100)


@pytest.mark.parametrize("answer", [framed(b"{}"), framed(b"long")[:-1], b"nonsense"])
def test_a_closed_connection_leaves_nothing_for_the_collector(answer: bytes) -> None:
    gc.collect()
    gc.disable()
    try:
        stream, peer = socket.socketpair()
        stream.setblocking(False)
        connection = Connection(stream, TARGET, still)
        peer.sendall(answer)
        peer.close()
        with suppress(UpstreamProtocolError, UpstreamBroke):
            connection.exchange(REQUEST, 1.0, 100)
        connection.close()
        del connection
        left = [each for each in gc.get_objects() if isinstance(each, ReplyReader)]
    finally:
        gc.enable()
    assert left == []


@pytest.mark.parametrize("request_size", [10, 10_000_000], ids=["while it waits", "while it sends"])
def test_a_peer_that_has_gone_silent_is_noticed_before_the_deadline(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, request_size: int
) -> None:
    looks = iter([False, True])
    monkeypatch.setattr("upstream.connection.LOOK_PERIOD", 0.01)
    monkeypatch.setattr("upstream.connection.has_gone_silent", lambda _: next(looks))
    with pytest.raises(TimeoutError) as raised:
        pair.connection.exchange(b"x" * request_size, 100.0, 100)
    assert raised.value.errno == errno.ETIMEDOUT
    assert pair.state() is State.CLOSED


def test_a_peer_that_only_takes_its_time_is_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upstream.connection.LOOK_PERIOD", 0.01)
    with pytest.raises(TimeoutError) as raised:
        pair.connection.exchange(REQUEST, 0.05, 100)
    assert raised.value.errno is None


# What a server announces


@pytest.mark.parametrize(
    ("announced", "seconds"), [("timeout=5, max=100", 4.0), ("timeout=1", 0.5), ("max=3", 60.0), ("nonsense", 60.0)]
)
def test_a_connection_may_be_idle_for_somewhat_less_than_its_server_announces(
    pair: Pair, announced: str, seconds: float
) -> None:
    pair.connection.longest_idle = 60.0
    pair.answer(framed(b"{}", 200, f"Keep-Alive: {announced}"))
    pair.connection.exchange(REQUEST, 1.0, 100)
    assert (pair.state(), pair.connection.longest_idle) == (State.IDLE, seconds)


def test_an_announcement_never_lengthens_the_time(pair: Pair) -> None:
    pair.connection.longest_idle = 2.0
    for announced in ("timeout=75", "timeout=9"):
        pair.answer(framed(b"{}", 200, f"Keep-Alive: {announced}"))
        pair.connection.exchange(REQUEST, 1.0, 100)
        assert pair.connection.longest_idle == 2.0


@pytest.mark.parametrize("counts", [[2, 1, 0], [2, 2, 2]], ids=["a server that counts down", "one that does not"])
def test_a_connection_makes_no_more_exchanges_than_its_server_announces(pair: Pair, counts: list[int]) -> None:
    states = []
    for count in counts:
        pair.answer(framed(b"{}", 200, f"Keep-Alive: timeout=5, max={count}"))
        pair.connection.exchange(REQUEST, 1.0, 100)
        states.append(pair.state())
    assert states == [State.IDLE, State.IDLE, State.CLOSED]


def test_a_server_that_lets_no_connection_be_idle_gets_a_new_one_each_time(pair: Pair) -> None:
    pair.answer(framed(b"{}", 200, "Keep-Alive: timeout=0"))
    assert pair.connection.exchange(REQUEST, 1.0, 100).body == b"{}"
    assert pair.state() is State.CLOSED


def test_close_outweighs_what_is_announced_beside_it(pair: Pair) -> None:
    pair.answer(framed(b"{}", 200, "Keep-Alive: timeout=5, max=100", "Connection: close"))
    pair.connection.exchange(REQUEST, 1.0, 100)
    assert pair.state() is State.CLOSED


def test_a_reset_is_a_peer_that_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
    stream.setblocking(False)
    connection = Connection(stream, TARGET, still)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    with pytest.raises(PEER_CLOSED):
        connection.exchange(REQUEST, 1.0, 100)
    assert connection.state is State.CLOSED
