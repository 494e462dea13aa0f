"""What becomes of requests that have begun to arrive: which wait, which get a thread, which are refused."""

from __future__ import annotations

import socket
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from api.cors_headers import CorsHeaders
from serving.intake import MOST_AWAITED, MOST_OPERATIONS, MOST_SAVED, OPERATIONS_SHARE
from tests.serving.conftest import answers_in, received_by
from tests.serving.main_thread_bench import HEALTH, LIVE, READ_TIMEOUT, Bench, is_closed
from tests.support.service import embed_request

if TYPE_CHECKING:
    from serving.connection import Connection
    from tests.serving.conftest import Clock


def begun(bench: Bench, request: bytes) -> Connection:
    """Return the connection of a client whose request gets a thread now."""
    bench.client(request)
    return bench.take()


# Heads that are not whole


def test_half_a_head_holds_no_thread_and_the_rest_is_added(bench: Bench) -> None:
    request = embed_request("a")
    client = bench.client(request[:20])
    for end in (30, 40, len(request)):
        assert bench.hand_out(9) == []
        client.sendall(request[end - 10 if end < 50 else 40 : end])
        bench.host.turn(1.0)
    conn = bench.take()
    conn.prepare(1.0)
    assert conn.parser.unreader.buf.getvalue() == request


def test_half_a_head_is_told_408_when_its_time_is_over_however_it_drips(bench: Bench) -> None:
    client = bench.client(b"POST /embed HTTP/1.1\r\n")
    for _ in range(4):
        bench.pass_time(READ_TIMEOUT / 4 - 0.001)
        client.sendall(b"X")
        bench.host.turn(1.0)
    bench.pass_time(0.004)
    (answer,) = answers_in(received_by(client))
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert bench.counted == [408]


def test_a_thread_counts_on_from_what_a_head_took_to_arrive(bench: Bench) -> None:
    client = bench.client(HEALTH[:10])
    bench.clock.now += 2.0
    client.sendall(HEALTH[10:])
    bench.host.turn(1.0)
    assert bench.take().spent == 2.0


def test_a_client_that_leaves_within_a_head_gets_no_response(bench: Bench) -> None:
    client = bench.client(b"POST /emb")
    client.shutdown(socket.SHUT_WR)
    bench.host.turn(1.0)
    assert client.recv(1) == b""
    assert bench.host.nr_conns == 0


def test_a_client_that_breaks_within_a_head_is_forgotten(bench: Bench) -> None:
    client = bench.client(b"POST /emb")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    bench.host.turn(1.0)
    assert bench.host.nr_conns == 0


def test_a_head_that_is_malformed_already_is_refused_by_a_thread_at_once(bench: Bench) -> None:
    assert begun(bench, b"nonsense\r\n").ahead == b"nonsense\r\n"


# Bodies that are not whole


def test_a_body_that_has_not_come_holds_no_thread_and_no_place(bench: Bench) -> None:
    request = embed_request("a")
    client = bench.client(request[:-5])
    client.sendall(request[-5:-2])
    bench.host.turn()
    assert bench.intake.busy == 0
    client.sendall(request[-2:])
    bench.host.turn(1.0)
    conn = bench.take()
    conn.prepare(1.0)
    assert conn.parser.unreader.buf.getvalue() == request[:-5]
    assert conn.sock.recv(100) == request[-5:]


def test_a_head_and_its_body_share_one_deadline(bench: Bench) -> None:
    request = embed_request("a", "X-Request-Id: mine\r\n")
    client = bench.client(request[:10])
    bench.pass_time(READ_TIMEOUT - 1.0)
    client.sendall(request[10:-5])
    bench.host.turn(1.0)
    bench.pass_time(1.0)
    (answer,) = answers_in(received_by(client))
    assert (answer.status, answer.headers["x-request-id"]) == (408, "mine")
    assert bench.counted == [408]


def test_a_thread_counts_on_from_what_a_body_took_to_arrive(bench: Bench) -> None:
    request = embed_request("a")
    client = bench.client(request[:-5])
    bench.clock.now += 2.0
    client.sendall(request[-5:])
    bench.host.turn(1.0)
    assert bench.take().spent == 2.0


def test_a_body_that_has_not_come_is_refused_at_once_where_more_have_come_than_can_be_served(bench: Bench) -> None:
    for _ in range(2):
        bench.client(embed_request("a"))
    outside = bench.client(embed_request("a")[:-5])
    assert answers_in(received_by(outside))[0].status == 429


