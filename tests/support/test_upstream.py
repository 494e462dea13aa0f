"""The scripted upstream answers by its form, plays its faults, records calls, and comes back on the same port."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.concurrency import Nursery
from tests.support.upstream import Reply, ScriptedUpstream, TeiForm, faults, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.upstream import Fault

JSON = {"Content-Type": "application/json"}
TEXTS = b'{"inputs":["a","b"],"normalize":false}'


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


def ask(upstream: ScriptedUpstream, method: str, path: str, body: bytes | None = None) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=10)
    try:
        connection.request(method, path, body, JSON)
        response = connection.getresponse()
        return Reply(response.status, response.read())
    finally:
        connection.close()


def embed(upstream: ScriptedUpstream) -> Reply:
    return ask(upstream, "POST", "/embed", TEXTS)


def test_a_call_is_answered_and_recorded(upstream: ScriptedUpstream) -> None:
    assert embed(upstream) == Reply(200, b"[" + vector_for("a") + b"," + vector_for("b") + b"]")
    (call,) = upstream.calls
    assert (call.inputs, call.options) == (["a", "b"], {"normalize": False})
    assert call.request.head.startswith(b"POST /embed HTTP/1.1\r\n")
    assert call.request.head.endswith(b"\r\n\r\n")
    assert call.request.body == TEXTS
    assert (upstream.sizes, upstream.inputs) == ([2], ["a", "b"])


def test_pages_are_answered_below_any_path_and_count_as_no_call(upstream: ScriptedUpstream) -> None:
    assert ask(upstream, "GET", "/health") == Reply(200, b"")
    assert json.loads(ask(upstream, "GET", "/models/one/info?x=1").body) == {"model_id": "scripted"}
    assert ask(upstream, "GET", "/embed").status == 404
    assert (len(upstream.requests), upstream.calls) == (3, [])


def test_a_script_covers_calls_one_fault_each_and_no_pages(upstream: ScriptedUpstream) -> None:
    upstream.script(faults.refusal(422, "odd"), faults.html(500))
    assert ask(upstream, "GET", "/health").status == 200
    assert embed(upstream) == Reply(422, b'{"error": "odd", "error_type": "Validation"}')
    assert [embed(upstream).status for _ in range(2)] == [500, 200]


def test_a_fault_holds_for_every_request_until_it_is_calm_again(upstream: ScriptedUpstream) -> None:
    upstream.fault = faults.html(503)
    assert (ask(upstream, "GET", "/health").status, embed(upstream).status) == (503, 503)
    upstream.calm()
    assert (upstream.requests, upstream.calls, upstream.connections) == ([], [], 0)
    assert (ask(upstream, "GET", "/health").status, embed(upstream).status) == (200, 200)


def test_a_call_is_recorded_before_it_waits_for_the_gate(upstream: ScriptedUpstream) -> None:
    upstream.gate.clear()
    answers: list[Reply] = []
    with Nursery() as nursery:
        nursery.start(lambda: answers.append(embed(upstream)))
        upstream.wait_for_calls(1)
        assert answers == []
        assert ask(upstream, "GET", "/health").status == 200
        upstream.gate.set()
    assert [answer.status for answer in answers] == [200]


def test_stopping_breaks_what_hangs_and_starting_takes_the_same_port(upstream: ScriptedUpstream) -> None:
    def broken() -> None:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            embed(upstream)

    url = upstream.url
    upstream.script(faults.hang)
    with Nursery() as nursery:
        nursery.start(broken)
        upstream.wait_for_calls(1)
        upstream.stop()
    with pytest.raises(ConnectionRefusedError):
        embed(upstream)
    upstream.start()
    assert (upstream.url, embed(upstream).status) == (url, 200)


@pytest.mark.parametrize("fault", [faults.hang, faults.hang_in_the_body, faults.drip_body, faults.huge_body])
def test_what_goes_on_without_end_ends_when_its_client_hangs_up(upstream: ScriptedUpstream, fault: Fault) -> None:
    upstream.script(fault)
    with socket.create_connection(("127.0.0.1", upstream.port), 10) as client:
        client.sendall(b"POST /embed HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(TEXTS), TEXTS))
        upstream.wait_for_calls(1)
        assert not upstream.closed.acquire(blocking=False)
    assert upstream.closed.acquire(timeout=10)


class WrappedForm(TeiForm):
    """Another kind of server, which asks and answers otherwise."""

    def is_call(self, method: str, path: str) -> bool:
        return path == "/v1/things"

    def inputs(self, body: bytes) -> list[Any]:
        things: list[Any] = json.loads(body)["things"]
        return things

    def answer(self, vectors: Sequence[bytes]) -> bytes:
        return b'{"data":[' + b",".join(vectors) + b"]}"

    def refusal(self, text: str, error_type: str = "Validation") -> bytes:
        return json.dumps({"detail": text}).encode()


def test_answers_and_faults_follow_the_form() -> None:
    with ScriptedUpstream(WrappedForm()) as upstream:
        upstream.script(faults.ok, faults.every_vector(b"[1]"), faults.one_vector_too_few, faults.refusal(400, "odd"))
        bodies = [ask(upstream, "POST", "/v1/things", b'{"things":[3,4]}').body for _ in range(4)]
    assert bodies == [
        b'{"data":[' + vector_for(3) + b"," + vector_for(4) + b"]}",
        b'{"data":[[1],[1]]}',
        b'{"data":[' + vector_for(4) + b"]}",
        b'{"detail": "odd"}',
    ]
