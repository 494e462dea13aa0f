"""How the main thread takes connections in, and ends those that are over."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import pytest

from serving.acceptor import LINGER, LINGER_BYTES
from tests.serving.acceptor_bench import HEALTH, AcceptorBench
from tests.serving.conftest import SETTINGS

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.serving.conftest import Clock


@pytest.fixture
def bench(clock: Clock) -> Iterator[AcceptorBench]:
    bench = AcceptorBench(clock)
    yield bench
    bench.close()


# Connections that come


def test_a_connection_waits_for_a_thread_only_once_its_first_byte_has_come(bench: AcceptorBench) -> None:
    client = bench.client()
    bench.host.turn()
    assert not bench.acceptor.has_ready
    client.sendall(b"P")
    bench.host.turn(1.0)
    assert bench.acceptor.has_ready
    assert bench.acceptor.busy == 1
    bench.take().close()
    assert bench.acceptor.busy == 1
    bench.acceptor.take_back()
    assert bench.acceptor.busy == 0


def test_requests_get_their_threads_in_the_order_in_which_they_came(clock: Clock) -> None:
    bench = AcceptorBench(clock, room=9)
    clients = [bench.client(HEALTH) for _ in range(3)]
    given = [*bench.acceptor.hand_out(1), *bench.acceptor.hand_out(9)]
    assert [conn.client for conn in given] == [client.getsockname() for client in clients]
    for conn in given:
        conn.close()
    bench.close()


def test_a_silent_connection_is_closed_when_its_time_is_over(bench: AcceptorBench) -> None:
    client = bench.client()
    bench.clock.now += SETTINGS.keepalive - 0.001
    bench.acceptor.close_expired()
    assert bench.host.nr_conns == 1
    bench.clock.now += 0.001
    bench.acceptor.close_expired()
    assert bench.host.nr_conns == 0
    assert client.recv(1) == b""


def test_at_the_stop_silent_connections_end_as_early_as_idle_ones(bench: AcceptorBench) -> None:
    early = bench.client()
    bench.acceptor.cap_silence(bench.clock.now + 1.0)
    late = bench.client()
    bench.clock.now += 1.0
    bench.acceptor.close_expired()
    assert early.recv(1) == b""
    assert bench.host.nr_conns == 1
    late.settimeout(0)
    with pytest.raises(BlockingIOError):
        late.recv(1)


def test_a_cap_never_lengthens_the_time_of_a_silent_connection(bench: AcceptorBench) -> None:
    bench.client()
    bench.acceptor.cap_silence(bench.clock.now + 1e6)
    bench.clock.now += SETTINGS.keepalive
    bench.acceptor.close_expired()
    assert bench.host.nr_conns == 0


def test_a_connection_that_is_over_leaves_nothing_for_the_collector(bench: AcceptorBench) -> None:
    client = bench.client(HEALTH)
    client.close()
    conn = bench.take()
    conn.prepare(send_timeout=1.0)
    conn.close()
    ended = weakref.ref(conn)
    del conn
    assert ended() is None


class BrokenListener:
    def __init__(self, code: int) -> None:
        self.code = code

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 0

    def accept(self) -> None:
        raise OSError(self.code, "what went wrong")


@pytest.mark.parametrize(
    "code", [11, 24, 23, 12, 103, 113], ids=["EAGAIN", "EMFILE", "ENFILE", "ENOMEM", "ECONNABORTED", "EHOSTUNREACH"]
)
def test_running_out_of_files_or_a_clients_network_error_does_not_end_the_worker(
    bench: AcceptorBench, code: int
) -> None:
    bench.acceptor.accept(BrokenListener(code))  # type: ignore[arg-type]
    assert bench.host.nr_conns == 0


@pytest.mark.parametrize("code", [9, 22, 88], ids=["EBADF", "EINVAL", "ENOTSOCK"])
def test_a_listener_that_is_closed_is_an_error(bench: AcceptorBench, code: int) -> None:
    with pytest.raises(OSError, match="what went wrong"):
        bench.acceptor.accept(BrokenListener(code))  # type: ignore[arg-type]


def test_a_crowd_is_taken_in_at_once_but_never_more_than_there_is_room_for(bench: AcceptorBench) -> None:
    bench.host.worker_connections = 5
    bench.connect(7)
    assert bench.host.nr_conns == 5


# Connections that go


def lingering(bench: AcceptorBench) -> socket.socket:
    """Return the client of a connection that is closed gracefully, as gunicorn's ``finish_request`` does it."""
    client = bench.client(HEALTH)
    conn = bench.take()
    conn.sock.recv(len(HEALTH))
    bench.host.nr_conns -= 1
    conn.close(graceful=True)
    assert client.recv(1) == b""
    assert bench.host.nr_conns == 1
    return client


def test_a_lingering_connection_takes_late_bytes_and_is_closed_when_the_client_leaves(bench: AcceptorBench) -> None:
    client = lingering(bench)
    client.sendall(b"late bytes")
    bench.host.turn(1.0)
    assert bench.host.nr_conns == 1
    client.close()
    bench.host.turn(1.0)
    assert bench.host.nr_conns == 0


def test_a_lingering_connection_is_closed_when_its_time_is_over(bench: AcceptorBench) -> None:
    lingering(bench)
    bench.clock.now += LINGER - 0.001
    bench.acceptor.close_expired()
    assert bench.host.nr_conns == 1
    bench.clock.now += 0.001
    bench.acceptor.close_expired()
    assert bench.host.nr_conns == 0


def test_a_lingering_connection_that_sends_without_end_is_closed(bench: AcceptorBench) -> None:
    client = lingering(bench)
    client.sendall(bytes(LINGER_BYTES))
    for _ in range(LINGER_BYTES):
        if not bench.host.nr_conns:
            break
        bench.host.turn(1.0)
    assert bench.host.nr_conns == 0


def test_a_connection_that_broke_does_not_linger(bench: AcceptorBench) -> None:
    bench.client(HEALTH)
    conn = bench.take()
    bench.host.nr_conns -= 1
    conn.sock.close()
    conn.close(graceful=True)
    assert bench.host.nr_conns == 0
