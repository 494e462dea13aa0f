"""Which requests wait for a thread, and which are refused because more have come than can be served."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving.acceptor import is_whole
from tests.serving.acceptor_bench import HEALTH, AcceptorBench
from tests.serving.conftest import answers_in, received_by
from tests.support.service import chunked, embed_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serving.conftest import Clock


@pytest.fixture
def bench(clock: Clock) -> Iterator[AcceptorBench]:
    bench = AcceptorBench(clock)
    yield bench
    bench.close()


def test_clients_that_only_leave_take_no_place_from_those_that_ask(bench: AcceptorBench) -> None:
    first, *others = bench.connect(20)
    first.sendall(embed_request("a"))
    bench.host.turn(1.0)
    for client in others:
        client.close()
    while bench.host.nr_conns > 1:
        bench.host.turn(1.0)
    assert bench.acceptor.busy == 1
    assert bench.counted == []


def test_a_post_beyond_the_room_is_answered_429_and_counted(bench: AcceptorBench) -> None:
    inside = [bench.client(embed_request("a")) for _ in range(2)]
    outside = bench.client(embed_request("a", "X-Request-Id: mine\r\n"))
    (answer,) = answers_in(received_by(outside))
    assert answer.status == 429
    assert answer.json["error_type"] == "Overloaded"
    assert answer.json["request_id"] == answer.headers["x-request-id"] == "mine"
    assert answer.headers["retry-after"] in {"1", "2", "3"}
    assert answer.headers["connection"] == "close"
    assert bench.counted == [429]
    assert bench.acceptor.refused == 1
    assert bench.host.nr_conns == len(inside)


def test_a_surplus_request_without_a_harmless_identity_gets_a_new_one(bench: AcceptorBench) -> None:
    for _ in range(2):
        bench.client(embed_request("a"))
    outside = bench.client(embed_request("a", "X-Request-Id: <script>\r\n"))
    (answer,) = answers_in(received_by(outside))
    assert answer.headers["x-request-id"] == answer.json["request_id"] != "<script>"


def test_requests_that_may_ask_for_health_are_never_refused(bench: AcceptorBench) -> None:
    for _ in range(5):
        bench.client(HEALTH)
    assert bench.acceptor.busy == 5
    assert bench.counted == []


def test_a_thread_that_waits_for_bytes_takes_no_place(bench: AcceptorBench) -> None:
    for _ in range(2):
        bench.client(embed_request("a"))
    bench.attendant.threads_that_wait = 1
    bench.client(embed_request("a"))
    assert bench.acceptor.busy == 3
    bench.client(embed_request("a"))
    assert bench.counted == [429]


def test_what_was_read_to_decide_is_still_read_by_the_thread(bench: AcceptorBench) -> None:
    for _ in range(2):
        bench.client(HEALTH)
    bench.client(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
    *others, conn = bench.acceptor.hand_out(3)
    conn.prepare(1.0)
    assert next(conn.parser).path == "/metrics"
    for each in (*others, conn):
        each.close()


def test_a_surplus_request_that_is_not_whole_lingers_so_that_its_answer_is_not_torn_up(bench: AcceptorBench) -> None:
    for _ in range(2):
        bench.client(embed_request("a"))
    outside = bench.client(embed_request("a")[:-1])
    (answer,) = answers_in(received_by(outside))
    assert answer.status == 429
    assert bench.host.nr_conns == 3
    outside.close()
    bench.host.turn(1.0)
    assert bench.host.nr_conns == 2


@pytest.mark.parametrize(
    ("request_bytes", "whole"),
    [
        (embed_request("a"), True),
        (embed_request("a")[:-1], False),
        (embed_request("a") + b"P", False),
        (chunked(b"{}"), False),
        (b"POST / HTTP/1.1\r\nContent-Length: 2", False),
        (b"POST / HTTP/1.1\r\ncontent-length:0\r\n\r\n", True),
    ],
)
def test_a_whole_request_is_known_by_its_length(request_bytes: bytes, whole: bool) -> None:
    assert is_whole(request_bytes) == whole
