"""Each name of gunicorn that the serving code overrides, reads or calls still exists, and is still used as it was.

An override of a method that gunicorn has renamed would be dead code without a word; here it fails a test.
"""

from __future__ import annotations

import inspect
import logging
import os
import socket
import subprocess
import sys
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn import util
from gunicorn.config import Config
from gunicorn.http import body, message, parser, unreader, wsgi
from gunicorn.workers import gthread

from serving import chunks, connection, exchange, response
from serving.worker import ProxyWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Our class, gunicorn's, and the names of gunicorn's that ours replaces.
OVERRIDDEN: list[tuple[type, type, set[str]]] = [
    (
        ProxyWorker,
        gthread.ThreadWorker,
        {
            "init_process",
            "get_thread_pool",
            "set_accept_enabled",
            "accept",
            "on_client_socket_readable",
            "enqueue_req",
            "wait_for_and_dispatch_events",
            "finish_request",
            "murder_pending",
            "is_parent_alive",
            "_cap_keepalive",
            "handle",
            "init_signals",
            "handle_exit",
            "handle_quit",
        },
    ),
    (connection.Connection, gthread.TConn, {"close"}),
    (connection.Unreader, unreader.SocketUnreader, {"chunk"}),
    (connection.Request, message.Request, {"_peer_trusted_for_forwarded", "parse", "should_close"}),
    (connection.Parser, parser.RequestParser, {"mesg_class"}),
    (exchange.ChunkedBody, body.Body, {"_read_reader"}),
    (chunks.ChunkReader, body.ChunkedReader, {"parse_chunked"}),
    (response.WholeResponse, wsgi.Response, {"start_response", "write", "send_headers"}),
]
IDS = [ours.__name__ for ours, _, _ in OVERRIDDEN]
NOT_OVERRIDES = {"__init__", "__doc__", "__module__", "__annotations__"}


def names_used_by(*functions: Any) -> set[str]:
    """Return every attribute and global name in these functions, with those nested in them."""
    codes = [function.__code__ for function in functions]
    names: set[str] = set()
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]
    return names


def functions_of(of: type) -> Iterator[FunctionType]:
    for each in of.__mro__:
        yield from (value for value in vars(each).values() if isinstance(value, FunctionType))


@pytest.mark.parametrize(("ours", "theirs", "names"), OVERRIDDEN, ids=IDS)
def test_what_is_overridden_exists_in_gunicorn(ours: type, theirs: type, names: set[str]) -> None:
    assert issubclass(ours, theirs)
    assert {name for name in names if hasattr(theirs, name)} == names
    assert {name for name in names if name in vars(ours)} == names


@pytest.mark.parametrize(("ours", "theirs", "names"), OVERRIDDEN, ids=IDS)
def test_the_list_of_overrides_is_complete(ours: type, theirs: type, names: set[str]) -> None:
    assert {name for name in vars(ours) if hasattr(theirs, name)} - NOT_OVERRIDES == names


@pytest.mark.parametrize(("ours", "theirs", "names"), OVERRIDDEN, ids=IDS)
def test_gunicorn_calls_what_is_overridden(ours: type, theirs: type, names: set[str]) -> None:
    callers: dict[type, list[Any]] = {
        gthread.TConn: [gthread.ThreadWorker.finish_request, gthread.ThreadWorker.murder_keepalived],
        message.Request: [*functions_of(message.Request), *functions_of(parser.RequestParser)],
        wsgi.Response: [gthread.ThreadWorker.handle_request, *functions_of(wsgi.Response)],
    }
    used = names_used_by(*callers.get(theirs, functions_of(theirs)))
    assert names <= used


@pytest.mark.parametrize(
    ("override", "overridden"),
    [
        (getattr(ours, name), getattr(theirs, name))
        for ours, theirs, names in OVERRIDDEN
        for name in sorted(names)
        if isinstance(getattr(theirs, name), FunctionType)
    ],
    ids=[
        f"{ours.__name__}.{name}"
        for ours, theirs, names in OVERRIDDEN
        for name in sorted(names)
        if isinstance(getattr(theirs, name), FunctionType)
    ],
)
def test_an_override_takes_as_many_arguments_as_gunicorn_gives(override: Any, overridden: Any) -> None:
    assert len(inspect.signature(override).parameters) == len(inspect.signature(overridden).parameters)


