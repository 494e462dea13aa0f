"""The real service batches: what clients send at the same time goes upstream in one call."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import GUNICORN, Service, chunked, embed_request, eventually
from tests.support.upstream import ScriptedUpstream, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.answer import Answer


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def fixed_service(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings: dict[str, Any] = {"batch_timing": "fixed", "max_wait_time_ms": 100, "max_batch_size": 32}
    with Service(tmp_path_factory.mktemp("fixed"), inference_url=upstream.url, **settings) as service:
        yield service


@pytest.fixture(scope="module")
def adaptive_service(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("adaptive"), command=GUNICORN, inference_url=upstream.url) as service:
        yield service


@pytest.fixture
def fixed(fixed_service: Service, upstream: ScriptedUpstream) -> Service:
    upstream.calls.clear()
    return fixed_service


@pytest.fixture
def adaptive(adaptive_service: Service, upstream: ScriptedUpstream) -> Service:
    upstream.calls.clear()
    return adaptive_service


def vectors(*texts: str) -> bytes:
    return b"[" + b",".join(map(vector_for, texts)) + b"]"


def queue_times(answers: Sequence[Answer | None]) -> list[float]:
    """Return the milliseconds that each of the answered requests waited."""
    return [float(answer.headers["x-queue-time"]) for answer in answers if answer]


# Fixed timing


def test_32_clients_at_once_make_one_call_of_32_that_is_sent_at_once(
    fixed: Service, upstream: ScriptedUpstream
) -> None:
    fixed.crowd([embed_request(f"warm up {number}") for number in range(32)])
    upstream.calls.clear()
    texts = [f"text {number}" for number in range(32)]
    answers = fixed.crowd([embed_request(text) for text in texts])
    assert [answer and answer.body for answer in answers] == [vectors(text) for text in texts]
    assert upstream.sizes == [32]
    assert {answer.headers["x-batch-reason"] for answer in answers if answer} == {"full"}
    assert {answer.headers["x-batch-size"] for answer in answers if answer} == {"32"}
    # The last of them completed the batch: it did not wait, nor did most of the others.
    assert min(queue_times(answers)) < 10
    assert statistics.median(queue_times(answers)) < 90


def test_10_clients_make_one_call_of_10_when_the_first_has_waited_100_ms(
    fixed: Service, upstream: ScriptedUpstream
) -> None:
    texts = [f"text {number}" for number in range(10)]
    answers = fixed.crowd([embed_request(text) for text in texts])
    assert [answer and answer.body for answer in answers] == [vectors(text) for text in texts]
    assert upstream.sizes == [10]
    assert {answer.headers["x-batch-reason"] for answer in answers if answer} == {"max_wait"}
    assert 100 <= max(queue_times(answers)) < 150


def test_a_hundred_texts_come_back_in_order_from_four_calls(fixed: Service, upstream: ScriptedUpstream) -> None:
    texts = [f"text {number}" for number in range(100)]
    answer = fixed.embed(texts)
    assert answer.body == vectors(*texts)
    assert sorted(upstream.sizes) == [4, 32, 32, 32]


def test_requests_with_different_options_never_share_a_call(fixed: Service, upstream: ScriptedUpstream) -> None:
    fixed.crowd([embed_request(f"text {number}", normalize=number % 2 == 0) for number in range(10)])
    assert sorted(upstream.sizes) == [5, 5]
    for call in upstream.calls:
        wanted = {"text 0", "text 2", "text 4", "text 6", "text 8"}
        assert (set(call.inputs) == wanted) == ("normalize" not in call.options)
    assert sorted(call.options.get("normalize", True) for call in upstream.calls) == [False, True]


def test_a_client_that_hangs_up_while_it_waits_is_never_sent_upstream(
    fixed: Service, upstream: ScriptedUpstream
) -> None:
    leaving = fixed.connect()
    leaving.sendall(embed_request("of a client that leaves"))
    eventually(lambda: "autobatch_queue_depth_items 1.0" in fixed.get("/metrics").body.decode())
    leaving.close()
    assert fixed.embed("of a client that stays").status == 200
    eventually(lambda: 'outcome="abandoned"' in fixed.get("/metrics").body.decode())
    assert upstream.inputs == ["of a client that stays"]


# Adaptive timing


def test_a_lone_clients_requests_are_sent_at_once(adaptive: Service, upstream: ScriptedUpstream) -> None:
    adaptive.embed("warm up")
    answers = [adaptive.embed(f"text {number}") for number in range(20)]
    assert [answer.status for answer in answers] == [200] * 20
    assert statistics.median(queue_times(answers)) < 5
    assert upstream.sizes == [1] * 21


def test_a_crowd_under_a_busy_upstream_is_gathered(adaptive: Service, upstream: ScriptedUpstream) -> None:
    upstream.delay = 0.05
    try:
        answers = adaptive.crowd([embed_request(f"text {number}") for number in range(64)])
    finally:
        upstream.delay = 0.0
    assert [answer and answer.body for answer in answers] == [vectors(f"text {number}") for number in range(64)]
    assert len(upstream.calls) <= 8


def test_every_shape_comes_back_over_a_real_connection(adaptive: Service) -> None:
    json_type = {"Content-Type": "application/json"}
    one = adaptive.request("POST", "/embed", b'{"input":"a"}', json_type)
    assert one.body == b'{"embedding":' + vector_for("a") + b"}"
    many = adaptive.request("POST", "/embed", b'{"input":["a","b"]}', json_type)
    assert many.body == b'{"embeddings":' + vectors("a", "b") + b"}"
    assert many.headers["content-type"] == "application/json"
    assert adaptive.say(chunked(b'{"inputs":', b'["a"', b"]}")).body == vectors("a")


def test_a_connection_serves_one_request_after_the_other(adaptive: Service) -> None:
    with adaptive.connect() as connection:
        for number in range(5):
            connection.sendall(embed_request(f"text {number}"))
            received = b""
            while not received.endswith(b"]]"):
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200 ")
            assert received.endswith(vectors(f"text {number}"))


def test_pipelined_requests_are_answered_in_order(adaptive: Service) -> None:
    with adaptive.connect() as connection:
        connection.sendall(embed_request("a") + embed_request("b") + embed_request("c", "Connection: close\r\n"))
        received = b""
        while data := connection.recv(65536):
            received += data
    places = [received.index(vector_for(text)) for text in ("a", "b", "c")]
    assert places == sorted(places)
    assert received.count(b"HTTP/1.1 200 ") == 3


def test_the_service_says_what_it_is_running(adaptive: Service) -> None:
    assert "max_batch_size" in adaptive.log
    assert "(environment INFERENCE_URL)" in adaptive.log
    assert "Traceback" not in adaptive.log
    assert json.loads(adaptive.get("/health/ready").body)["status"] == "ready"
