"""A head that is known is not parsed again, and means to the byte what gunicorn made of it the first time."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.http.errors import NoMoreData, ParseException
from hypothesis import example, given
from hypothesis import strategies as st

from api.body import BrokenBodyError, TooSlowError
from api.environ import IS_GONE
from serving.exchange import is_drained, read_request
from serving.heads import LONGEST_HEAD, MOST_HEADS, MOST_SEEN, ReceivedBody
from tests.serving.conftest import SETTINGS, Lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.connection import Connection

HEAD = b"POST /embed?a=%20b HTTP/1.1\r\nHost: here:80\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 4\r\n\r\n"


def receive(lines: Lines, conn: Connection, data: bytes = b"") -> tuple[Any, dict[str, Any]]:
    """Let the connection receive this and read a request of it."""
    if data:
        conn.parser.unreader.unread(data)
    exchange = read_request(conn, lines.heads, time.monotonic() + 0.05)
    return exchange.request, exchange.environ


def teach(lines: Lines, conn: Connection, head: bytes = HEAD) -> dict[str, Any]:
    """Let it come as often as it takes to be known; return what gunicorn made of it."""
    for _ in range(2):
        request, environ = receive(lines, conn, head + b"abcd")
        assert not is_recalled(request)
        assert environ["wsgi.input"].read() == b"abcd"
    return environ


def is_recalled(request: Any) -> bool:
    return isinstance(request.body, ReceivedBody)


def ours(environ: dict[str, Any]) -> dict[str, Any]:
    """The environment, without objects that are new each time."""
    return {
        name: value
        for name, value in environ.items()
        if name not in {"wsgi.input", "wsgi.errors", "wsgi.early_hints", "gunicorn.socket", IS_GONE}
    }


def test_the_third_request_with_a_head_is_recalled_and_is_the_same(lines: Lines) -> None:
    conn = lines.connect()
    receive(lines, conn, HEAD + b"abcd")[1]["wsgi.input"].read()
    first, parsed = receive(lines, conn, HEAD + b"abcd")
    assert not is_recalled(first)
    assert parsed["wsgi.input"].read() == b"abcd"
    second, recalled = receive(lines, conn, HEAD + b"efgh")
    assert is_recalled(second)
    assert ours(recalled) == ours(parsed)
    assert recalled["wsgi.input"].read() == b"efgh"
    assert recalled["gunicorn.socket"] is conn.sock
    assert (second.method, second.path, second.query, second.version) == ("POST", "/embed", "a=%20b", (1, 1))
    assert second.headers == first.headers
    assert second.should_close() == first.should_close()


def test_a_head_learned_from_one_connection_serves_another_under_its_own_address(lines: Lines) -> None:
    teach(lines, lines.connect())
    other = lines.connect(("10.0.0.2", 5678))
    request, environ = receive(lines, other, HEAD + b"efgh")
    assert is_recalled(request)
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("10.0.0.2", "5678")
    assert request.remote_addr == request.peer_addr == ("10.0.0.2", 5678)


def test_each_listener_has_heads_of_its_own(lines: Lines) -> None:
    teach(lines, lines.connect())
    request, environ = receive(lines, lines.connect(server=("127.0.0.1", 81)), HEAD + b"abcd")
    assert not is_recalled(request)
    assert environ["SERVER_PORT"] == "81"


def test_clients_of_a_unix_socket_have_no_port(lines: Lines) -> None:
    conn = lines.connect(client="", server="/run/proxy.sock")
    teach(lines, conn)
    request, environ = receive(lines, conn, HEAD + b"abcd")
    assert is_recalled(request)
    assert environ["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in environ


def test_what_a_request_changes_in_its_environment_the_next_one_does_not_see(lines: Lines) -> None:
    conn = lines.connect()
    for _ in range(4):
        _, environ = receive(lines, conn, HEAD + b"abcd")
        assert "mine" not in environ
        environ["mine"] = environ["HTTP_HOST"] = "changed"
        environ["wsgi.input"].read()
    assert receive(lines, conn, HEAD + b"abcd")[1]["HTTP_HOST"] == "here:80"


def test_requests_sent_at_once_are_read_one_after_the_other(lines: Lines) -> None:
    conn = lines.connect()
    teach(lines, conn)
    bodies = []
    conn.parser.unreader.unread(HEAD + b"1111" + HEAD + b"2222" + HEAD + b"33")
    for _ in range(2):
        request, environ = receive(lines, conn)
        assert is_recalled(request)
        assert is_drained(request)
        bodies.append(environ["wsgi.input"].read())
    assert bodies == [b"1111", b"2222"]
    assert conn.has_bytes()
    third, environ = receive(lines, conn)
    assert not is_recalled(third)
    with pytest.raises(TooSlowError):
        environ["wsgi.input"].read(4)


def test_an_unread_body_does_not_become_the_next_request(lines: Lines) -> None:
    conn = lines.connect()
    teach(lines, conn)
    request, _ = receive(lines, conn, HEAD + b"GET ")
    assert is_recalled(request)
    assert is_drained(request)
    assert not conn.has_bytes()
    assert receive(lines, conn, HEAD + b"next")[1]["wsgi.input"].read() == b"next"


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nX: " + b"x" * LONGEST_HEAD + b"\r\n\r\n",
    ],
    ids=["chunks", "a long head"],
)
def test_chunks_and_long_heads_are_not_remembered(lines: Lines, head: bytes) -> None:
    conn = lines.connect()
    for _ in range(3):
        receive(lines, conn, head + b"0\r\n\r\n"[: 5 * (b"chunked" in head)])[1]["wsgi.input"].read()
    assert lines.heads.find(conn.server, head) is None


def test_a_client_that_expects_to_be_told_to_continue_is_told_each_time(lines: Lines) -> None:
    head = HEAD.replace(b"X-A: 1", b"Expect: 100-continue")
    for _ in range(3):
        request, environ = receive(lines, lines.connect(), head)
        assert not is_recalled(request)
        with pytest.raises(TooSlowError):
            environ["wsgi.input"].read()
        assert lines.far_ends[-1].recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("lines_of_it", [b"Connection: keep-alive, close", b"Connection: x\r\nconnection: CLOSE"])
def test_a_client_that_lets_its_connection_end_is_understood_each_time(lines: Lines, lines_of_it: bytes) -> None:
    head = HEAD.replace(b"X-A: 1", lines_of_it)
    for _ in range(2):
        receive(lines, lines.connect(), head + b"abcd")
    request, _ = receive(lines, lines.connect(), head + b"abcd")
    assert is_recalled(request)
    assert request.should_close()


def test_a_later_minor_version_is_answered_as_the_one_that_is_spoken_each_time(lines: Lines) -> None:
    head = HEAD.replace(b"HTTP/1.1", b"HTTP/1.9")
    conn = lines.connect()
    teach(lines, conn, head)
    request, _ = receive(lines, conn, head + b"abcd")
    assert is_recalled(request)
    assert (request.version, request.should_close()) == ((1, 1), False)


def test_heads_that_never_come_again_are_not_kept_and_not_counted_without_end(lines: Lines) -> None:
    conn = lines.connect()
    for number in range(MOST_SEEN + 10):
        receive(lines, conn, HEAD.replace(b"X-A: 1", b"X-A: %d" % number) + b"abcd")[1]["wsgi.input"].read()
    assert repr(lines.heads) == "<Heads: 0 known, 10 seen once>"


def test_the_number_of_heads_is_bounded_and_the_oldest_go_first(lines: Lines) -> None:
    heads = [HEAD.replace(b"X-A: 1", b"X-A: %d" % number) for number in range(MOST_HEADS + 1)]
    conn = lines.connect()
    for head in heads:
        teach(lines, conn, head)
    known = [lines.heads.find(conn.server, head) is not None for head in heads]
    assert known == [False] + [True] * MOST_HEADS


@pytest.mark.parametrize(
    "refused",
    [
        HEAD.replace(b"Host: here:80\r\n", b""),
        HEAD.replace(b"X-A: 1", b"Transfer-Encoding: gzip, chunked"),
        HEAD.replace(b"X-A: 1", b"Content-Length: 4"),
    ],
    ids=["no host", "coded", "two lengths"],
)
def test_a_request_that_is_refused_once_is_refused_again(lines: Lines, refused: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ParseException):
            receive(lines, lines.connect(), refused + b"abcd")


@pytest.mark.parametrize("size", range(8))
def test_half_a_head_is_never_known_whatever_follows_it(lines: Lines, size: int) -> None:
    """Otherwise one client could choose what the cut-off beginning of another's request means."""
    for _ in range(3):
        conn = lines.connect()
        conn.parser.unreader.unread(b"GET /health/live HTTP/1.1\r\nHost: attacker\r\nX-Pad: aaaa")
        begun = len(conn.parser.unreader.buf.getvalue())
        lines.far_ends[-1].send(b"\r\n\r\n" + b"x" * (begun - size))
        receive(lines, conn)
    victim = lines.connect()
    victim.parser.unreader.unread(b"GET /metrics HTTP/1.1\r\nHost: vic")
    lines.far_ends[-1].send(b"tim\r\n\r\n")
    request, environ = receive(lines, victim)
    assert not is_recalled(request)
    assert (environ["PATH_INFO"], environ["HTTP_HOST"]) == ("/metrics", "victim")


