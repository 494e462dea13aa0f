"""A head that is known is not parsed again, and means to the byte what gunicorn made of it the first time."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData, ParseException
from hypothesis import example, given
from hypothesis import strategies as st

from api.body import TooSlowError
from serving.heads import LONGEST_HEAD, MOST_HEADS, MOST_SEEN, Heads, ReceivedBody
from serving.wire import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = SimpleNamespace(**{name: each.get() for name, each in Config().settings.items()}, is_ssl=False)
HEAD = b"POST /embed?a=%20b HTTP/1.1\r\nHost: here:80\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 4\r\n\r\n"


class Lines:
    """Connections that share what they know of heads."""

    def __init__(self) -> None:
        self.heads = Heads()
        self._open: list[Connection] = []
        self.far_ends: list[socket.socket] = []

    def connect(
        self, client: Any = ("10.0.0.1", 1234), server: Any = ("127.0.0.1", 80), *, ended: bool = False
    ) -> Connection:
        near, far = socket.socketpair()
        conn = Connection(SETTINGS, near, client, server, linger=lambda _: None, readers=set(), heads=self.heads)
        self._open.append(conn)
        self.far_ends.append(far)
        if ended:
            far.shutdown(socket.SHUT_WR)
        conn.attend(1.0)
        return conn

    def close(self) -> None:
        for each in (*self._open, *self.far_ends):
            each.close()


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines()
    yield lines
    lines.close()


def receive(conn: Connection, data: bytes = b"") -> tuple[Any, dict[str, Any]]:
    """Let the connection receive this and read a request of it."""
    if data:
        conn.parser.unreader.unread(data)
    request = conn.read_request(time.monotonic() + 0.05)
    return request, conn.answer_to(request)[1]


def teach(conn: Connection, head: bytes = HEAD) -> dict[str, Any]:
    """Let it come as often as it takes to be known; return what gunicorn made of it."""
    for _ in range(2):
        request, environ = receive(conn, head + b"abcd")
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
        if name not in {"wsgi.input", "wsgi.errors", "wsgi.early_hints", "gunicorn.socket"}
    }


def test_the_third_request_with_a_head_is_recalled_and_is_the_same(lines: Lines) -> None:
    conn = lines.connect()
    receive(conn, HEAD + b"abcd")[1]["wsgi.input"].read()
    first, parsed = receive(conn, HEAD + b"abcd")
    assert not is_recalled(first)
    assert parsed["wsgi.input"].read() == b"abcd"
    second, recalled = receive(conn, HEAD + b"efgh")
    assert is_recalled(second)
    assert ours(recalled) == ours(parsed)
    assert recalled["wsgi.input"].read() == b"efgh"
    assert recalled["gunicorn.socket"] is conn.sock
    assert (second.method, second.path, second.query, second.version) == ("POST", "/embed", "a=%20b", (1, 1))
    assert second.headers == first.headers
    assert second.should_close() == first.should_close()


def test_what_one_connection_taught_serves_the_others_under_their_own_address(lines: Lines) -> None:
    teach(lines.connect())
    other = lines.connect(("10.0.0.2", 5678))
    request, environ = receive(other, HEAD + b"efgh")
    assert is_recalled(request)
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("10.0.0.2", "5678")
    assert request.remote_addr == request.peer_addr == ("10.0.0.2", 5678)


def test_each_listener_has_its_own(lines: Lines) -> None:
    teach(lines.connect())
    request, environ = receive(lines.connect(server=("127.0.0.1", 81)), HEAD + b"abcd")
    assert not is_recalled(request)
    assert environ["SERVER_PORT"] == "81"


def test_clients_of_a_unix_socket_have_no_port(lines: Lines) -> None:
    conn = lines.connect(client="", server="/run/proxy.sock")
    teach(conn)
    request, environ = receive(conn, HEAD + b"abcd")
    assert is_recalled(request)
    assert environ["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in environ


def test_what_a_request_leaves_in_its_environment_is_nobody_elses(lines: Lines) -> None:
    conn = lines.connect()
    for _ in range(4):
        _, environ = receive(conn, HEAD + b"abcd")
        assert "mine" not in environ
        environ["mine"] = environ["HTTP_HOST"] = "changed"
        environ["wsgi.input"].read()
    assert receive(conn, HEAD + b"abcd")[1]["HTTP_HOST"] == "here:80"


def test_requests_sent_at_once_are_read_one_after_the_other(lines: Lines) -> None:
    conn = lines.connect()
    teach(conn)
    bodies = []
    conn.parser.unreader.unread(HEAD + b"1111" + HEAD + b"2222" + HEAD + b"33")
    for _ in range(2):
        request, environ = receive(conn)
        assert is_recalled(request)
        assert conn.is_drained(request)
        bodies.append(environ["wsgi.input"].read())
    assert bodies == [b"1111", b"2222"]
    assert conn.has_bytes()
    third, environ = receive(conn)
    assert not is_recalled(third)
    with pytest.raises(TooSlowError):
        environ["wsgi.input"].read(4)


def test_a_body_that_nobody_read_does_not_become_the_next_request(lines: Lines) -> None:
    conn = lines.connect()
    teach(conn)
    request, _ = receive(conn, HEAD + b"GET ")
    assert is_recalled(request)
    assert conn.is_drained(request)
    assert not conn.has_bytes()
    assert receive(conn, HEAD + b"next")[1]["wsgi.input"].read() == b"next"


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nX: " + b"x" * LONGEST_HEAD + b"\r\n\r\n",
    ],
    ids=["chunks", "a long head"],
)
def test_what_is_not_worth_it_is_not_remembered(lines: Lines, head: bytes) -> None:
    conn = lines.connect()
    for _ in range(3):
        receive(conn, head + b"0\r\n\r\n"[: 5 * (b"chunked" in head)])[1]["wsgi.input"].read()
    assert lines.heads.find(conn.server, head) is None


def test_who_waits_to_be_told_to_go_on_is_told_each_time(lines: Lines) -> None:
    head = HEAD.replace(b"X-A: 1", b"Expect: 100-continue")
    near = lines.connect()
    far = lines.far_ends[-1]
    for _ in range(3):
        request, environ = receive(near, head + b"abcd")
        assert not is_recalled(request)
        assert far.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        environ["wsgi.input"].read()


def test_heads_that_never_come_again_are_not_kept_and_not_counted_without_end(lines: Lines) -> None:
    conn = lines.connect()
    for number in range(MOST_SEEN + 10):
        receive(conn, HEAD.replace(b"X-A: 1", b"X-A: %d" % number) + b"abcd")[1]["wsgi.input"].read()
    assert not lines.heads._known
    assert len(lines.heads._seen) == 10


def test_only_so_many_are_remembered_and_the_oldest_go_first(lines: Lines) -> None:
    heads = [HEAD.replace(b"X-A: 1", b"X-A: %d" % number) for number in range(MOST_HEADS + 1)]
    conn = lines.connect()
    for head in heads:
        teach(conn, head)
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
def test_what_is_refused_once_is_refused_again(lines: Lines, refused: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ParseException):
            receive(lines.connect(), refused + b"abcd")


@pytest.mark.parametrize("size", range(8))
def test_half_a_head_is_never_known_whatever_is_left_behind_it(lines: Lines, size: int) -> None:
    """Else one client could choose what the cut-off beginning of another's request means."""
    for _ in range(3):
        conn = lines.connect()
        conn.parser.unreader.unread(b"GET /health/live HTTP/1.1\r\nHost: attacker\r\nX-Pad: aaaa")
        begun = len(conn.parser.unreader.buf.getvalue())
        lines.far_ends[-1].send(b"\r\n\r\n" + b"x" * (begun - size))
        receive(conn)
    victim = lines.connect()
    victim.parser.unreader.unread(b"GET /metrics HTTP/1.1\r\nHost: vic")
    lines.far_ends[-1].send(b"tim\r\n\r\n")
    request, environ = receive(victim)
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
def test_whatever_comes_is_understood_the_third_time_as_it_was_the_first(data: bytes) -> None:
    lines = Lines()
    try:
        first, second, third = (outcome(lambda: receive(lines.connect(ended=True), data)) for _ in range(3))
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
    with suppress(ParseException, NoMoreData):
        body = environ["wsgi.input"].read(100)
    return seen, ours(environ), body, request.should_close(), request.unreader.buf.getvalue()