def test_a_client_that_leaves_within_a_body_is_left_to_a_thread(bench: Bench) -> None:
    client = bench.client(embed_request("a")[:-5])
    client.shutdown(socket.SHUT_WR)
    bench.host.turn(1.0)
    assert bench.take().ahead


def test_of_a_long_body_only_the_beginning_is_waited_for(bench: Bench) -> None:
    head, _, body = embed_request("a" * 2 * MOST_AWAITED).partition(b"\r\n\r\n")
    client = bench.client(head + b"\r\n\r\n")
    client.sendall(body[: MOST_AWAITED - 1])
    bench.host.turn()
    assert bench.intake.busy == 0
    client.sendall(b"a")
    bench.host.turn(1.0)
    assert bench.intake.busy == 1


def test_an_empty_line_before_a_post_makes_it_no_other_request(bench: Bench) -> None:
    """RFC 9112, 2.2. Such posts have the places of posts, and 429 beyond them."""
    for _ in range(2):
        bench.client(b"\r\n" + embed_request("a"))
    assert bench.intake.busy == 2
    outside = bench.client(b"\r\n" + embed_request("a"))
    assert answers_in(received_by(outside))[0].status == 429


# POST requests, and the surplus of them


def test_requests_get_their_threads_in_the_order_in_which_they_came(clock: Clock) -> None:
    bench = Bench(clock, room=9)
    clients = [bench.client(embed_request("a")) for _ in range(3)]
    given = [*bench.hand_out(1), *bench.hand_out(9)]
    assert [conn.client for conn in given] == [client.getsockname() for client in clients]
    for conn in given:
        conn.close()
    bench.close()


def test_clients_that_only_leave_take_no_place_from_those_that_ask(bench: Bench) -> None:
    first, *others = bench.connect(20)
    first.sendall(embed_request("a"))
    bench.host.turn(1.0)
    for client in others:
        client.close()
    while bench.host.nr_conns > 1:
        bench.host.turn(1.0)
    assert bench.intake.busy == 1
    assert bench.counted == []


def test_a_post_beyond_the_room_is_answered_429_and_counted(bench: Bench) -> None:
    inside = [bench.client(embed_request("a")) for _ in range(2)]
    outside = bench.client(embed_request("a", "X-Request-Id: mine\r\n"))
    (answer,) = answers_in(received_by(outside))
    assert answer.status == 429
    assert answer.json["error_type"] == "Overloaded"
    assert answer.json["request_id"] == answer.headers["x-request-id"] == "mine"
    assert answer.headers["retry-after"] in {"1", "2", "3"}
    assert answer.headers["connection"] == "close"
    assert bench.counted == [429]
    assert bench.intake.refused == 1
    assert bench.host.nr_conns == len(inside)


def test_a_page_of_another_origin_may_read_its_429(bench: Bench) -> None:
    bench.host.wsgi = SimpleNamespace(extensions={"cors_headers": CorsHeaders(["https://a", "https://b"])})
    for _ in range(2):
        bench.client(embed_request("a"))
    outside = bench.client(embed_request("a", "Origin: https://b\r\n"))
    (answer,) = answers_in(received_by(outside))
    assert answer.headers["access-control-allow-origin"] == "https://b"


def test_a_surplus_request_without_a_harmless_identity_gets_a_new_one(bench: Bench) -> None:
    for _ in range(2):
        bench.client(embed_request("a"))
    outside = bench.client(embed_request("a", "X-Request-Id: <script>\r\n"))
    (answer,) = answers_in(received_by(outside))
    assert answer.headers["x-request-id"] == answer.json["request_id"] != "<script>"


def test_a_thread_that_waits_for_bytes_takes_no_place(bench: Bench) -> None:
    for _ in range(2):
        bench.client(embed_request("a"))
    bench.threads.that_wait = 1
    bench.client(embed_request("a"))
    assert bench.intake.busy == 3
    bench.client(embed_request("a"))
    assert bench.counted == [429]


def test_a_place_is_free_again_once_its_thread_has_finished(bench: Bench) -> None:
    for _ in range(4):
        bench.client(embed_request("a"))
        bench.take_one_back()
    assert bench.counted == []
    assert bench.intake.busy == 0


