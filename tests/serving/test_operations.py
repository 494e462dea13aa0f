"""The order in which requests that are not POST get their threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving.operations import SELDOM, Operations

if TYPE_CHECKING:
    from serving.connection import Connection
    from tests.serving.conftest import Lines


def asking(lines: Lines, path: str) -> Connection:
    conn = lines.connect(prepared=False)
    conn.ahead = f"GET {path} HTTP/1.1\r\n\r\n".encode()
    return conn


def test_they_are_served_in_the_order_in_which_they_came(lines: Lines) -> None:
    operations, conns = Operations(), [asking(lines, "/metrics") for _ in range(3)]
    for conn in conns:
        operations.add(conn, 0.0)
    assert len(operations) == 3
    assert [operations.pop() for _ in conns] == conns
    assert len(operations) == 0


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health?x", "/ping", "/"])
def test_a_probe_does_not_wait_for_all_that_ask_for_metrics(lines: Lines, path: str) -> None:
    operations, probe = Operations(), asking(lines, path)
    for _ in range(5):
        operations.add(asking(lines, "/metrics"), 0.0)
    operations.add(probe, 0.0)
    assert probe in (operations.pop(), operations.pop())


def test_metrics_do_not_wait_for_all_that_probe(lines: Lines) -> None:
    operations, scrape = Operations(), asking(lines, "/metrics")
    for _ in range(5):
        operations.add(asking(lines, "/health"), 0.0)
    operations.add(scrape, 0.0)
    assert scrape in (operations.pop(), operations.pop())


def test_one_that_asks_seldom_goes_before_those_that_ask_all_the_time(lines: Lines) -> None:
    operations = Operations()
    often, seldom, new = (asking(lines, "/health") for _ in range(3))
    often.operated, seldom.operated = 0.1, 0.0
    for conn in (often, seldom, new):
        operations.add(conn, SELDOM)
    assert [operations.pop() for _ in range(3)] == [seldom, new, often]


def test_with_none_that_waits_there_is_no_next_one() -> None:
    with pytest.raises(IndexError):
        Operations().pop()
