"""Connections that the main loop's poller watches, each until a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving.watched import MOST_LOOKED_AT, Watched
from tests.serving.main_thread_bench import FakeHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving.connection import Connection
    from tests.serving.conftest import Lines


class WatchedBench:
    def __init__(self, lines: Lines) -> None:
        self.host = FakeHost()
        self.noticed: list[Connection] = []
        self.watched = Watched(self.host, self.noticed.append)
        self.lines = lines

    def add(self, until: float = 0.0, *, sends: bytes = b"") -> Connection:
        conn = self.lines.connect(prepared=False)
        self.lines.far_ends[-1].sendall(sends)
        self.host.nr_conns += 1
        self.watched.add(conn, until)
        return conn


@pytest.fixture
def bench(lines: Lines) -> Iterator[WatchedBench]:
    bench = WatchedBench(lines)
    yield bench
    bench.host.poller.close()


def test_each_event_of_a_connection_is_noticed_until_it_is_removed(bench: WatchedBench) -> None:
    conn = bench.add(sends=b"x")
    for _ in range(2):
        bench.host.turn()
    bench.watched.remove(conn)
    bench.host.turn()
    assert bench.noticed == [conn, conn]
    assert len(bench.watched) == 0


def test_an_event_that_comes_after_its_connection_was_removed_on_the_same_turn_is_none(bench: WatchedBench) -> None:
    conns = [bench.add(sends=b"x") for _ in range(2)]

    def remove_both(noticed: Connection) -> None:
        bench.noticed.append(noticed)
        for conn in conns:
            bench.watched.remove(conn)

    bench.watched._on_event = remove_both
    bench.host.turn()
    assert len(bench.noticed) == 1


def test_those_whose_time_is_over_are_given_back_in_order(bench: WatchedBench) -> None:
    first, second, third = (bench.add(until) for until in (1.0, 2.0, 3.0))
    assert bench.watched.expire(2.0) == [first, second]
    assert list(bench.watched) == [third]
    assert bench.watched.expire(2.5) == []


def test_the_oldest_is_told_only_if_its_time_is_over_by_then(bench: WatchedBench) -> None:
    assert bench.watched.oldest() is None
    first, _ = bench.add(1.0), bench.add(2.0)
    assert bench.watched.oldest(by=0.9) is None
    assert bench.watched.oldest(by=1.0) is first


def test_the_oldest_of_which_nothing_has_come_is_dropped(bench: WatchedBench) -> None:
    speaking, quiet, younger = bench.add(sends=b"x"), bench.add(), bench.add()
    assert bench.watched.drop_quiet()
    assert list(bench.watched) == [speaking, younger]
    assert quiet.sock.fileno() == -1
    assert bench.host.nr_conns == 2


def test_where_all_have_just_been_sent_something_none_is_dropped(bench: WatchedBench) -> None:
    for _ in range(MOST_LOOKED_AT):
        bench.add(sends=b"x")
    bench.add()
    assert not bench.watched.drop_quiet()


def test_a_connection_that_fails_is_closed_and_its_descriptor_can_be_watched_again(
    bench: WatchedBench, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Connection) -> None:
        raise ValueError("what went wrong")

    bench.watched._on_event = fail
    failed = bench.add(sends=b"x")
    bench.host.turn()
    assert (len(bench.watched), bench.host.nr_conns, failed.sock.fileno()) == (0, 0, -1)
    assert "what went wrong" in caplog.text
    assert len(bench.host.poller.get_map()) == 0
