"""A name is looked up aside: a wait for it ends in time, and a failure leaves what was known."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from batching.clock import NEVER
from batching.errors import UpstreamTimeout, UpstreamUnavailable
from tests.upstream.network_bench import HUNG, Hands, Names, address_at
from upstream.lookup import PERIOD, SHORTEST_PERIOD, Lookup, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upstream.addresses import Address

A, B = address_at("10.0.0.1", 80), address_at("10.0.0.2", 80)


class Bench:
    """A look-up of one name, and what it told."""

    def __init__(self, host: str = "upstream.test") -> None:
        self.names = Names([A])
        self.now = Hands()
        self.lookup = Lookup(host, 80, self.now, self.names.resolve)
        self.told: list[list[Address]] = []
        self.was_told = threading.Semaphore(0)

    def tell(self, found: list[Address]) -> None:
        self.told.append(found)
        self.was_told.release()

    def first(self, seconds: float = HUNG) -> None:
        self.lookup.first(self.tell, self.now() + seconds)

    def renew(self, seconds: float = HUNG) -> bool:
        return self.lookup.renew(self.tell, self.now() + seconds)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.names.gate.set()


def test_a_name_is_looked_up_before_its_first_use_and_due_again_after_a_while(bench: Bench) -> None:
    assert bench.lookup.due == NEVER
    bench.first()
    bench.first()
    assert (bench.names.asked, bench.told) == ([("upstream.test", 80)], [[A]])
    assert bench.lookup.due == PERIOD


@pytest.mark.parametrize("host", ["10.0.0.1", "::1", "fe80::1%eth0"])
def test_an_ip_address_asks_no_server_twice(host: str) -> None:
    bench = Bench(host)
    bench.first()
    bench.now.time = 100.0
    assert not bench.renew()
    assert (len(bench.names.asked), bench.lookup.due) == (1, NEVER)


def test_a_look_up_begins_aside_and_only_one_at_a_time(bench: Bench) -> None:
    bench.first()
    bench.names.gate.clear()
    bench.names.found = [A, B]
    bench.lookup.begin(bench.tell)
    bench.lookup.begin(bench.tell)
    assert bench.told == [[A]]
    bench.names.gate.set()
    for _ in range(2):
        assert bench.was_told.acquire(timeout=HUNG)
    assert (bench.told, len(bench.names.asked)) == ([[A], [A, B]], 2)


def test_a_failure_leaves_what_was_known(bench: Bench) -> None:
    bench.first()
    bench.names.problem = socket.gaierror(-3, "Temporary failure in name resolution")
    bench.now.time = PERIOD
    assert bench.renew()
    assert bench.told == [[A]]
    assert bench.lookup.due == 2 * PERIOD
    bench.first()


@pytest.mark.parametrize(
    "problem",
    [socket.gaierror(-2, "Name or service not known"), UnicodeError("label empty or too long"), None],
    ids=["unknown", "no host name", "no address"],
)
def test_a_name_that_leads_nowhere_is_told_without_the_name(bench: Bench, problem: Exception | None) -> None:
    bench.names.found = []
    bench.names.problem = problem
    with pytest.raises(UpstreamUnavailable) as raised:
        bench.first()
    assert raised.value.message == "the upstream cannot be reached: its name cannot be resolved"
    assert raised.value.reason == f"upstream.test: {problem or 'no address was found'}"
    bench.names.problem = None
    bench.names.found = [B]
    bench.first()
    assert bench.told == [[B]]


def test_a_server_of_names_that_is_silent_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upstream.lookup.FIRST_WAIT", 0.1)
    bench.names.gate.clear()
    began = time.monotonic()
    with pytest.raises(UpstreamUnavailable) as raised:
        bench.first()
    assert raised.value.reason.startswith("upstream.test: no answer to the look-up within")
    with pytest.raises(UpstreamTimeout):
        bench.first(0.05)
    with pytest.raises(UpstreamTimeout):
        bench.first(0.0)
    assert time.monotonic() - began < 1.0
    assert len(bench.names.asked) == 1


def test_names_are_asked_for_again_where_no_address_answers_but_not_all_the_time(bench: Bench) -> None:
    bench.first()
    assert not bench.renew()
    bench.now.time = SHORTEST_PERIOD
    assert bench.renew()
    assert not bench.renew()
    assert len(bench.names.asked) == 2


def test_that_wait_is_short(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upstream.lookup.RENEWAL_WAIT", 0.05)
    bench.first()
    bench.names.gate.clear()
    bench.now.time = SHORTEST_PERIOD
    assert not bench.renew()


def test_where_no_thread_can_be_started_the_asking_one_looks_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    bench.first()
    assert bench.told == [[A]]


def test_the_system_is_asked_for_the_addresses_of_a_host() -> None:
    assert address_at("127.0.0.1", 8080) in resolve("127.0.0.1", 8080)
