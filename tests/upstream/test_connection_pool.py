"""The pool keeps idle connections while they are of use, spread over the addresses of its origin."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamUnavailable
from tests.support.upstream import ScriptedUpstream, faults
from tests.upstream.network_bench import HUNG, Hands
from upstream.connection import State
from upstream.connection_pool import TIDY_PERIOD, ConnectionPool
from upstream.origin import origin_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upstream.connection import Connection

HEALTH = b"GET /health HTTP/1.1\r\nHost: upstream\r\n\r\n"
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.fixture
def pool(plain: ScriptedUpstream) -> Iterator[ConnectionPool]:
    pool = ConnectionPool(origin_of(plain.url), 2)
    yield pool
    pool.close()


def used(pool: ConnectionPool, count: int) -> list[Connection]:
    """Return connections that were taken together, and of which each has made an exchange."""
    connections = [pool.take(time.monotonic() + 10) for _ in range(count)]
    for connection in connections:
        assert connection.exchange(HEALTH, time.monotonic() + 10, None).status == 200
    return connections


def take(pool: ConnectionPool) -> Connection:
    return pool.take(time.monotonic() + 10)


def states(*connections: Connection) -> list[State]:
    return [connection.state for connection in connections]


def test_the_connection_put_back_last_is_taken_first(pool: ConnectionPool) -> None:
    first, second = used(pool, 2)
    pool.put(first)
    pool.put(second)
    assert [take(pool), take(pool)] == [second, first]
    first.close()
    second.close()


def test_a_pool_keeps_so_many_connections_and_closes_the_others(pool: ConnectionPool) -> None:
    connections = used(pool, 3)
    for connection in connections:
        pool.put(connection)
    assert states(*connections) == [State.IDLE, State.IDLE, State.CLOSED]
    assert repr(pool) == f"<ConnectionPool of {pool.origin}, 2 of 2 idle>"


def test_a_connection_that_made_no_exchange_is_not_kept(pool: ConnectionPool) -> None:
    connection = take(pool)
    pool.put(connection)
    assert states(connection) == [State.CLOSED]
    assert repr(pool) == f"<ConnectionPool of {pool.origin}, 0 of 2 idle>"


def test_connections_that_the_upstream_closed_are_replaced(plain: ScriptedUpstream, pool: ConnectionPool) -> None:
    plain.fault = faults.ok_then_close
    old = used(pool, 2)
    for connection in old:
        assert plain.closed.acquire(timeout=10)
        pool.put(connection)
    new = take(pool)
    assert states(*old, new) == [State.CLOSED, State.CLOSED, State.NEW]
    new.close()


def test_a_closed_pool_closes_its_connections_and_those_put_back_later(pool: ConnectionPool) -> None:
    idle, busy = used(pool, 2)
    pool.put(idle)
    pool.close()
    assert states(idle, busy) == [State.CLOSED, State.IDLE]
    pool.put(busy)
    assert states(busy) == [State.CLOSED]
    assert repr(pool) == f"<ConnectionPool of {pool.origin}, closed>"
    with pytest.raises(UpstreamUnavailable):
        take(pool)


def test_a_pool_that_is_dropped_closes_its_connections(plain: ScriptedUpstream) -> None:
    pool = ConnectionPool(origin_of(plain.url), 1)
    (connection,) = used(pool, 1)
    pool.put(connection)
    del pool
    assert states(connection) == [State.CLOSED]


# Idle connections


@pytest.fixture
def now() -> Hands:
    return Hands()


def used_at(pool: ConnectionPool, now: Hands, *moments: float) -> list[Connection]:
    """Return connections that were taken together and put back at these moments."""
    connections = [pool.take(now() + HUNG) for _ in moments]
    for connection, now.time in zip(connections, moments, strict=True):
        assert connection.exchange(HEALTH, now() + HUNG, None).status == 200
        pool.put(connection)
    return connections


def test_a_connection_that_was_idle_for_too_long_is_closed_and_not_used_again(
    plain: ScriptedUpstream, now: Hands
) -> None:
    pool = ConnectionPool(origin_of(plain.url), 4, now, idle=4.0)
    first, second = used_at(pool, now, 0.0, 2.0)
    now.time = 5.0
    assert pool.take(now() + HUNG) is second
    assert states(first, second) == [State.CLOSED, State.IDLE]
    pool.put(second)
    now.time = 9.5
    third = pool.take(now() + HUNG)
    assert states(second, third) == [State.CLOSED, State.NEW]
    third.close()


def test_a_connection_is_used_until_the_last_moment(plain: ScriptedUpstream, now: Hands) -> None:
    pool = ConnectionPool(origin_of(plain.url), 4, now, idle=4.0)
    (connection,) = used_at(pool, now, 0.0)
    now.time = 4.0
    assert pool.take(now() + HUNG) is connection
    connection.close()


def test_what_a_smaller_load_leaves_over_is_closed_beside_it(plain: ScriptedUpstream, now: Hands) -> None:
    pool = ConnectionPool(origin_of(plain.url), 4, now, idle=4.0)
    left_over, busy = used_at(pool, now, 0.0, 0.0)
    for _ in range(6):
        now.time += TIDY_PERIOD
        assert pool.take(now() + HUNG) is busy
        pool.put(busy)
    assert states(left_over, busy) == [State.CLOSED, State.IDLE]
    pool.close()


def test_old_connections_can_be_closed_from_outside(plain: ScriptedUpstream, now: Hands) -> None:
    pool = ConnectionPool(origin_of(plain.url), 4, now, idle=4.0)
    old, young = used_at(pool, now, 0.0, 3.0)
    now.time = 5.0
    pool.close_idle()
    assert states(old, young) == [State.CLOSED, State.IDLE]
    assert repr(pool) == f"<ConnectionPool of {plain.url}, 1 of 4 idle>"
    pool.close()


def test_a_connection_is_not_kept_for_longer_than_its_server_announces(plain: ScriptedUpstream, now: Hands) -> None:
    pool = ConnectionPool(origin_of(plain.url), 4, now, idle=60.0)
    (connection,) = used_at(pool, now, 0.0)
    pool.take(now() + HUNG)
    connection.longest_idle = 4.0  # as after `Keep-Alive: timeout=5`
    pool.put(connection)
    now.time = 4.5
    other = pool.take(now() + HUNG)
    assert states(connection, other) == [State.CLOSED, State.NEW]
    other.close()


def test_a_single_address_is_not_avoided(plain: ScriptedUpstream, pool: ConnectionPool) -> None:
    (connection,) = used(pool, 1)
    pool.put(connection)
    pool.avoid(connection.target, "broken")
    assert take(pool) is connection
    connection.close()
