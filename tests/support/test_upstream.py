"""The scripted upstream answers by its form, plays its faults, records calls, and comes back on the same port."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.concurrency import Nursery
from tests.support.test_forms import call_of
from tests.support.upstream import (
    Poison,
    Reply,
    ScriptedUpstream,
    TeiForm,
    Trouble,
    faults,
    forms,
    proper_reply,
    vector_for,
)
from tests.support.upstream.poison import WAYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.upstream import Fault, Form
    from tests.support.upstream.poison import Way

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
    assert (ask(upstream, "GET", "/embed").status, ask(upstream, "GET", "/no/such").status) == (405, 404)
    assert (len(upstream.requests), upstream.calls) == (4, [])


def test_a_script_covers_calls_one_fault_each_and_no_pages(upstream: ScriptedUpstream) -> None:
    upstream.script(faults.refusal(422, "odd"), faults.html(500))
    assert ask(upstream, "GET", "/health").status == 200
    assert embed(upstream) == Reply(422, b'{"error":"odd","error_type":"Validation"}')
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


def test_an_idle_connection_is_closed_as_the_server_of_the_form_does() -> None:
    with ScriptedUpstream(forms.LlamaForm()) as upstream:
        assert upstream.idle == 5.0
        upstream.idle = 0.05
        connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=10)
        for _ in range(2):
            connection.request("POST", "/v1/embeddings", b'{"input":["a"]}', JSON)
            response = connection.getresponse()
            assert (response.status, response.headers["Keep-Alive"]) == (200, "timeout=5, max=100")
            response.read()
        assert connection.sock is not None
        assert connection.sock.recv(1) == b""
        assert upstream.connections == 1
        connection.close()


# Troubles and poisons

TEXTS_OF_THREE = b'{"inputs":["a","poison","b"]}'


def test_trouble_is_answered_as_the_server_does_and_its_connection_fares_alike() -> None:
    with (
        ScriptedUpstream(forms.LitellmForm(), faults.trouble(Trouble.BAD_INPUT)) as upstream,
        socket.create_connection(("127.0.0.1", upstream.port), 10) as client,
    ):
        client.sendall(b"POST /v1/embeddings HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        reply = client.makefile("rb").read()
    assert reply.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nconnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" in reply
    assert reply.endswith(b"15\r\nInternal Server Error\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("way", "status", "body"),
    [
        ("own", 424, b'{"error":"Backend error: cannot embed this","error_type":"Backend"}'),
        *[
            (way, int(way), b'{"error":"cannot embed this","error_type":"Validation"}')
            for way in ("400", "413", "422", "424", "500")
        ],
        *[
            (way, 200, b"[" + vector_for("a") + b"," + row + b"," + vector_for("b") + b"]")
            for way, row in [
                ("null", b"null"),
                ("nan", b"[NaN,0.5]"),
                ("infinity", b"[0.5,-Infinity]"),
                ("short", b"[0.5]"),
                ("empty", b"[]"),
            ]
        ],
    ],
)
def test_a_poison_shows_in_the_calls_that_hold_it(
    upstream: ScriptedUpstream, way: Way, status: int, body: bytes
) -> None:
    upstream.fault = Poison(lambda text: text == "poison", way)
    for _ in range(2):
        assert (ask(upstream, "GET", "/health").status, embed(upstream).status) == (200, 200)
        assert ask(upstream, "POST", "/embed", TEXTS_OF_THREE) == Reply(status, body)


@pytest.mark.parametrize("way", ["reset", "close", "hang"])
def test_a_poison_may_break_the_connection(upstream: ScriptedUpstream, way: Way) -> None:
    def broken() -> None:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            ask(upstream, "POST", "/embed", TEXTS_OF_THREE)

    upstream.fault = Poison(lambda text: text == "poison", way)
    with Nursery() as nursery:
        nursery.start(broken)
        upstream.wait_for_calls(1)
        assert embed(upstream).status == 200
        upstream.stop()


@pytest.mark.parametrize("form", forms.ALL, ids=lambda form: type(form).__name__)
def test_every_way_of_a_poison_is_played_in_every_form(form: Form) -> None:
    with ScriptedUpstream(form) as upstream:
        for way in set(WAYS) - {"reset", "close", "hang"}:
            upstream.fault = Poison(lambda text: text == "poison", way)
            clean, poisoned = (
                ask(upstream, "POST", form.path, call_of(form, texts)) for texts in ("ab", ["a", "poison"])
            )
            assert clean.body == proper_reply(form, "POST", form.path, call_of(form, "ab")).body
            assert poisoned.body != proper_reply(form, "POST", form.path, call_of(form, ["a", "poison"])).body
