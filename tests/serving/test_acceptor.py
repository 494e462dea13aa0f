"""How the main thread takes connections in, and which of them make room for others."""

from __future__ import annotations

import socket
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from serving.acceptor import PAUSE, SHORT_WHILE
from tests.serving.conftest import SETTINGS, answers_in, received_by
from tests.serving.main_thread_bench import HEALTH, LIVE, is_closed
from tests.support.service import embed_request

if TYPE_CHECKING:
    from tests.serving.main_thread_bench import Bench


# Connections that come


def test_a_connection_waits_for_a_thread_only_once_the_head_of_a_request_has_come(bench: Bench) -> None:
    client = bench.client()
    bench.host.turn()
    assert bench.hand_out(9) == []
    client.sendall(b"P")
    bench.host.turn(1.0)
    assert bench.hand_out(9) == []
    client.sendall(embed_request("a")[1:])
    bench.host.turn(1.0)
    assert bench.intake.busy == 1
    bench.take().close()
    assert bench.intake.busy == 1


def test_a_silent_connection_is_closed_when_its_time_is_over(bench: Bench) -> None:
    client = bench.client()
    bench.pass_time(SETTINGS.keepalive - 0.001)
    assert bench.host.nr_conns == 1
    bench.pass_time(0.001)
    assert bench.host.nr_conns == 0
    assert client.recv(1) == b""


def test_at_the_stop_silent_connections_end_as_early_as_idle_ones(bench: Bench) -> None:
    early = bench.client()
    bench.acceptor.cap_silence(bench.clock.now + 1.0)
    late = bench.client()
    bench.pass_time(1.0)
    assert [is_closed(client) for client in (early, late)] == [True, False]


def test_a_cap_never_lengthens_the_time_of_a_silent_connection(bench: Bench) -> None:
    bench.client()
    bench.acceptor.cap_silence(bench.clock.now + 1e6)
    bench.pass_time(SETTINGS.keepalive)
    assert bench.host.nr_conns == 0


def test_a_connection_that_is_over_leaves_nothing_for_the_collector(bench: Bench) -> None:
    client = bench.client(HEALTH)
    client.close()
    (conn,) = bench.intake.hand_out(1)
    conn.prepare(send_timeout=1.0)
    conn.close()
    ended = weakref.ref(conn)
    del conn
    assert ended() is None


class BrokenListener:
    def __init__(self, code: int) -> None:
        self.code = code
        self.attempts = 0

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 0

    def accept(self) -> None:
        self.attempts += 1
        raise OSError(self.code, "what went wrong")


@pytest.mark.parametrize("code", [11, 103, 113], ids=["EAGAIN", "ECONNABORTED", "EHOSTUNREACH"])
def test_a_clients_network_error_stops_nothing(bench: Bench, code: int) -> None:
    bench.acceptor.accept(BrokenListener(code))  # type: ignore[arg-type]
    assert bench.host.nr_conns == 0
    assert bench.acceptor.may_accept()


@pytest.mark.parametrize("code", [9, 22, 88], ids=["EBADF", "EINVAL", "ENOTSOCK"])
def test_a_listener_that_is_closed_is_an_error(bench: Bench, code: int) -> None:
    with pytest.raises(OSError, match="what went wrong"):
        bench.acceptor.accept(BrokenListener(code))  # type: ignore[arg-type]


# Descriptors that run out

RUN_OUT = pytest.mark.parametrize("code", [24, 23, 12, 105], ids=["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"])


@RUN_OUT
def test_without_a_descriptor_the_listener_is_left_alone_for_a_while(bench: Bench, code: int) -> None:
    bench.acceptor.accept(listener := BrokenListener(code))  # type: ignore[arg-type]
    assert listener.attempts == 1
    assert not bench.acceptor.may_accept()
    bench.clock.now += PAUSE
    assert bench.acceptor.may_accept()


@RUN_OUT
def test_without_a_descriptor_silent_connections_give_theirs(bench: Bench, code: int) -> None:
    clients = bench.connect(3)
    bench.acceptor.accept(listener := BrokenListener(code))  # type: ignore[arg-type]
    assert listener.attempts == 4
    assert bench.host.nr_conns == 0
    assert all(is_closed(client) for client in clients)


# Room for newcomers


def test_a_crowd_is_taken_in_at_once(bench: Bench) -> None:
    with ExitStack() as stack:
        for _ in range(7):
            stack.enter_context(socket.create_connection(bench.listener.getsockname(), 5))
        bench.acceptor.accept(bench.listener)
        assert bench.host.nr_conns == 7


def test_connections_that_fill_the_last_places_close_none_before_another_comes(bench: Bench) -> None:
    bench.host.worker_connections = 5
    clients = bench.connect(5)
    assert bench.acceptor.may_accept()
    assert not any(is_closed(client) for client in clients)


def test_the_oldest_silent_connections_make_room(bench: Bench) -> None:
    bench.host.worker_connections = 5
    clients = bench.connect(7)
    assert bench.host.nr_conns == 5
    assert [is_closed(client) for client in clients] == [True, True, False, False, False, False, False]
    assert bench.acceptor.may_accept()


def test_a_connection_on_which_a_byte_has_come_is_not_silent(bench: Bench) -> None:
    bench.host.worker_connections = 2
    speaking, silent = bench.connect(2)
    speaking.sendall(b"P")
    bench.connect()
    assert [is_closed(client) for client in (speaking, silent)] == [False, True]


def test_without_silent_ones_the_longest_idle_connection_makes_room(bench: Bench) -> None:
    bench.host.worker_connections = 2
    idle = [bench.client(LIVE) for _ in range(2)]
    for client in idle:
        answers_in(client.recv(1000))
    bench.connect()
    assert [is_closed(client) for client in idle] == [True, False]


def test_one_that_has_said_half_a_head_for_a_while_goes_before_an_idle_one_and_is_told_so(bench: Bench) -> None:
    bench.host.worker_connections = 2
    idle = bench.client(LIVE)
    answers_in(idle.recv(1000))
    dripping = bench.client(b"GET /")
    bench.clock.now += SHORT_WHILE
    bench.connect()
    assert not is_closed(idle)
    (answer,) = answers_in(received_by(dripping))
    assert (answer.status, answer.headers["connection"]) == (408, "close")


def test_one_that_has_just_begun_a_head_goes_last(bench: Bench) -> None:
    bench.host.worker_connections = 2
    idle = bench.client(LIVE)
    answers_in(idle.recv(1000))
    beginning = bench.client(b"GET /")
    bench.connect()
    assert is_closed(idle)
    assert not is_closed(beginning)


def test_a_connection_that_only_lingers_makes_room(bench: Bench) -> None:
    bench.host.worker_connections = 2
    bench.client(LIVE.replace(b"Host", b"Connection: close\r\nHost"))
    bench.client(embed_request("a"))
    assert bench.host.nr_conns == 2
    bench.connect()
    assert bench.host.nr_conns == 2
    assert bench.intake.busy == 1


def test_requests_under_way_make_no_room_and_the_listener_is_left_alone_until_one_is_over(bench: Bench) -> None:
    bench.host.worker_connections = 2
    for _ in range(2):
        bench.client(embed_request("a"))
    bench.connect()
    assert bench.intake.busy == 2
    assert bench.host.nr_conns == 2
    assert not bench.acceptor.may_accept()
    bench.take_one_back()
    assert bench.acceptor.may_accept()
