"""Whether a client is still there, and how the bytes of its requests are read by a deadline."""

from __future__ import annotations

import select
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


def test_a_client_has_left_only_if_it_left_no_byte_behind(lines: Lines) -> None:
    silent, speaking, leaving = (lines.connect(prepared=False) for _ in range(3))
    lines.far_ends[1].sendall(b"x")
    for far in lines.far_ends[1:]:
        far.close()
    assert [conn.has_left() for conn in (silent, speaking, leaving)] == [False, False, True]


def test_bytes_that_the_main_thread_peeked_at_are_read_by_the_pool_thread(lines: Lines) -> None:
    conn = lines.connect(prepared=False)
    lines.far_ends[0].sendall(b"POST /embed")
    assert conn.peek(4) == b"POST"
    assert conn.peek(4) == b"POST"
    assert not conn.has_left()
    conn.prepare(1.0)
    assert conn.has_bytes()
    conn.parser.unreader.deadline = MUCH_LATER
    assert conn.parser.unreader.read(11) == b"POST /embed"


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
        def recv(self, size: int) -> bytes:
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

        def recv(self, size: int) -> bytes:
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
