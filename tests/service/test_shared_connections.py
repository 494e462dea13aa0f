"""A front before the service that shares its connections among clients, some of them hostile: none of the others lose.

So does HAProxy with ``http-reuse always``: a connection whose last answer said that it stays open gets the request of
whichever client comes next.
"""

from __future__ import annotations

import http.client
import queue
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.answer import Answer
from tests.support.hostile import CASES, MOST_ITEMS, PAYLOAD_LIMIT, Case
from tests.support.service import GUNICORN, Service, embed_request, eventually
from tests.support.upstream import ScriptedUpstream, vector_for

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

#: Connections that the front keeps, each used by one client at a time.
CONNECTIONS = 6
READ_TIMEOUT = 0.5

HEAD = b"POST /embed HTTP/1.1\r\nHost: front\r\nContent-Type: application/json\r\n"
#: Requests whose ends never come: the client of the front has gone silent.
UNFINISHED = {
    "stalled head": b"POST /embed HTTP/1.1\r\nHost: front\r\n",
    "stalled body": HEAD + b'Content-Length: 100\r\n\r\n{"input"',
    "stalled chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    "too large": HEAD + b"Content-Length: 30000000\r\n\r\n",
    "no such route": HEAD.replace(b"/embed", b"/nothing") + b"Content-Length: 1000\r\n\r\n",
    "no such method": HEAD.replace(b"POST", b"PUT") + b"Content-Length: 1000\r\n\r\n",
    "chunks for no route": HEAD.replace(b"/embed", b"/nothing") + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    "a body for health": b"GET /health/live HTTP/1.1\r\nHost: front\r\nContent-Length: 10\r\n\r\n",
    "a body that is asked for first": HEAD.replace(b"/embed", b"/nothing")
    + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n",
}
BROKEN = {
    "bad trailer": HEAD + b'Transfer-Encoding: chunked\r\n\r\nd\r\n{"input":"a"}\r\n0\r\nContent-Length: 5\r\n\r\n',
    "bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bad header": b"GET / HTTP/1.1\r\nHost: front\r\nX y: 1\r\n\r\n",
    "several options": b"GET /health/live HTTP/1.1\r\nHost: front\r\nConnection: keep-alive, close\r\n\r\n",
    "several headers": b"GET /x HTTP/1.1\r\nHost: front\r\nConnection: keep-alive\r\nConnection: Close\r\n\r\n",
    "an old version": b"GET /health/live HTTP/1.0\r\nHost: front\r\n\r\n",
    "a later version": b"GET /health HTTP/1.2\r\nHost: front\r\n\r\n",
    "an upgrade": b"GET /health HTTP/1.1\r\nHost: front\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "another upgrade": HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
    "head": b"HEAD /nothing HTTP/1.1\r\nHost: front\r\n\r\n",
    "a name with an underscore": HEAD + b'Content_Length: 5\r\nContent-Length: 13\r\n\r\n{"input":"a"}',
}


class Lost(NamedTuple):
    """What befell the request of a client that had done nothing wrong, and what came before it on the connection."""

    before: str
    problem: str


class Front:
    """Sends requests over connections that it keeps as long as the answers say that they stay open."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._free: queue.LifoQueue[tuple[socket.socket, str] | None] = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self._free.put(None)
        self.lost: list[Lost] = []
        self.reused = 0

    def pass_on(self, name: str, request: bytes, *, whole: bool = True) -> Answer | None:
        """Pass one client's request on; return the answer, or None for a connection that broke."""
        held = self._free.get()
        sock, before = held or (self._service.connect(), "")
        self.reused += held is not None
        kept = None
        try:
            sock.sendall(request)
            answer = _read(sock, "HEAD" if request.startswith(b"HEAD ") else None)
            if whole and answer.headers["connection"] == "keep-alive":
                kept = (sock, name)
        except (OSError, ValueError) as problem:
            if before:
                self.lost.append(Lost(before, f"{name}: {problem!r}"))
            answer = None
        finally:
            if kept is None:
                sock.close()
            self._free.put(kept)
        return answer

    def close(self) -> None:
        while not self._free.empty():
            if held := self._free.get():
                held[0].close()


def _read(sock: socket.socket, method: str | None) -> Answer:
    """Read one response; interim ones are gone over."""
    sock.settimeout(10)
    response = http.client.HTTPResponse(sock, method=method)
    try:
        response.begin()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, fields, response.read())
    finally:
        response.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings: dict[str, Any] = {
        "payload_limit": PAYLOAD_LIMIT,
        "max_client_batch_size": MOST_ITEMS,
        "read_timeout_ms": int(READ_TIMEOUT * 1000),
    }
    folder = tmp_path_factory.mktemp("front")
    with (
        ScriptedUpstream() as upstream,
        Service(folder, command=GUNICORN, inference_url=upstream.url, **settings) as service,
    ):
        yield service


@pytest.fixture
def front(service: Service) -> Iterator[Front]:
    front = Front(service)
    yield front
    front.close()


def is_one_request(case: Case) -> bool:
    """Return whether a front that looks for the end of this request finds it where the bytes end."""
    head, _, body = case.raw.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d{1,9})(?:\r\n|$)", head)
    return not (case.stalls or case.ends or case.smuggles) and len(body) == (int(length[1]) if length else 0)


ORDINARY = embed_request("ordinary")
RIGHT = b"[" + vector_for("ordinary") + b"]"


def ask(front: Front) -> bool:
    """Return whether an ordinary client of the front gets what it should."""
    answer = front.pass_on("ordinary", ORDINARY)
    return answer is not None and answer.body == RIGHT


@pytest.mark.parametrize("name", UNFINISHED)
def test_an_answer_to_half_a_request_says_that_the_connection_ends(front: Front, name: str) -> None:
    answer = front.pass_on(name, UNFINISHED[name], whole=False)
    assert answer is not None
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("name", BROKEN)
def test_behind_each_answer_an_ordinary_request_is_served(front: Front, name: str) -> None:
    for _ in range(2):
        assert front.pass_on(name, BROKEN[name]) is not None
        assert ask(front)
    assert front.lost == []


def test_no_client_loses_its_answer_by_what_others_send(front: Front) -> None:
    hostile = [(case.name, case.raw) for case in CASES if is_one_request(case)]

    def attack(case: tuple[str, bytes]) -> bool:
        front.pass_on(*case)
        return ask(front)

    with ThreadPoolExecutor(CONNECTIONS) as clients:
        served = list(clients.map(attack, hostile))
    assert [lost for lost in front.lost if lost.problem.startswith("ordinary")] == []
    assert [name for (name, _), right in zip(hostile, served, strict=True) if not right] == []
    assert front.reused > len(hostile)


def test_clients_that_the_stop_overtakes_are_answered(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The answer that is under way when the stop begins says that its connection ends."""
    with (
        ScriptedUpstream() as upstream,
        Service(tmp_path_factory.mktemp("stop"), inference_url=upstream.url) as stopping,
    ):
        front = Front(stopping)
        assert ask(front)
        upstream.calls.clear()
        upstream.gate.clear()
        with ThreadPoolExecutor(1) as client:
            asking = client.submit(front.pass_on, "under way", ORDINARY)
            upstream.wait_for_calls(1)
            stopping.signal(15)
            eventually(lambda: "Handling signal: term" in stopping.log)
            upstream.gate.set()
            answer = asking.result()
        assert answer is not None
        assert (answer.body, answer.headers["connection"]) == (RIGHT, "close")
        front.close()
