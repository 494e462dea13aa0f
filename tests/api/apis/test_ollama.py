"""Ollama's two routes: what is asked for, what stands for nothing, and what comes back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from api.apis import ollama
from api.apis.ollama import OllamaApi
from api.apis.query import Bounds, Finished, Query
from api.error_forms import RequestError
from batching import BatchKey, Call, Options, Task
from batching.errors import DeadlineExceeded, Unsupported, UpstreamProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

BOUNDS = Bounds(items=3, model="served")


def read_embed(body: dict[str, object], bounds: Bounds = BOUNDS) -> Query:
    query = ollama.read_embed(body, bounds)
    assert isinstance(query, Query)
    return query


def read_embeddings(body: dict[str, object]) -> Query:
    query = ollama.read_embeddings(body, BOUNDS)
    assert isinstance(query, Query)
    return query


def answer(query: Query, *results: bytes, tokens: int | None = None) -> Any:
    call = Call(query.items, query.key, 0.0)
    call.fill(0, list(results))
    call.tokens, call.queue_delay, call.inference_time = tokens, 0.25, 0.5
    return json.loads(query.answer(call))


def refusal(body: dict[str, object], read: Callable[[dict[str, object]], Query] = read_embed) -> str:
    with pytest.raises(RequestError) as caught:
        read(body)
    assert OllamaApi().status(caught.value) == 400
    return caught.value.message


def key(**members: object) -> BatchKey:
    return read_embed({"input": "a", **members}).key


def test_a_text_and_a_list_are_answered_alike() -> None:
    one = read_embed({"model": "m", "input": "ü"})
    assert one.items == ['"ü"'.encode()]
    assert answer(one, b"[0.5]")["embeddings"] == [[0.5]]
    many = read_embed({"model": "m", "input": ["a", "b"]})
    assert many.items == [b'"a"', b'"b"']
    assert answer(many, b"[0.5]", b'"AAAAPw=="')["embeddings"] == [[0.5], [0.5]]


def test_the_answer_has_the_clients_model_and_the_figures_of_the_call() -> None:
    query = read_embed({"model": "m:latest", "input": ["four", "eight..."]})
    assert answer(query, b"[1]", b"[2]", tokens=7) == {
        "model": "m:latest",
        "embeddings": [[1], [2]],
        "total_duration": 750_000_000,
        "load_duration": 0,
        "prompt_eval_count": 7,
    }


def test_tokens_that_the_upstream_does_not_count_are_estimated_by_bytes() -> None:
    query = read_embed({"input": ["a", "four", "fives"]})
    assert answer(query, b"[1]", b"[1]", b"[1]")["prompt_eval_count"] == 1 + 1 + 2


@pytest.mark.parametrize("members", [{}, {"model": None}, {"model": ""}])
def test_without_a_model_the_answer_names_the_one_that_is_served(members: dict[str, object]) -> None:
    query = read_embed({"input": "a", **members})
    assert query.key.model is None
    assert answer(query, b"[1]")["model"] == "served"
    assert answer(read_embed({"input": "a"}, Bounds(items=1)), b"[1]")["model"] == ""


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, Options(truncate=True)),
        ({"truncate": None}, Options(truncate=True)),
        ({"truncate": True}, Options(truncate=True)),
        ({"truncate": False}, Options(truncate=False)),
        ({"dimensions": 64}, Options(truncate=True, dimensions=64)),
        ({"dimensions": 0}, Options(truncate=True)),
        ({"dimensions": None}, Options(truncate=True)),
        ({"options": {"num_ctx": 256}, "keep_alive": "5m", "unknown": 1}, Options(truncate=True)),
        ({"options": None, "keep_alive": -1}, Options(truncate=True)),
    ],
)
def test_only_what_changes_an_embedding_joins_the_key(members: dict[str, object], expected: Options) -> None:
    assert key(**members) == BatchKey(Task.EMBED, expected)


def test_the_model_joins_the_key() -> None:
    assert key(model="m").model == "m"


@pytest.mark.parametrize("body", [{}, {"input": None}, {"input": ""}, {"input": []}])
def test_no_input_gets_no_embedding_without_an_upstream(body: dict[str, object]) -> None:
    assert ollama.read_embed({"model": "m", **body}, BOUNDS) == Finished(b'{"model":"m","embeddings":[]}')


@pytest.mark.parametrize("body", [{}, {"prompt": None}, {"prompt": ""}])
def test_no_prompt_gets_an_empty_embedding_without_an_upstream(body: dict[str, object]) -> None:
    assert ollama.read_embeddings({"model": "m", **body}, BOUNDS) == Finished(b'{"embedding":[]}')


def test_the_older_route_shares_batches_with_the_newer() -> None:
    query = read_embeddings({"model": "m", "prompt": "a", "options": {}, "keep_alive": "5m"})
    assert query.key == key(model="m")
    assert query.items == [b'"a"']
    assert answer(query, b"[0.5]") == {"embedding": [0.5]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"input": 1}, "input: must be a text or a list of texts"),
        ({"input": {}}, "input: must be a text or a list of texts"),
        ({"input": False}, "input: must be a text or a list of texts"),
        ({"input": [1, 2]}, "input[0]: must be a text"),
        ({"input": ["a", [1]]}, "input[1]: must be a text"),
        ({"input": ["a", ""]}, "input[1]: must not be empty"),
        ({"input": ["\ud800"]}, "input[0]: holds half of a surrogate pair, which is not a character"),
        ({"input": ["a"] * 4}, "batch size 4 > maximum allowed batch size 3"),
        ({"input": [1] * 4}, "batch size 4 > maximum allowed batch size 3"),
        ({"input": "a", "model": 1}, "model: must be a text"),
        ({"input": "a", "truncate": "yes"}, "truncate: must be true or false"),
        ({"input": "a", "dimensions": -1}, "dimensions: must be between 0 and 1000000"),
        ({"input": "a", "dimensions": "64"}, "dimensions: must be an integer"),
        ({"input": "a", "options": 1}, "options: must be an object"),
        ({"input": [], "truncate": 1}, "truncate: must be true or false"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, object], message: str) -> None:
    assert refusal(body) == message


@pytest.mark.parametrize("prompt", [1, ["a"], {}])
def test_the_older_route_takes_one_text(prompt: object) -> None:
    assert refusal({"prompt": prompt}, read_embeddings) == "prompt: must be a text"


def test_a_vector_that_is_none_is_the_upstreams_mistake() -> None:
    with pytest.raises(UpstreamProtocolError):
        answer(read_embed({"input": "a"}), b'"AAA"')


def test_errors_are_a_text_and_invalid_input_is_400() -> None:
    api = OllamaApi()
    assert json.loads(api.error(RequestError(422, "bad"), "id")) == {"error": "bad"}
    errors = RequestError(422, ""), Unsupported(""), RequestError(413, ""), DeadlineExceeded("")
    assert [api.status(error) for error in errors] == [400, 400, 413, 504]
