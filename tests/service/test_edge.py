"""Hostile and broken clients of the real service: each is told so in JSON, and other requests are served."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import GUNICORN, Service, chunked, post, read_answer
from tests.support.upstream import ScriptedUpstream, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.answer import Answer

LIMIT = 20_000
READ_TIMEOUT = 0.5


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def shared(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings: dict[str, Any] = {
        "payload_limit": LIMIT,
        "read_timeout_ms": int(READ_TIMEOUT * 1000),
    }
    folder = tmp_path_factory.mktemp("edge")
    with Service(folder, command=GUNICORN, inference_url=upstream.url, **settings) as service:
        yield service


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """The shared service, which must have come through the test alive and unchanged."""
    before = shared.workers
    yield shared
    assert shared.workers == before
    assert shared.embed("still there").body == b"[" + vector_for("still there") + b"]"


def refused(answer: Answer, status: int) -> str:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    error = answer.json
    assert error.keys() == {"error", "error_type", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    assert "<" not in error["error_type"]
    message: str = error["error"]
    return message


# What gunicorn refuses by itself

HEAD = b"POST /embed HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /health/live\r\n\r\n", 400),
        (b"GET /health/live HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (b"G(T /health/live HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 9000), 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"x" * 9000), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n" % b"".join(b"X%d: 1\r\n" % n for n in range(100)), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: +2\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: -2\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: 0x2\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: 2, 2\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip, magic\r\n\r\n", 501),
        (HEAD + b"Expect: miracles\r\nContent-Length: 2\r\n\r\n{}", 417),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
def test_what_is_not_proper_http_is_refused_in_json(service: Service, raw: bytes, status: int) -> None:
    refused(service.say(raw), status)


def test_a_refusal_quotes_no_markup_and_no_long_text(service: Service) -> None:
    message = refused(service.say(b"<script>%s</script>\r\n\r\n" % (b"x" * 2000)), 400)
    assert len(message) <= 200


# Bodies on the wire


def test_a_chunked_body_beyond_the_limit_is_413_and_never_cut_short(
    service: Service, upstream: ScriptedUpstream
) -> None:
    upstream.calls.clear()
    body = b'{"input":"%s"}' % (b"x" * LIMIT)
    pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
    refused(service.say(chunked(*pieces)), 413)
    # A value that would be valid JSON up to the limit, and blanks behind.
    padded = b'{"input":"a"}'.ljust(LIMIT + 1)
    refused(service.say(chunked(padded)), 413)
    assert upstream.calls == []
    assert service.say(chunked(b'{"input":"a"}'.ljust(LIMIT))).status == 200


def test_an_announced_body_beyond_the_limit_is_413_before_it_is_sent(service: Service) -> None:
    began = time.monotonic()
    refused(service.say(HEAD + b"Content-Length: 99999999999\r\nConnection: close\r\n\r\n"), 413)
    assert time.monotonic() - began < READ_TIMEOUT


def test_a_large_body_that_is_sent_all_the_same_still_reads_its_413(service: Service) -> None:
    refused(service.say(post(b"x" * 500_000)), 413)


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"\r\n{}\r\n0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"0x2\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}xx0\r\n\r\n",
        b"2\n{}\n0\n\n" + b"x" * 9000,
        b"d\r\n" + b'{"input":"a"}' + b"\r\n0\r\nbad trailer\r\n\r\n",
        b"2;" + b"x" * 20_000 + b"\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_malformed_chunks_are_400(service: Service, chunks: bytes) -> None:
    refused(service.say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks), 400)


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b'Content-Length: 50\r\n\r\n{"input":"a"}',
        HEAD + b'Transfer-Encoding: chunked\r\n\r\nd\r\n{"input":"a"}\r\n',
        HEAD + b'Transfer-Encoding: chunked\r\n\r\nff\r\n{"input":"a"}',
    ],
)
def test_a_body_that_ends_early_is_400(service: Service, upstream: ScriptedUpstream, raw: bytes) -> None:
    upstream.calls.clear()
    with service.connect() as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        refused(read_answer(connection), 400)
    assert upstream.calls == []


def test_a_request_without_length_or_chunks_is_411(service: Service) -> None:
    refused(service.say(HEAD + b"\r\n"), 411)


def test_a_client_that_asks_first_is_told_to_continue(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: 13\r\n\r\n")
        assert connection.recv(1024).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(b'{"input":"a"}')
        assert read_answer(connection).status == 200


def test_doubled_slashes_are_404_in_json(service: Service) -> None:
    refused(service.say(b"GET /health//live HTTP/1.1\r\nHost: a\r\n\r\n"), 404)


@pytest.mark.parametrize("host", ["", "a b", "a:b:c", "[::1", "é", "a/b", "x" * 300, "a:99999999"])
def test_an_odd_host_is_served_or_refused_in_json(service: Service, host: str) -> None:
    answer = service.say(f"GET /nowhere HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
    assert answer.status in {400, 404}
    refused(answer, answer.status)


def test_nothing_of_all_this_was_an_unexpected_error(service: Service) -> None:
    assert "Traceback" not in service.log
