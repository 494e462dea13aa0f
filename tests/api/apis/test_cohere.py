"""Cohere's two versions: texts in both ways, embeddings as a list or by type, and what only its own models do."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from api.apis.cohere import CohereApi, read_v1, read_v2
from api.apis.query import Bounds, Query
from api.error_forms import RequestError
from batching import BatchKey, Call, Options, Task
from batching.errors import Overloaded, Unsupported, UpstreamProtocolError

BOUNDS = Bounds(items=3)
HALF = b'"AAAAPw=="'  # 0.5


def answer(query: Query, *results: bytes, tokens: int | None = None) -> dict[str, Any]:
    call = Call(query.items, query.key, 0.0)
    call.fill(0, list(results))
    call.tokens = tokens
    told: dict[str, Any] = json.loads(query.answer(call))
    assert UUID(told.pop("id")).version == 4
    return told


def refusal(body: dict[str, object]) -> str:
    with pytest.raises(RequestError) as caught:
        read_v2(body, BOUNDS)
    assert CohereApi().status(caught.value) == 400
    return caught.value.message


def content(*parts: object) -> dict[str, object]:
    return {"inputs": [{"content": list(parts)}]}


def text(value: object) -> dict[str, object]:
    return {"type": "text", "text": value}


def test_version_1_answers_a_list_of_embeddings() -> None:
    query = read_v1({"texts": ["ü", "b"], "model": "m", "input_type": "search_query"}, BOUNDS)
    assert query.items == ['"ü"'.encode(), b'"b"']
    assert answer(query, b"[1]", HALF, tokens=9) == {
        "texts": ["ü", "b"],
        "embeddings": [[1], [0.5]],
        "meta": {"api_version": {"version": "1"}, "billed_units": {"input_tokens": 9}},
        "response_type": "embeddings_floats",
    }


@pytest.mark.parametrize("types", [None, []])
def test_no_types_in_particular_are_no_types(types: object) -> None:
    assert answer(read_v1({"texts": ["a"], "embedding_types": types}, BOUNDS), b"[1]")["embeddings"] == [[1]]
    assert answer(read_v2({"texts": ["a"], "embedding_types": types}, BOUNDS), b"[1]")["embeddings"] == {"float": [[1]]}


def test_version_1_answers_by_type_where_types_are_asked_for() -> None:
    told = answer(read_v1({"texts": ["a"], "embedding_types": ["float"]}, BOUNDS), b"[0.5]")
    assert told["embeddings"] == {"float": [[0.5]]}
    assert told["response_type"] == "embeddings_by_type"
    assert told["meta"]["api_version"] == {"version": "1"}


def test_version_2_answers_by_type() -> None:
    assert answer(read_v2({"texts": ["a", "four more"]}, BOUNDS), b"[0.5]", HALF) == {
        "texts": ["a", "four more"],
        "embeddings": {"float": [[0.5], [0.5]]},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 1 + 3}},
        "response_type": "embeddings_by_type",
    }


def test_each_type_is_told_once() -> None:
    query = read_v2({"texts": ["a", "b"], "embedding_types": ["base64", "float", "base64"]}, BOUNDS)
    assert answer(query, b"[0.5]", HALF)["embeddings"] == {
        "base64": ["AAAAPw==", "AAAAPw=="],
        "float": [[0.5], [0.5]],
    }


def test_texts_may_stand_in_inputs() -> None:
    query = read_v2({"inputs": [{"content": [text("a")]}, {"content": [text("b")]}]}, BOUNDS)
    assert query.items == [b'"a"', b'"b"']
    assert query.key == read_v2({"texts": ["a"]}, BOUNDS).key


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, Options(truncate=True)),
        ({"truncate": None}, Options(truncate=True)),
        ({"truncate": "END"}, Options(truncate=True)),
        ({"truncate": "START"}, Options(truncate=True, truncation_direction="left")),
        ({"truncate": "NONE"}, Options(truncate=False)),
        ({"output_dimension": 64}, Options(truncate=True, dimensions=64)),
        ({"output_dimension": None}, Options(truncate=True)),
        ({"input_type": "search_document", "priority": 1, "unknown": {}}, Options(truncate=True)),
        ({"images": [], "max_tokens": None}, Options(truncate=True)),
        ({"embedding_types": ["base64"]}, Options(truncate=True)),
    ],
)
def test_only_what_changes_an_embedding_joins_the_key(members: dict[str, object], expected: Options) -> None:
    for read in (read_v1, read_v2):
        assert read({"texts": ["a"], "model": "m", **members}, BOUNDS).key == BatchKey(Task.EMBED, expected, "m")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "give either `texts` or `inputs`"),
        ({"texts": None}, "give either `texts` or `inputs`"),
        ({"texts": ["a"], **content(text("a"))}, "give either `texts` or `inputs`"),
        ({"texts": []}, "`texts` must not be empty"),
        ({"inputs": []}, "`inputs` must not be empty"),
        ({"texts": "a"}, "texts: must be a list of texts"),
        ({"texts": ["fine", ""]}, "texts[1]: must not be empty"),
        ({"texts": ["fine", 1]}, "texts[1]: must be a text"),
        ({"texts": [1]}, "texts[0]: must be a text"),
        ({"texts": ["\ud800"]}, "texts[0]: holds half of a surrogate pair, which is not a character"),
        ({"texts": ["a"] * 4}, "batch size 4 > maximum allowed batch size 3"),
        ({"inputs": [{}] * 4}, "batch size 4 > maximum allowed batch size 3"),
        ({"inputs": {}}, "inputs: must be a list of inputs"),
        ({"inputs": ["a"]}, "inputs[0]: must have a content of one part, whose type is text"),
        (content(), "inputs[0]: must have a content of one part, whose type is text"),
        (content("a"), "inputs[0]: must have a content of one part, whose type is text"),
        (content(text("a"), text("b")), "inputs[0]: must have a content of one part, whose type is text"),
        (content(text(1)), "inputs[0]: must have a content of one part, whose type is text"),
        (content(text("")), "inputs[0]: must not be empty"),
        (content({"type": "image_url"}), "inputs[0]: holds an image, and only texts are embedded here"),
        ({"texts": ["a"], "images": ["x"]}, "images: not served: only texts are embedded here"),
        ({"texts": ["a"], "truncate": "end"}, "truncate: must be NONE, START or END"),
        ({"texts": ["a"], "output_dimension": 0}, "output_dimension: must be between 1 and 1000000"),
        ({"texts": ["a"], "embedding_types": "float"}, "embedding_types: must be a list of float and base64"),
        ({"texts": ["a"], "embedding_types": ["double"]}, "embedding_types: must be a list of float and base64"),
        ({"texts": ["a"], "embedding_types": [["float"]]}, "embedding_types: must be a list of float and base64"),
        ({"texts": ["a"], "model": ["m"]}, "model: must be a text"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, object], message: str) -> None:
    assert refusal(body) == message


@pytest.mark.parametrize("form", ["int8", "uint8", "binary", "ubinary"])
def test_a_type_that_needs_the_model_itself_is_refused_with_those_that_do_not(form: str) -> None:
    message = refusal({"texts": ["a"], "embedding_types": ["float", form]})
    assert message.startswith(f"embedding_types: {form} is not served")
    assert message.endswith("float and base64 are served")


def test_a_bound_on_tokens_is_refused_since_it_would_change_embeddings() -> None:
    assert refusal({"texts": ["a"], "max_tokens": 5}).startswith("max_tokens: not served: ")


@pytest.mark.parametrize("form", ["float", "base64"])
def test_a_vector_that_has_no_such_form_is_the_upstreams_mistake(form: str) -> None:
    query = read_v2({"texts": ["a"], "embedding_types": [form]}, BOUNDS)
    with pytest.raises(UpstreamProtocolError):
        answer(query, b'"AAA"' if form == "float" else b"[1e300]")


def test_errors_are_a_message_and_invalid_input_is_400() -> None:
    api = CohereApi()
    assert json.loads(api.error(RequestError(422, "bad"), "id-1")) == {"id": "id-1", "message": "bad"}
    assert [api.status(error) for error in (RequestError(422, ""), Unsupported(""), Overloaded(""))] == [400, 400, 429]
