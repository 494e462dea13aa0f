"""Responses that their clients take slowly: how they are sent, and which are given up."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import pytest

from serving.unsent import (
    LOG_EVERY,
    LOOK_EVERY,
    SLOWEST_READER,
    SPARED,
    STEP,
    UnsentResponse,
    UnsentResponses,
    first_to_go,
)
from tests.serving.main_thread_bench import FakeHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving.connection import Connection
    from tests.serving.conftest import Clock, Lines

TIMEOUT = 5.0
MOST = 3_000_000


class UnsentBench:
    """Responses that are sent on the test's turns. ``unread``: what each client's system has not taken."""

    def __init__(self, lines: Lines, clock: Clock) -> None:
        self.host = FakeHost()
        self.unread = 0
        self.responses = UnsentResponses(
            self.host, most_bytes=MOST, timeout=TIMEOUT, clock=clock, unread=lambda _: self.unread
        )
        self._lines = lines

    def slow(self, size: int, *, stays: bool = True) -> tuple[Connection, socket.socket]:
        """Return the two ends of a connection whose client has not taken so many bytes."""
        conn = self._lines.connect()
        self.host.nr_conns += 1
        conn.stays = stays
        self.responses.take(conn, memoryview(bytes(size)))
        return conn, self._lines.far_ends[-1]


@pytest.fixture
def bench(lines: Lines, clock: Clock) -> Iterator[UnsentBench]:
    bench = UnsentBench(lines, clock)
    yield bench
    bench.host.poller.close()


def read(bench: UnsentBench, client: socket.socket, size: int) -> int:
    """Let the client take so many bytes, and the main loop send what fits."""
    received = 0
    while received < size:
        bench.host.turn()
        received += len(client.recv(min(65_536, size - received)))
    bench.host.turn()
    return received


def test_a_response_is_sent_as_its_client_takes_it_and_the_connection_is_kept(bench: UnsentBench) -> None:
    conn, client = bench.slow(2_000_000)
    assert bench.responses.held == 2_000_000
    assert read(bench, client, 2_000_000) == 2_000_000
    assert bench.host.kept == [conn]
    assert (len(bench.responses), bench.responses.held, bench.host.nr_conns) == (0, 0, 1)


def test_a_connection_that_ends_with_its_response_is_closed_behind_it(bench: UnsentBench) -> None:
    _, client = bench.slow(2_000_000, stays=False)
    read(bench, client, 2_000_000)
    assert (len(bench.responses), bench.host.kept, bench.host.nr_conns) == (0, [], 0)


def test_memory_is_let_go_while_a_response_is_being_taken(bench: UnsentBench) -> None:
    _, client = bench.slow(2_000_000)
    read(bench, client, 1_800_000)
    assert bench.responses.held <= 400_000


def test_a_client_that_leaves_takes_its_response_with_it(bench: UnsentBench) -> None:
    _, client = bench.slow(2_000_000)
    bench.host.turn()
    client.close()
    bench.host.turn(1.0)
    assert (len(bench.responses), bench.responses.held, bench.host.nr_conns) == (0, 0, 0)


# Clients that take too little


def test_a_client_that_takes_nothing_is_given_up_when_its_time_is_over(bench: UnsentBench, clock: Clock) -> None:
    bench.slow(2_000_000)
    bench.unread = 100
    bench.responses.close_slow()
    clock.now += TIMEOUT * (1 + STEP / SLOWEST_READER) - LOOK_EVERY
    bench.responses.close_slow()
    assert len(bench.responses) == 1
    clock.now += LOOK_EVERY
    bench.responses.close_slow()
    assert (len(bench.responses), bench.host.nr_conns) == (0, 0)


def test_a_client_that_takes_a_little_now_and_then_is_given_up(bench: UnsentBench, clock: Clock) -> None:
    """It always takes something in time, but would hold memory for hours."""
    bench.unread = 1_000_000
    bench.slow(2_000_000)
    seconds = 0
    while len(bench.responses):
        clock.now += 1
        seconds += 1
        bench.unread -= 10
        bench.responses.close_slow()
    assert seconds == TIMEOUT * (1 + 3_000_000 / SLOWEST_READER)


def test_a_client_that_reads_slowly_but_steadily_gets_all_of_its_answer(bench: UnsentBench, clock: Clock) -> None:
    conn, client = bench.slow(1_000_000)
    for _ in range(40):
        read(bench, client, 25_000)
        clock.now += 1
        bench.responses.close_slow()
    assert bench.host.kept == [conn]


def test_a_connection_that_is_given_up_is_reset_so_that_no_answer_is_taken_for_a_whole_one(
    bench: UnsentBench, clock: Clock
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname(), 5) as far:
        near, _ = listener.accept()
        conn, _ = bench.slow(10)
        conn.sock.close()
        conn.sock = near
        bench.responses = UnsentResponses(bench.host, most_bytes=MOST, timeout=TIMEOUT, clock=clock, unread=lambda _: 0)
        bench.responses.take(conn, memoryview(bytes(2_000_000)))
        clock.now += 1e6
        bench.responses.close_slow()
        with pytest.raises(ConnectionResetError):
            far.recv(1)


# The bound on memory


def test_beyond_the_bound_the_largest_goes(bench: UnsentBench, clock: Clock) -> None:
    for size in (900_000, 1_400_000, 600_000):
        bench.slow(size)
    clock.now += SPARED
    bench.slow(500_000)
    assert bench.responses.held == 2_000_000
    assert bench.host.nr_conns == 3


def test_one_that_has_just_come_is_spared_though_it_is_the_largest(bench: UnsentBench, clock: Clock) -> None:
    bench.slow(900_000)
    clock.now += SPARED
    bench.slow(2_500_000)
    assert bench.responses.held == 2_500_000


def test_of_many_that_have_just_come_the_largest_go(bench: UnsentBench) -> None:
    for size in (1_000_000, 2_900_000, 500_000):
        bench.slow(size)
    assert bench.responses.held == 1_500_000


def test_of_two_that_are_as_large_the_slower_goes(lines: Lines) -> None:
    slow, fast = lines.connect(), lines.connect()
    responses = {conn: UnsentResponse(memoryview(bytes(1_000_000)), 0.0, TIMEOUT, 0) for conn in (slow, fast)}
    responses[slow].advance(100_000)
    responses[fast].advance(100_000)
    responses[fast].began = 10.0 - SPARED
    assert first_to_go(responses, 10.0) is slow


def test_one_answer_that_is_larger_than_the_bound_is_sent_as_long_as_it_is_alone(bench: UnsentBench) -> None:
    bench.slow(MOST + 1)
    assert len(bench.responses) == 1
    bench.slow(1000)
    assert bench.responses.held == 1000


def test_it_is_told_once_in_a_while(bench: UnsentBench, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        bench.slow(1000)
        for _ in range(3):
            bench.slow(MOST + 1)
        clock.now += LOG_EVERY
        bench.slow(MOST + 1)
    first, second = (record.getMessage() for record in caplog.records)
    assert "max_unsent_bytes" in first
    assert "so 1 connections" in first
    assert "so 3 connections" in second
