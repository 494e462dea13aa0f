"""``POST /embed``: three shapes, the upstream's own digits, and headers that tell how it went."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamRejected
from tests.conftest import Edge, refused
from tests.support.fakes import vector_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

#: A vector as an upstream may write it: no JSON library would write it back just so.
ODD_DIGITS = b"[ 0.10,-0.0, 1E-7,1.0000000000000000001 ,5]"


# The three shapes


def test_a_text_as_input_answers_one_embedding(edge: Edge) -> None:
    response = edge.post({"input": "hello"})
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert response.data == b'{"embedding":' + vector_of(b'"hello"') + b"}"


def test_a_list_as_input_answers_embeddings_in_order(edge: Edge) -> None:
    response = edge.post({"input": ["a", "b"]})
    assert response.data == b'{"embeddings":[' + vector_of(b'"a"') + b"," + vector_of(b'"b"') + b"]}"


@pytest.mark.parametrize("inputs", ["a", ["a"]])
def test_the_tei_body_answers_a_list_of_vectors_even_for_one(edge: Edge, inputs: object) -> None:
    assert edge.post({"inputs": inputs}).data == b"[" + vector_of(b'"a"') + b"]"


def test_a_flat_list_of_numbers_is_one_tokenised_input(edge: Edge) -> None:
    assert edge.post({"inputs": [1, 2]}).data == b"[" + vector_of(b"[1,2]") + b"]"
    assert edge.post({"input": [1, 2]}).data == b'{"embedding":' + vector_of(b"[1,2]") + b"}"


def test_lists_of_numbers_are_many_tokenised_inputs_and_mix_with_texts(edge: Edge) -> None:
    response = edge.post({"inputs": [[1, 2], [3], "a"]})
    assert response.data == b"[" + b",".join(map(vector_of, (b"[1,2]", b"[3]", b'"a"'))) + b"]"


def test_every_digit_is_the_upstreams_own(edge: Edge) -> None:
    edge.upstream.digits = {b'"a"': ODD_DIGITS}
    other = vector_of(b'"b"')
    assert edge.post({"inputs": "a"}).data == b"[" + ODD_DIGITS + b"]"
    assert edge.post({"inputs": ["b", "a", "b"]}).data == b"[" + other + b"," + ODD_DIGITS + b"," + other + b"]"
    assert edge.post({"input": "a"}).data == b'{"embedding":' + ODD_DIGITS + b"}"
    assert edge.post({"input": ["a", "a"]}).data == b'{"embeddings":[' + ODD_DIGITS + b"," + ODD_DIGITS + b"]}"


@pytest.mark.parametrize("text", ["nul \0 inside", "naïve 😀 日本", '"quoted" \\ and \u2028', " \t\n", "x" * 100_000])
def test_texts_reach_the_upstream_unchanged(edge: Edge, text: str) -> None:
    assert edge.post({"inputs": text}).status_code == 200
    assert [json.loads(item) for item in edge.sent] == [text]


def test_an_escaped_pair_of_surrogates_is_the_character_it_stands_for(edge: Edge) -> None:
    assert edge.post(b'{"inputs": "\\ud83d\\ude00"}').status_code == 200
    assert edge.sent == ['"😀"'.encode()]


# Headers


def test_the_answer_tells_how_it_was_batched(edge: Edge) -> None:
    response = edge.post({"inputs": ["a", "b", "c"]})
    assert response.headers["X-Batch-Size"] == "3"
    assert response.headers["X-Batch-Reason"] == "max_wait"
    times = [float(response.headers[f"X-{name}-Time"]) for name in ("Queue", "Inference", "Total")]
    assert all(0 <= each < 5000 for each in times)
    assert times[2] >= times[1]


def test_two_clients_that_share_a_batch_are_told_its_size(
    edge_with: Callable[..., AbstractContextManager[Edge]],
) -> None:
    with edge_with(wait=10.0, max_batch_size=2) as edge:
        first = edge.in_background({"input": "a"})
        second = edge.post({"input": "b"})
        assert edge.upstream.sizes == [2]
        for response, text in ((first(), b'"a"'), (second, b'"b"')):
            assert response.data == b'{"embedding":' + vector_of(text) + b"}"
            assert response.headers["X-Batch-Size"] == "2"
            assert response.headers["X-Batch-Reason"] == "full"


# Deadlines


@pytest.mark.parametrize("asked", ["0", "-1", "1.5", "soon", "", "1e3", "٣", "+5", "0000"])
def test_a_time_out_that_is_no_whole_number_above_zero_is_refused(edge: Edge, asked: str) -> None:
    response = edge.post({"input": "a"}, {"X-Request-Timeout-Ms": asked})
    assert "X-Request-Timeout-Ms" in refused(response, 400, "BadRequest")
    assert edge.upstream.batches == []


@pytest.mark.parametrize("asked", ["9" * 400, "60000", "00000000060000"])
def test_a_time_out_can_be_as_long_as_it_likes_but_never_exceeds_the_services_own(edge: Edge, asked: str) -> None:
    before = time.monotonic()
    assert edge.post({"input": "a"}, {"X-Request-Timeout-Ms": asked}).status_code == 200
    latest = before + edge.settings.request_timeout + 5
    assert before + edge.settings.request_timeout - 5 < edge.upstream.batches[0].deadline < latest


def test_a_client_that_shortens_its_deadline_gets_504_when_it_passes(edge: Edge) -> None:
    edge.upstream.gate.clear()
    began = time.monotonic()
    response = edge.post({"input": "a"}, {"X-Request-Timeout-Ms": "50"})
    assert "deadline" in refused(response, 504, "Timeout")
    assert 0.05 <= time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("header", "told", "seconds"),
    [
        ("x-stainless-read-timeout", "5", 5.0),
        ("x-stainless-read-timeout", "2.5", 2.5),
        ("x-stainless-timeout", "7", 7.0),
        ("x-stainless-timeout", "600", 30.0),
        ("x-stainless-timeout", "inf", 30.0),
        *[("x-stainless-read-timeout", nonsense, 30.0) for nonsense in ("NaN", "-1", "0", "soon", "")],
    ],
)
def test_the_deadline_that_openais_sdks_tell_is_kept_where_it_is_shorter(
    edge: Edge, header: str, told: str, seconds: float
) -> None:
    before = time.monotonic()
    assert edge.post({"input": "a"}, {header: told}, path="/v1/embeddings").status_code == 200
    assert before + seconds - 0.5 < edge.upstream.batches[0].deadline < before + seconds + 2


def test_other_apis_have_no_such_header(edge: Edge) -> None:
    before = time.monotonic()
    edge.post({"input": "a"}, {"x-stainless-read-timeout": "5"})
    assert edge.upstream.batches[0].deadline > before + 20


# Token ids


def test_requests_of_token_ids_are_counted_and_told_of_once(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        edge.post({"input": [1, 2]}, path="/v1/embeddings")
    edge.post({"input": "a"}, path="/v1/embeddings")
    assert edge.scrape()['autobatch_token_id_requests_total{route="/v1/embeddings"}'] == 3
    assert caplog.text.count("check_embedding_ctx_length=False") == 1


# Vectors that are base64

PACKED = b'"AAAAPwAAgL4="'


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/embed", {"inputs": "a"}, [[0.5, -0.25]]),
        ("/embed", {"inputs": ["a", "a"]}, [[0.5, -0.25], [0.5, -0.25]]),
        ("/embed", {"input": "a"}, {"embedding": [0.5, -0.25]}),
        ("/", {"inputs": "a"}, [[0.5, -0.25]]),
    ],
)
def test_vectors_that_an_upstream_packs_are_numbers_where_the_api_has_numbers(
    edge: Edge, path: str, body: object, expected: object
) -> None:
    edge.upstream.digits = {b'"a"': PACKED}
    assert edge.post(body, path=path).get_json() == expected


def test_base64_that_is_broken_is_the_upstreams_fault_and_counted(edge: Edge) -> None:
    edge.upstream.digits = {b'"a"': b'"AAA!"'}
    assert edge.post({"inputs": "a"}).status_code == 502
    assert edge.scrape()['autobatch_items_total{class="interactive",outcome="error"}'] == 1


# Limits


def test_more_inputs_than_one_request_may_have_are_refused_as_tei_does(
    edge_with: Callable[..., AbstractContextManager[Edge]],
) -> None:
    with edge_with(max_client_batch_size=2) as edge:
        assert edge.post({"inputs": ["a", "b"]}).status_code == 200
        assert refused(edge.post({"inputs": ["a", "b", "c"]}), 422, "Validation") == (
            "batch size 3 > maximum allowed batch size 2"
        )


def test_a_surplus_of_requests_is_told_to_come_back(edge_with: Callable[..., AbstractContextManager[Edge]]) -> None:
    with edge_with(max_concurrent_requests=1) as edge:
        edge.upstream.gate.clear()
        first = edge.in_background({"input": "a"})
        assert edge.upstream.arrived.acquire(timeout=10)
        response = edge.post({"input": "b"})
        refused(response, 429, "Overloaded")
        assert response.headers["Retry-After"] in {"1", "2", "3"}
        edge.upstream.gate.set()
        assert first().status_code == 200
        assert edge.post({"input": "b"}).status_code == 200


def test_items_beyond_the_queues_limit_are_refused_all_together(
    edge_with: Callable[..., AbstractContextManager[Edge]],
) -> None:
    with edge_with(max_queued_items=3) as edge:
        refused(edge.post({"inputs": ["a", "b", "c", "d"]}), 429, "Overloaded")
        assert edge.upstream.batches == []
        assert edge.service.queue.queued_items == edge.service.queue.calls == 0


def test_a_big_request_is_split_and_put_together_in_order(
    edge_with: Callable[..., AbstractContextManager[Edge]],
) -> None:
    texts = [f"text {number}" for number in range(10)]
    with edge_with(max_batch_size=3) as edge:
        response = edge.post({"inputs": texts})
        assert response.data == b"[" + b",".join(vector_of(json.dumps(text).encode()) for text in texts) + b"]"
        assert sorted(edge.upstream.sizes) == [1, 3, 3, 3]


# What the upstream says


def test_an_upstreams_refusal_keeps_its_status_and_text(edge: Edge) -> None:
    edge.upstream.failures = [UpstreamRejected("too many tokens", status=413, error_type="Validation")]
    assert refused(edge.post({"input": "a"}), 413, "Validation") == "too many tokens"


def test_a_bug_below_is_answered_in_json_and_the_next_request_works(edge: Edge) -> None:
    edge.upstream.failures = [ZeroDivisionError("secret detail")]
    assert "secret" not in refused(edge.post({"input": "a"}), 500, "Unhandled")
    assert edge.post({"input": "a"}).status_code == 200