TOKENS = st.sampled_from(
    [
        *(b"GET", b"POST", b" ", b"/", b"/embed", b"?q=%41", b"http://h/x", b"*", b" HTTP/1.1", b" HTTP/1.0", b"\r\n"),
        *(b"Host: h\r\n", b"Content-Length: 2\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
        *(
            b"Connection: close\r\n",
            b"X: y\r\n",
            b" folded\r\n",
            b"A_B: c\r\n",
            b"\r",
            b"\n",
            b"\0",
            b"\xe9",
            b"\r\n\r\n",
        ),
        *(
            b"POST /embed HTTP/1.1\r\nHost: h\r\n",
            b"hi",
            b"0\r\n\r\n",
            b"Upgrade: h2c\r\n",
            b"Expect: 100-continue\r\n",
        ),
    ]
)


@example(HEAD + b"abcd")
@given(st.lists(TOKENS, max_size=12).map(b"".join))
def test_a_request_means_the_third_time_what_it_meant_the_first_time(data: bytes) -> None:
    lines = Lines()
    try:
        first, second, third = (outcome(lambda: receive(lines, lines.connect(ended=True), data)) for _ in range(3))
    finally:
        lines.close()
    assert first == second == third


def outcome(action: Callable[[], tuple[Any, dict[str, Any]]]) -> Any:
    """Everything that can be seen of a request, or the kind of error."""
    try:
        request, environ = action()
    except (ParseException, NoMoreData, StopIteration) as problem:
        return type(problem), str(problem)
    seen = {name: value for name, value in vars(request).items() if name not in {"unreader", "body", "cfg"}}
    body: object = None
    with suppress(BrokenBodyError):
        body = environ["wsgi.input"].read(100)
    return seen, ours(environ), body, request.should_close(), request.unreader.buf.getvalue()


def test_a_name_that_is_dropped_is_dropped_from_a_remembered_head_too(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SETTINGS, "header_map", "drop")
    head = HEAD.replace(b"X-A: 1", b"X-A: 1\r\nX_A: 3\r\nContent_Length: 2\r\nTransfer_Encoding: chunked")
    for _ in range(3):
        request, environ = receive(lines, lines.connect(), head + b"abcd")
        assert environ["HTTP_X_A"] == "1,2"
        assert environ["wsgi.input"].read() == b"abcd"
        assert not any("_" in name for name, _ in request.headers)
    assert is_recalled(request)
