"""What the real service says of a connection's end and what it does, to fronts that share connections as well."""

from __future__ import annotations

import random
import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import GUNICORN, Service, chunked, embed_request, post, read_answer
from tests.support.upstream import ScriptedUpstream, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = b'{"inputs":"a"}'
LIMIT = 20_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings: dict[str, Any] = {"read_timeout_ms": 500, "payload_limit": LIMIT}
    folder = tmp_path_factory.mktemp("connections")
    with (
        ScriptedUpstream() as upstream,
        Service(folder, command=GUNICORN, inference_url=upstream.url, **settings) as service,
    ):
        yield service


def is_open(connection: socket.socket) -> bool:
    """Return whether another request is answered on it."""
    connection.settimeout(5)
    try:
        connection.sendall(embed_request("another"))
        return read_answer(connection).body == b"[" + vector_for("another") + b"]"
    except OSError:
        return False


ASKED = {
    "embed": b"POST /embed HTTP/%s\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 14\r\n%s\r\n" + BODY,
    "refused": b"POST /nowhere HTTP/%s\r\nHost: a\r\nContent-Length: 14\r\n%s\r\n" + BODY,
    "health": b"GET /health HTTP/%s\r\nHost: a\r\n%s\r\n",
    "liveness": b"GET /health/live HTTP/%s\r\nHost: a\r\n%s\r\n",
    "liveness without its body": b"HEAD /health/live HTTP/%s\r\nHost: a\r\n%s\r\n",
    "metrics": b"GET /metrics HTTP/%s\r\nHost: a\r\n%s\r\n",
}
OPTIONS = [
    (b"1.1", b"", True),
    (b"1.1", b"Connection: keep-alive\r\n", True),
    (b"1.1", b"Connection: close\r\n", False),
    (b"1.1", b"Connection: keep-alive, close\r\n", False),
    (b"1.1", b"connection: Keep-Alive\r\nCONNECTION: CLOSE\r\n", False),
    (b"1.1", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", True),
    (b"1.1", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", True),
    (b"1.2", b"", True),
    (b"1.9", b"Connection: close\r\n", False),
    (b"1.0", b"", False),
    (b"1.0", b"Connection: Keep-Alive\r\n", True),
    (b"1.0", b"Connection: keep-alive, close\r\n", False),
]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize(("version", "headers", "stays"), OPTIONS)
def test_a_connection_ends_when_its_client_says_so_and_the_answer_says_so_too(
    service: Service, asked: str, version: bytes, headers: bytes, stays: bool
) -> None:
    for _ in range(3):  # the third time the head is remembered
        with service.connect() as connection:
            connection.sendall(ASKED[asked] % (version, headers))
            if asked.endswith("body"):
                answer = connection.recv(65_536)
            else:
                answer = connection.recv(65_536, socket.MSG_PEEK)
                read_answer(connection)
            assert answer.startswith(b"HTTP/1.0 " if version == b"1.0" else b"HTTP/1.1 ")
            lines = answer.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
            assert [line for line in lines if line.startswith(b"connection:")] == [
                b"connection: keep-alive" if stays else b"connection: close"
            ]
            assert is_open(connection) == stays


@pytest.mark.parametrize("version", [b"2.0", b"0.9", b"3.0"])
def test_versions_that_are_not_spoken_are_refused(service: Service, version: bytes) -> None:
    answer = service.say(ASKED["embed"] % (version, b""))
    assert (answer.status, answer.headers["connection"]) == (400, "close")


@pytest.mark.parametrize(
    ("wanted", "status"), [(b"POST /embed", 415), (b"POST /nowhere", 404), (b"PUT /embed", 405), (b"POST /health", 405)]
)
@pytest.mark.parametrize(("length", "sent"), [(9, 9), (60_000, 60_000), (9, 8), (1_000_000, 100)])
def test_a_refusal_says_that_it_closes_unless_it_has_skipped_the_body(
    service: Service, wanted: bytes, status: int, length: int, sent: int
) -> None:
    with service.connect() as connection:
        connection.sendall(b"%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (wanted, length) + b"x" * sent)
        answer = read_answer(connection)
        assert answer.status in {status, 408}
        if sent < length:
            assert answer.headers["connection"] == "close"
        elif length < 100:  # a longer body may come in pieces, the last of them behind the refusal
            assert answer.headers["connection"] == "keep-alive"
        assert is_open(connection) == (answer.headers["connection"] == "keep-alive")


def test_clients_of_a_front_that_shares_connections_get_their_own_answers(service: Service) -> None:
    """Each connection carries requests of all kinds in a row, for as long as the answers let it."""
    random_ = random.Random(12)
    bad = [
        ASKED["refused"] % (b"1.1", b""),
        ASKED["refused"] % (b"1.1", b"Expect: 100-continue\r\n"),
        b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000,
        post(b"not JSON"),
        chunked(b'{"inputs":', b'"a"}')[:-5] + b"0\r\nX: 1\r\nTE: x\r\n\r\n",
        chunked(b'{"inputs":', b'"a"}').replace(b"\r\n4\r\n", b"\r\n5\r\n"),
        chunked(*[b" "] * 19_000, BODY),
        chunked(*[b" "] * (LIMIT + 1)),
        b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1),
        b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 19\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n ",
        b"GET /nowhere HTTP/1.1\r\nHost: a\r\nBad Header: 1\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
    ]
    orders = [[bad[index] for index in random_.sample(range(len(bad)), len(bad))] for _ in range(12)]
    with ThreadPoolExecutor(6) as pool:
        lost = list(pool.map(lambda pair: _play_front(service, *pair), enumerate(orders)))
    assert lost == [[]] * len(orders)


def _play_front(service: Service, number: int, requests: list[bytes]) -> list[str]:
    """Send these requests, a clean one behind each; return the clean ones that did not get their vector."""
    lost = []
    connection = service.connect()
    for position, (request, is_clean) in enumerate(product(requests, [False, True])):
        text = f"{number}-{position}"
        try:
            connection.sendall(embed_request(text) if is_clean else request)
            answer = read_answer(connection)
            closes = answer.headers["connection"] == "close"
            if is_clean and answer.body != b"[" + vector_for(text) + b"]":
                lost.append(text)
        except OSError:  # of a hostile request a part may not have been read
            closes = True
            if is_clean:
                lost.append(text)
        if closes:
            connection.close()
            connection = service.connect()
    connection.close()
    return lost