def test_what_was_read_to_decide_is_still_read_by_the_thread(bench: Bench) -> None:
    conn = begun(bench, b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
    conn.prepare(1.0)
    assert next(conn.parser).path == "/metrics"
    conn.close()


def test_a_surplus_request_that_is_not_whole_lingers_so_that_its_answer_is_not_torn_up(bench: Bench) -> None:
    for _ in range(2):
        bench.client(embed_request("a"))
    outside = bench.client(embed_request("a")[:-1])
    (answer,) = answers_in(received_by(outside))
    assert answer.status == 429
    assert bench.host.nr_conns == 3
    outside.close()
    bench.host.turn(1.0)
    assert bench.host.nr_conns == 2


def test_with_no_thread_at_all_a_request_is_told_503(bench: Bench) -> None:
    client = bench.client(embed_request("a"))
    bench.intake.turn_away(bench.take())
    (answer,) = answers_in(received_by(client))
    assert (answer.status, answer.headers["connection"]) == (503, "close")
    assert bench.counted == [503]
    assert (bench.host.nr_conns, bench.intake.busy) == (0, 0)


# All other requests


def test_few_of_them_have_a_thread_at_a_time(bench: Bench) -> None:
    for _ in range(MOST_OPERATIONS + 2):
        bench.client(HEALTH)
    given = bench.hand_out(9)
    assert len(given) == MOST_OPERATIONS
    assert bench.intake.timeout(1.0) == 1.0
    assert bench.hand_out(9) == []
    bench.intake.take_back(given[0])
    assert len(bench.hand_out(9)) == 1


def test_they_take_no_place_from_a_post(bench: Bench) -> None:
    for _ in range(9):
        bench.client(HEALTH)
    for _ in range(2):
        bench.client(embed_request("a"))
    assert bench.counted == []


def test_beside_posts_they_have_a_share_of_the_time_and_get_their_threads_a_little_later(bench: Bench) -> None:
    bench.client(embed_request("a"))
    bench.take()
    bench.client(HEALTH)
    conn = bench.take()
    bench.intake.take_back(conn, MOST_SAVED + 0.1)
    bench.client(HEALTH)
    assert bench.hand_out(9) == []
    wait = bench.intake.timeout(10.0)
    assert wait == pytest.approx(0.1 / OPERATIONS_SHARE, rel=0.1)
    bench.clock.now += wait
    assert len(bench.hand_out(9)) == 1


def test_alone_they_have_all_of_the_time(bench: Bench) -> None:
    bench.client(HEALTH)
    bench.intake.take_back(bench.take(), 100.0)
    bench.client(HEALTH)
    assert len(bench.hand_out(9)) == 1


# Liveness


def test_liveness_is_answered_at_once_though_no_thread_is_free(bench: Bench) -> None:
    for _ in range(9):
        bench.client(HEALTH)
    busy = bench.intake.busy
    client = bench.client(LIVE)
    (answer,) = answers_in(client.recv(1000))
    assert (answer.status, answer.headers["connection"], answer.body) == (200, "keep-alive", b"{}")
    assert bench.intake.busy == busy
    assert len(bench.host.kept) == 1
    assert len(bench.liveness.counted) == 1


def test_liveness_closes_where_the_worker_must(bench: Bench) -> None:
    bench.host.closes = True
    (answer,) = answers_in(received_by(bench.client(LIVE)))
    assert answer.headers["connection"] == "close"


def test_a_client_that_has_left_is_no_trouble(bench: Bench) -> None:
    (client,) = bench.connect()
    client.sendall(LIVE)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    bench.host.turn(1.0)
    assert bench.host.nr_conns == 0


def test_liveness_is_asked_of_the_application_until_that_is_loaded(bench: Bench) -> None:
    bench.host.wsgi = None
    client = bench.client(LIVE)
    assert not is_closed(client)
    assert len(bench.hand_out(9)) == 1


# What fails on the main thread


def test_a_connection_that_fails_ends_alone(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(seconds: float) -> None:
        raise ValueError("the metrics are full")

    bench.liveness.count = fail  # type: ignore[method-assign]
    failing = bench.client(LIVE)
    assert is_closed(failing)
    assert bench.host.nr_conns == 0
    (record,) = caplog.records
    assert "a connection failed on the main thread" in record.getMessage()
    bench.client(embed_request("a"))
    assert bench.intake.busy == 1


def test_a_connection_that_has_waited_long_for_its_answer_still_asks_all_the_time(bench: Bench) -> None:
    bench.client(embed_request("a"))
    bench.take()
    waiting = bench.client(HEALTH)
    bench.clock.now += 100.0
    conn = bench.take()
    bench.intake.take_back(conn, MOST_SAVED + 1.0)
    waiting.sendall(HEALTH)
    conn.ahead = b""
    conn.prepare(1.0)
    conn.sock.setblocking(False)
    bench.host.nr_conns += 1
    bench.intake.begin(conn)
    probe = bench.client(HEALTH)
    bench.clock.now += 100.0
    assert bench.hand_out()[0].client == probe.getsockname()
