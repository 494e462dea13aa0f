"""How connections end whose last response has been sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.host import drop
from serving.lingering import LINGER, LINGER_BYTES
from tests.serving.main_thread_bench import HEALTH

if TYPE_CHECKING:
    import socket

    from tests.serving.main_thread_bench import Bench


def lingering(bench: Bench) -> socket.socket:
    """Return the client of a connection that is closed gracefully."""
    client = bench.client(HEALTH)
    drop(bench.host, bench.take(), graceful=True)
    assert client.recv(1) == b""
    assert bench.host.nr_conns == 1
    return client


def test_a_lingering_connection_takes_late_bytes_and_is_closed_when_the_client_leaves(bench: Bench) -> None:
    client = lingering(bench)
    client.sendall(b"late bytes")
    bench.host.turn(1.0)
    assert bench.host.nr_conns == 1
    client.close()
    bench.host.turn(1.0)
    assert bench.host.nr_conns == 0


def test_a_lingering_connection_is_closed_when_its_time_is_over(bench: Bench) -> None:
    lingering(bench)
    bench.pass_time(LINGER - 0.001)
    assert bench.host.nr_conns == 1
    bench.pass_time(0.001)
    assert bench.host.nr_conns == 0


def test_a_lingering_connection_that_sends_without_end_is_closed(bench: Bench) -> None:
    client = lingering(bench)
    client.sendall(bytes(LINGER_BYTES))
    for _ in range(LINGER_BYTES):
        if not bench.host.nr_conns:
            break
        bench.host.turn(1.0)
    assert bench.host.nr_conns == 0


def test_a_connection_that_broke_does_not_linger(bench: Bench) -> None:
    bench.client(HEALTH)
    conn = bench.take()
    conn.sock.close()
    drop(bench.host, conn, graceful=True)
    assert bench.host.nr_conns == 0


def test_only_one_that_has_lingered_for_long_enough_is_dropped(bench: Bench) -> None:
    lingering(bench)
    bench.clock.now += 0.2
    assert not bench.lingering.drop_oldest(older_than=0.25)
    bench.clock.now += 0.1
    assert bench.lingering.drop_oldest(older_than=0.25)
    assert bench.host.nr_conns == 0
    assert not bench.lingering.drop_oldest()
