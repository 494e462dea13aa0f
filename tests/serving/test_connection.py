"""Whether a client is still there, and how the bytes of its requests are read by a deadline."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

import pytest

from api.body import TooSlowError
from serving.connection import Unreader

if TYPE_CHECKING:
    from tests.serving.conftest import Lines

EARLIER_THAN_NOW, MUCH_LATER = 0.0, 1e12


def test_a_client_is_gone_once_it_has_closed_even_behind_bytes_that_are_not_read(lines: Lines) -> None:
    conn = lines.connect()
    assert conn.is_gone is not None
    assert not conn.is_gone()
    lines.far_ends[0].sendall(b"unread")
    assert not conn.is_gone()
    lines.far_ends[0].close()
    assert conn.is_gone()


def test_a_client_is_gone_once_this_side_has_closed(lines: Lines) -> None:
    conn = lines.connect()
    conn.close()
    assert conn.is_gone is not None
    assert conn.is_gone()


def test_a_system_without_the_poll_flag_has_no_probe(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(select, "POLLRDHUP")
    assert lines.connect().is_gone is None


def test_a_connection_is_quiet_while_there_is_no_byte_to_read(lines: Lines) -> None:
    silent, speaking, leaving, broken = (lines.connect(prepared=False) for _ in range(4))
    lines.far_ends[1].sendall(b"x")
    lines.far_ends[2].close()
    broken.sock.close()
    assert [conn.is_quiet() for conn in (silent, speaking, leaving, broken)] == [True, False, True, True]


def test_bytes_that_the_main_thread_has_read_are_read_again_by_the_pool_thread(lines: Lines) -> None:
    conn = lines.connect(prepared=False)
    far = lines.far_ends[0]
    far.sendall(b"POST /embed")
    assert conn.read_ahead(4)
    assert conn.read_ahead(100)
    assert conn.ahead == b"POST /embed"
    with pytest.raises(BlockingIOError):
        conn.read_ahead(4)
    conn.prepare(1.0)
    assert conn.ahead == b""
    assert conn.has_bytes()
    conn.parser.unreader.deadline = MUCH_LATER
    assert conn.parser.unreader.read(11) == b"POST /embed"


def test_the_main_thread_takes_what_a_pool_thread_has_read_too_far(lines: Lines) -> None:
    conn = lines.connect()
    conn.parser.unreader.unread(b"GET ")
    lines.far_ends[0].sendall(b"/")
    lines.far_ends[0].close()
    assert conn.read_ahead(100)
    assert conn.ahead == b"GET "
    assert conn.read_ahead(100)
    assert not conn.read_ahead(100)
    assert conn.ahead == b"GET /"


def test_a_read_that_begins_after_the_deadline_is_too_slow_whatever_has_come(lines: Lines) -> None:
    unreader = lines.connect().parser.unreader
    lines.far_ends[0].sendall(b"late")
    unreader.deadline = EARLIER_THAN_NOW
    with pytest.raises(TooSlowError):
        unreader.chunk()


def test_a_reader_that_is_told_to_give_up_is_too_slow(lines: Lines) -> None:
    unreader = lines.connect().parser.unreader
    unreader.deadline = MUCH_LATER
    unreader.give_up()
    with pytest.raises(TooSlowError):
        unreader.chunk()


def test_a_reader_is_listed_only_while_it_waits() -> None:
    readers: set[Unreader] = set()
    listed_while_reading: list[bool] = []

    class Sock:
        def recv(self, size: int, flags: int) -> bytes:
            listed_while_reading.append(unreader in readers)
            return b"x"

    unreader = Unreader(Sock(), readers)  # type: ignore[arg-type]
    unreader.deadline = MUCH_LATER
    assert unreader.chunk() == b"x"
    assert listed_while_reading == [True]
    assert not readers


def test_a_reader_goes_on_while_the_socket_gives_up_for_a_moment() -> None:
    class Sock:
        pauses = 3

        def recv(self, size: int, flags: int) -> bytes:
            self.pauses -= 1
            if self.pauses:
                raise BlockingIOError
            return b"x"

    unreader = Unreader(Sock(), set())  # type: ignore[arg-type]
    unreader.deadline = MUCH_LATER
    assert unreader.chunk() == b"x"


def test_a_reader_that_is_blocked_sees_the_end_once_reading_is_stopped(lines: Lines) -> None:
    conn = lines.connect()
    conn.stop_reading()
    assert not conn.await_bytes()
    conn.sock.sendall(b"still writes")
    assert lines.far_ends[0].recv(100) == b"still writes"


def test_reading_may_be_stopped_after_the_connection_has_been_closed(lines: Lines) -> None:
    conn = lines.connect()
    conn.close()
    conn.stop_reading()
    assert conn.sock.fileno() == -1


def test_what_is_at_hand_is_read_without_waiting_and_without_asking_for_more() -> None:
    class Sock:
        def recv(self, size: int, flags: int) -> bytes:
            assert flags == socket.MSG_DONTWAIT
            raise BlockingIOError

    unreader = Unreader(Sock(), set())  # type: ignore[arg-type]
    unreader.asks = True
    with unreader.at_hand(), pytest.raises(BlockingIOError):
        unreader.chunk()


@pytest.mark.parametrize(
    ("version", "fields", "closes"),
    [
        (b"1.1", [], False),
        (b"1.1", [b"close"], True),
        (b"1.1", [b"Close"], True),
        (b"1.1", [b"keep-alive"], False),
        (b"1.1", [b"keep-alive, close"], True),
        (b"1.1", [b"close, keep-alive"], True),
        (b"1.1", [b"keep-alive", b"close"], True),
        (b"1.1", [b"close", b"keep-alive"], True),
        (b"1.1", [b"Upgrade ,\tCLOSE\t,, TE"], True),
        (b"1.1", [b"closed, x-close, close-x"], False),
        (b"1.1", [b"Upgrade, HTTP2-Settings"], False),
        (b"1.1", [b""], False),
        (b"1.2", [], False),
        (b"1.9", [b"close"], True),
        (b"1.0", [], True),
        (b"1.0", [b"Keep-Alive"], False),
        (b"1.0", [b"TE, keep-alive"], False),
        (b"1.0", [b"keep-alive, close"], True),
        (b"1.0", [b"keep-alive", b"close"], True),
    ],
)
def test_a_request_says_whether_its_connection_ends(
    lines: Lines, version: bytes, fields: list[bytes], closes: bool
) -> None:
    conn = lines.connect()
    options = b"".join(b"Connection: %b\r\n" % field for field in fields)
    conn.parser.unreader.unread(b"GET / HTTP/%b\r\nHost: h\r\n%b\r\n" % (version, options))
    request = next(conn.parser)
    assert request.should_close() == closes
    assert request.version == ((1, 0) if version == b"1.0" else (1, 1))
    request.force_close()
    assert request.should_close()


def test_what_follows_a_connect_is_no_request(lines: Lines) -> None:
    conn = lines.connect()
    conn.parser.unreader.unread(b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
    assert next(conn.parser).should_close()
