"""How a pool thread serves a connection's requests, and what it answers when one fails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from api.body import TooSlowError
from tests.serving.attendant_bench import AttendantBench
from tests.serving.conftest import answers_in
from tests.support.service import embed_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving.connection import Unreader
    from tests.serving.conftest import Lines

MUCH_LATER = 1e12


@pytest.fixture
def bench(lines: Lines) -> AttendantBench:
    return AttendantBench(lines)


def test_the_requests_of_a_connection_are_served_one_after_the_other_in_one_context(bench: AttendantBench) -> None:
    conn, client = bench.client(sends=embed_request("a") + embed_request("b"), leaves=True)
    assert not bench.attendant.attend(conn)
    assert bench.app.served == [b'{"inputs": "a"}', b'{"inputs": "b"}']
    assert bench.app.contexts == 1
    answers = answers_in(client.recv(65_536))
    assert [(each.status, each.headers["connection"], each.body) for each in answers] == [
        (200, "keep-alive", b"ok"),
        (200, "keep-alive", b"ok"),
    ]


def test_a_connection_goes_to_the_poller_if_enough_threads_wait_already(lines: Lines) -> None:
    bench = AttendantBench(lines, idle_limit=0)
    conn, client = bench.client(sends=embed_request("a"))
    assert bench.attendant.attend(conn)
    assert len(answers_in(client.recv(65_536))) == 1


def test_a_thread_waits_for_bytes_that_the_poller_saw_even_beyond_the_limit(lines: Lines) -> None:
    bench = AttendantBench(lines, idle_limit=0)
    conn, _ = bench.client(sends=embed_request("a"))
    assert bench.attendant.attend(conn)
    conn, _ = bench.client(leaves=True)
    assert not bench.attendant.attend(conn)


def test_a_connection_goes_to_the_poller_once_it_has_been_silent_for_a_while(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.connection.READ_BLOCKS_FOR", 0.01)
    bench = AttendantBench(lines)
    conn, _ = bench.client(sends=embed_request("a"))
    assert bench.attendant.attend(conn)
    assert bench.attendant.waiting() == 0


def test_a_thread_that_waits_for_the_next_request_is_counted_as_waiting(bench: AttendantBench) -> None:
    conn, _ = bench.client(leaves=True)
    counted = []
    await_bytes = conn.await_bytes

    def count_and_wait() -> bool:
        counted.append(bench.attendant.waiting())
        return await_bytes()

    conn.await_bytes = count_and_wait  # type: ignore[method-assign]
    bench.attendant.attend(conn)
    assert counted == [1]
    assert bench.attendant.waiting() == 0


def test_a_worker_that_stops_answers_and_closes(bench: AttendantBench) -> None:
    bench.host.alive = False
    conn, client = bench.client(sends=embed_request("a"))
    assert not bench.attendant.attend(conn)
    (answer,) = answers_in(client.recv(65_536))
    assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_with_too_many_connections_kept_alive_a_response_closes_its_own(bench: AttendantBench) -> None:
    bench.host.is_full = True
    conn, client = bench.client(sends=embed_request("a"))
    assert not bench.attendant.attend(conn)
    assert answers_in(client.recv(65_536))[0].headers["connection"] == "close"


def test_a_malformed_request_is_refused_in_json_and_logged(
    bench: AttendantBench, caplog: pytest.LogCaptureFixture
) -> None:
    conn, client = bench.client(sends=b"GET / HTTP/1.1\r\nHost: h\r\nbad header: x\r\n\r\n")
    assert not bench.attendant.attend(conn)
    (answer,) = answers_in(client.recv(65_536))
    assert (answer.status, answer.json["error_type"]) == (400, "BadRequest")
    assert "bad header" in answer.json["error"]
    assert bench.app.served == []
    assert "Invalid request from ip=10.0.0.1" in caplog.text


def test_a_coding_that_is_not_supported_is_no_unexpected_error(
    bench: AttendantBench, caplog: pytest.LogCaptureFixture
) -> None:
    conn, client = bench.client(sends=b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")
    assert not bench.attendant.attend(conn)
    (answer,) = answers_in(client.recv(65_536))
    assert (answer.status, answer.json["error_type"]) == (501, "NotImplemented")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.records[0].exc_info is None


def test_a_request_that_is_too_slow_is_refused_with_408(lines: Lines) -> None:
    bench = AttendantBench(lines, read_timeout=0.0)
    conn, client = bench.client(sends=b"POST /embed HTTP/1.1\r\n")
    assert not bench.attendant.attend(conn)
    (answer,) = answers_in(client.recv(65_536))
    assert (answer.status, answer.json["error_type"]) == (408, "RequestTimeout")


@pytest.mark.parametrize("sent", [b"", b"POST /emb"])
def test_a_client_that_leaves_before_its_request_is_whole_gets_no_response(bench: AttendantBench, sent: bytes) -> None:
    conn, client = bench.client(sends=sent, leaves=True)
    assert not bench.attendant.attend(conn)
    conn.close()
    assert client.recv(1) == b""


def test_an_application_that_raises_is_answered_500_without_its_words_and_logged(
    bench: AttendantBench, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("secret")

    bench.app.during = fail
    conn, client = bench.client(sends=embed_request("a"))
    assert not bench.attendant.attend(conn)
    (answer,) = answers_in(client.recv(65_536))
    assert answer.status == 500
    assert "secret" not in answer.json["error"]
    assert "Error handling request POST /embed" in caplog.text
    assert "secret" in caplog.text


def test_a_response_that_breaks_off_is_not_followed_by_a_second_one(bench: AttendantBench) -> None:
    def break_off() -> Iterator[bytes]:
        yield b"o"
        raise ValueError("broke")

    bench.app.pieces = break_off
    conn, client = bench.client(sends=embed_request("a"))
    assert not bench.attendant.attend(conn)
    conn.close()
    received = client.recv(65_536)
    assert received.count(b"HTTP/1.1") == 1
    assert received.endswith(b"\r\n\r\no")


def test_a_connection_that_breaks_ends_quietly(bench: AttendantBench, caplog: pytest.LogCaptureFixture) -> None:
    def reset() -> None:
        raise ConnectionResetError("reset")

    bench.app.during = reset
    conn, _ = bench.client(sends=embed_request("a"))
    assert not bench.attendant.attend(conn)
    assert caplog.text == ""


def test_the_applications_chunks_are_closed(bench: AttendantBench) -> None:
    class Pieces(list[bytes]):
        closed = False

        def close(self) -> None:
            self.closed = True

    pieces = Pieces([b"ok"])
    bench.app.pieces = lambda: pieces
    conn, _ = bench.client(sends=embed_request("a"), leaves=True)
    bench.attendant.attend(conn)
    assert pieces.closed


@pytest.mark.parametrize("stays", [True, False])
def test_what_a_client_does_not_take_of_its_response_goes_to_the_main_thread(
    bench: AttendantBench, stays: bool
) -> None:
    bench.app.length = 10_000_000
    bench.app.pieces = lambda: [bytes(10_000_000)]
    bench.host.is_full = not stays
    conn, _ = bench.client(sends=embed_request("a"))
    assert bench.attendant.attend(conn)
    assert conn.unsent is not None
    assert 0 < len(conn.unsent) < 10_000_000
    assert conn.stays is stays


def test_stopping_to_read_ends_a_connection_after_the_response_under_way(bench: AttendantBench) -> None:
    bench.app.during = bench.attendant.stop_reading
    conn, client = bench.client(sends=embed_request("a"))
    assert not bench.attendant.attend(conn)
    assert answers_in(client.recv(65_536))[0].status == 200


def test_only_the_slowest_requests_are_given_up(bench: AttendantBench, lines: Lines) -> None:
    unreaders = []
    now = time.monotonic()
    for deadline in (now + 4.0, now + 3.8, now + 3.9):  # of five seconds
        conn = lines.connect()
        lines.far_ends[-1].sendall(b"x")
        unreader: Unreader = conn.parser.unreader
        unreader.deadline = deadline
        bench.attendant.readers.add(unreader)
        unreaders.append(unreader)
    assert bench.attendant.waiting() == 3
    bench.attendant.end_slowest(2)
    assert unreaders[0].chunk() == b"x"
    for unreader in unreaders[1:]:
        with pytest.raises(TooSlowError):
            unreader.chunk()


def test_a_request_that_has_only_begun_to_arrive_is_not_given_up(bench: AttendantBench, lines: Lines) -> None:
    unreader: Unreader = lines.connect().parser.unreader
    lines.far_ends[-1].sendall(b"x")
    unreader.deadline = MUCH_LATER
    bench.attendant.readers.add(unreader)
    bench.attendant.end_slowest(1)
    assert unreader.chunk() == b"x"
