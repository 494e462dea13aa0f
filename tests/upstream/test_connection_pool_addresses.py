"""The pool spreads its connections over the addresses of a name, and follows the name."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamUnavailable
from tests.upstream.network_bench import HUNG, Hands, Names, Servers, Silent
from upstream.connection import State
from upstream.connection_pool import TIDY_PERIOD, ConnectionPool
from upstream.lookup import PERIOD, SHORTEST_PERIOD
from upstream.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from upstream.connection import Connection

HEALTH = b"GET /health HTTP/1.1\r\nHost: upstream\r\n\r\n"
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


class Bench:
    """A pool of a name that leads to several servers, on a clock set by hand."""

    def __init__(self, servers: Servers, *hosts: str) -> None:
        self.servers = servers
        self.names = Names(servers.addresses(*hosts))
        self.now = Hands()
        self.pool = ConnectionPool(Origin("upstream.test", servers.port, None), 4, self.now, resolve=self.names.resolve)

    def ask(self) -> str:
        """Make an exchange, and return the host that answered."""
        connection = self.pool.take(self.now() + HUNG)
        try:
            return connection.exchange(HEALTH, self.now() + HUNG, 1000).body.decode()
        finally:
            self.pool.put(connection)

    def names_are_asked(self) -> None:
        """Have the name looked up again, and wait until what was found is known."""
        asked = len(self.names.asked)
        self.now.time += PERIOD + TIDY_PERIOD
        self.ask()
        for thread in threading.enumerate():
            if thread.name == "upstream-lookup":
                thread.join(HUNG)
        assert len(self.names.asked) == asked + 1


@pytest.fixture
def bench_of() -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def bench_of(*hosts: str, known: tuple[str, ...] = ()) -> Bench:
        benches.append(Bench(Servers(*hosts), *known))
        return benches[-1]

    yield bench_of
    for bench in benches:
        bench.names.gate.set()
        bench.pool.close()
        bench.servers.__exit__()


def states(*connections: Connection) -> list[State]:
    return [connection.state for connection in connections]


def test_exchanges_one_after_the_other_go_to_all_addresses_over_a_connection_each(
    bench_of: Callable[..., Bench],
) -> None:
    bench = bench_of(*HOSTS)
    assert Counter(bench.ask() for _ in range(30)) == dict.fromkeys(HOSTS, 10)
    assert bench.servers.connections == dict.fromkeys(HOSTS, 1)


def test_exchanges_at_once_are_spread_too(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(*HOSTS)
    taken = [bench.pool.take(HUNG) for _ in range(6)]
    assert Counter(connection.target.address.place[0] for connection in taken) == dict.fromkeys(HOSTS, 2)
    for connection in taken:
        bench.pool.put(connection)


def test_an_address_whose_server_is_slow_gets_no_more_than_its_share(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(*HOSTS)
    held = bench.pool.take(HUNG)
    slow = held.target.address.place[0]
    assert slow not in {bench.ask() for _ in range(10)}
    bench.pool.put(held)


def test_one_address_that_refuses_costs_no_exchange(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(*HOSTS[:2], known=HOSTS)
    assert Counter(bench.ask() for _ in range(20)).keys() == set(HOSTS[:2])


def test_one_address_that_swallows_packets_costs_no_exchange(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(*HOSTS[:2])
    with Silent(HOSTS[2], bench.servers.port) as silent:
        bench.names.found.append(silent.target.address)
        began = time.monotonic()
        answers = Counter(bench.ask() for _ in range(20))
    assert answers.keys() == set(HOSTS[:2])
    assert time.monotonic() - began < 1.5  # one head start, not one each time


def test_a_server_that_dies_costs_no_exchange_that_comes_later(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(*HOSTS)
    for _ in range(6):
        bench.ask()
    bench.servers.stop(HOSTS[0])
    assert Counter(bench.ask() for _ in range(12)).keys() == set(HOSTS[1:])
    bench.servers.start(HOSTS[0])
    bench.now.time += 60
    assert Counter(bench.ask() for _ in range(12)) == dict.fromkeys(HOSTS, 4)


def test_an_address_that_joins_gets_its_share_and_one_that_leaves_loses_its_connections(
    bench_of: Callable[..., Bench],
) -> None:
    bench = bench_of(*HOSTS, known=HOSTS[:2])
    (leaving, *others) = [bench.pool.take(HUNG) for _ in range(3)]
    for connection in (leaving, *others):
        connection.exchange(HEALTH, HUNG, 1000)
        bench.pool.put(connection)
    bench.names.found = bench.servers.addresses(*HOSTS[1:])
    bench.names_are_asked()
    assert leaving.state is State.CLOSED
    assert Counter(bench.ask() for _ in range(12)) == dict.fromkeys(HOSTS[1:], 6)


def test_a_connection_in_use_ends_well_though_its_address_left(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(*HOSTS[:2])
    connection = bench.pool.take(HUNG)
    left = connection.target.address
    bench.names.found = [each for each in bench.names.found if each != left]
    bench.names_are_asked()
    assert connection.exchange(HEALTH, bench.now() + HUNG, 1000).body == left.place[0].encode()
    bench.pool.put(connection)
    assert connection.state is State.CLOSED


def test_a_look_up_that_hangs_holds_no_exchange_up(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(HOSTS[0])
    bench.ask()
    bench.names.gate.clear()
    bench.now.time += 100.0
    assert {bench.ask() for _ in range(5)} == {HOSTS[0]}


def test_where_no_known_address_answers_a_new_one_is_used_at_once(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(HOSTS[0])
    bench.ask()
    bench.servers.start(HOSTS[1])
    bench.servers.stop(HOSTS[0])
    bench.names.found = bench.servers.addresses(HOSTS[1])
    bench.now.time += SHORTEST_PERIOD
    assert bench.ask() == HOSTS[1]


def test_where_none_answers_and_no_other_is_known_the_upstream_is_out_of_reach(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(HOSTS[0])
    bench.ask()
    bench.servers.stop(HOSTS[0])
    for _ in range(2):
        bench.now.time += SHORTEST_PERIOD
        with pytest.raises(UpstreamUnavailable) as raised:
            bench.ask()
        assert raised.value.message == "the upstream cannot be reached: connection refused"


def test_an_address_that_fails_is_told_once_and_once_more_when_it_works_again(
    bench_of: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="upstream.connection_pool")
    bench = bench_of(*HOSTS[:2])
    for _ in range(4):
        bench.ask()
    bench.servers.stop(HOSTS[0])
    for _ in range(20):
        bench.now.time += 2.0
        bench.ask()
    place = f"address {HOSTS[0]}:{bench.servers.port} of upstream http://upstream.test:{bench.servers.port}"
    failed = f"{place} is left alone while others work: [Errno 111] Connection refused"
    assert caplog.messages == [failed]
    bench.servers.start(HOSTS[0])
    for _ in range(20):
        bench.now.time += 2.0
        bench.ask()
    assert caplog.messages == [failed, f"{place} works again"]


def test_a_full_pool_keeps_connections_to_each_address(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(*HOSTS[:2])
    connections = [bench.pool.take(HUNG) for _ in range(12)]
    by_host = sorted(connections, key=lambda each: each.target.address.place)
    for connection in by_host:
        connection.exchange(HEALTH, HUNG, 1000)
        bench.pool.put(connection)
    kept = Counter(each.target.address.place[0] for each in connections if each.state is State.IDLE)
    assert sorted(kept.values()) == [2, 3]


def test_an_address_that_is_avoided_loses_its_connections(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(*HOSTS[:2])
    connections = [bench.pool.take(HUNG) for _ in range(2)]
    for connection in connections:
        connection.exchange(HEALTH, HUNG, 1000)
        bench.pool.put(connection)
    bench.pool.avoid(connections[0].target, "broken")
    assert states(*connections) == [State.CLOSED, State.IDLE]
    assert {bench.ask() for _ in range(4)} == {connections[1].target.address.place[0]}


def test_an_address_that_answers_again_is_forgiven(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(*HOSTS[:2])
    connections = [bench.pool.take(HUNG) for _ in range(2)]
    target = connections[0].target
    for _ in range(3):
        bench.pool.avoid(target, "broken")
    connections[0].exchange(HEALTH, HUNG, 1000)
    for connection in connections:
        bench.pool.put(connection)
    assert (target.failures, bench.ask()) == (0, target.address.place[0])


def test_the_pool_keeps_a_connection_more_for_each_further_address(bench_of: Callable[..., Bench]) -> None:
    bench = bench_of(*HOSTS)
    bench.ask()
    assert repr(bench.pool) == f"<ConnectionPool of http://upstream.test:{bench.servers.port}, 1 of 6 idle>"