def test_the_main_loop_still_takes_its_turns_by_the_methods_that_are_overridden() -> None:
    turn = {"wait_for_and_dispatch_events", "murder_pending", "murder_keepalived", "_cap_keepalive"}
    assert turn <= names_used_by(gthread.ThreadWorker.run)


def test_gunicorns_own_way_of_handling_a_connection_is_not_entered_from_elsewhere() -> None:
    """``handle`` is replaced, and with it ``handle_request`` and ``handle_error``: only it may lead there."""
    others = [each for each in functions_of(gthread.ThreadWorker) if each.__name__ not in {"handle", "handle_error"}]
    assert not {"handle_request", "handle_error"} & names_used_by(*others)


def test_a_worker_has_the_attributes_that_are_read() -> None:
    worker = gthread.ThreadWorker(1, os.getpid(), [], None, 30, Config(), logging.getLogger("canary"))
    worker.tmp.close()
    names = {"alive", "cfg", "log", "nr_conns", "worker_connections", "max_keepalived", "keepalived_conns", "poller"}
    assert names <= vars(worker).keys()
    assert "wsgi" in names_used_by(gthread.ThreadWorker.load_wsgi)


def test_a_connection_has_the_attributes_that_are_read() -> None:
    near, far = socket.socketpair()
    with near, far:
        conn = gthread.TConn(Config(), near, ("10.0.0.1", 1), ("10.0.0.2", 2))
    assert {"cfg", "sock", "client", "server", "parser", "initialized", "timeout"} <= vars(conn).keys()


def test_a_parsed_request_has_the_attributes_that_are_read_and_replaced() -> None:
    requests = parser.RequestParser(Config(), [b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"], ("h", 1))
    request = next(requests)
    read = {"version", "headers", "method", "uri", "body", "_expected_100_continue"}
    filled_in = {"unreader", "body", "peer_addr", "remote_addr"}
    assert read | filled_in <= vars(request).keys()
    assert request.body.failed is False
    assert isinstance(request.body.reader, body.LengthReader)
    assert request.body.reader.length == 2
    assert {"unreader", "mesg", "req_count"} <= vars(requests).keys()
    assert requests.mesg is request
    assert requests.req_count == 1
    assert requests.finish_body(deadline=1e12)
    assert request.body.reader.length == 0
    (request,) = parser.RequestParser(
        Config(), [b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], ("h", 1)
    )
    assert isinstance(request.body.reader, body.ChunkedReader)


def test_an_unreader_has_the_attributes_that_are_read() -> None:
    near, far = socket.socketpair()
    with near, far:
        reads = unreader.SocketUnreader(near)
    assert {"buf", "sock", "mxchunk"} <= vars(reads).keys()
    assert reads.max_body_chunk > 0
    reads.unread(b"ab")
    assert reads.buf.getvalue() == b"ab"


def test_a_response_and_its_environment_have_the_attributes_that_are_read_and_replaced() -> None:
    (request,) = parser.RequestParser(Config(), [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"], ("h", 1))
    near, far = socket.socketpair()
    with near, far:
        answer, environ = wsgi.create(
            request, near, ("10.0.0.1", 1), ("10.0.0.2", 2), Config(), response_class=wsgi.Response
        )
    assert {
        "req",
        "sock",
        "status",
        "chunked",
        "headers",
        "headers_sent",
        "response_length",
        "sent",
        "_omits_body",
    } <= vars(answer).keys()
    answer.force_close()
    assert answer.should_close()
    own = {"wsgi.input", "wsgi.early_hints", "gunicorn.socket", "REMOTE_ADDR", "REMOTE_PORT", "wsgi.multithread"}
    assert own <= environ.keys()


def test_gunicorn_closes_a_socket_without_raising() -> None:
    near, far = socket.socketpair()
    far.close()
    for _ in range(2):
        util.close(near)


def test_the_serving_code_needs_no_flask() -> None:
    show = "import sys, serving.worker; print(sorted({'flask', 'werkzeug'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
