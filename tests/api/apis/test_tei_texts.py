"""``/similarity``, ``/tokenize`` and ``/decode``: checked, cut into calls that the upstream takes, and joined."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from api.apis.query import Bounds, Forward
from api.apis.tei_rerank import MAX_PAIR_BYTES
from api.apis.tei_texts import read_decode, read_similarity, read_tokenize
from api.error_forms import RequestError
from batching.errors import UpstreamProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

BOUNDS = Bounds(items=8, upstream_items=3)
TOKEN = b'{"id":101,"text":"[CLS]","special":true,"start":null,"stop":null}'


def compared(*sentences: object, source: object = "s", **members: object) -> dict[str, Any]:
    return {"inputs": {"source_sentence": source, "sentences": list(sentences)}, **members}


def refusal(read: Callable[[dict[str, Any], Bounds], Forward], body: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        read(body, BOUNDS)
    return caught.value.status, caught.value.message


def joined(asked: Forward, *replies: bytes) -> bytes:
    assert asked.join is not None
    return asked.join(list(replies))


# /tokenize


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"inputs": "a"}, b'{"inputs":"a"}'),
        ({"inputs": ["a"]}, b'{"inputs":["a"]}'),
        ({"inputs": "What is é?"}, '{"inputs":"What is é?"}'.encode()),
        (
            {"inputs": ["a", "b"], "add_special_tokens": False, "prompt_name": "p", "other": 1},
            b'{"inputs":["a","b"],"add_special_tokens":false,"prompt_name":"p"}',
        ),
        ({"inputs": "a", "prompt_name": None}, b'{"inputs":"a"}'),
    ],
)
def test_texts_to_tokenize_are_sent_with_their_options(body: dict[str, Any], sent: bytes) -> None:
    asked = read_tokenize(body, BOUNDS)
    assert (asked.path, asked.bodies, asked.join) == ("/tokenize", [sent], None)


def test_more_texts_than_one_call_takes_are_split_and_their_tokens_joined_byte_by_byte() -> None:
    asked = read_tokenize({"inputs": ["a", "b", "c", "d"], "add_special_tokens": True}, BOUNDS)
    assert asked.bodies == [
        b'{"inputs":["a","b","c"],"add_special_tokens":true}',
        b'{"inputs":["d"],"add_special_tokens":true}',
    ]
    assert asked.items == 4
    row = b"[" + TOKEN + b"]"
    assert joined(asked, b"[" + row + b" , [ ]," + row + b"]", b"[[1.50]]") == b"[%b,[ ],%b,[1.50]]" % (row, row)


@pytest.mark.parametrize("replies", [(b"[[],[]]", b"[[]]"), (b"[[],[],[]]", b"{}"), (b"[[],[],[]]", b"[[]")])
def test_nothing_is_joined_where_a_reply_has_another_count_or_is_no_list(replies: tuple[bytes, bytes]) -> None:
    with pytest.raises(UpstreamProtocolError):
        joined(read_tokenize({"inputs": ["a"] * 4}, BOUNDS), *replies)


@pytest.mark.parametrize("inputs", ["", [], [""], ["a", ""]])
def test_an_empty_text_to_tokenize_is_400_in_the_words_of_tei(inputs: object) -> None:
    message = "Input validation error: `inputs` cannot be empty"
    assert refusal(read_tokenize, {"inputs": inputs}) == (400, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "inputs: is missing"),
        ({"inputs": 1}, "inputs: must be a text or a list of texts"),
        ({"inputs": ["a", 1]}, "inputs[1]: must be a text"),
        ({"inputs": [[1]]}, "inputs[0]: must be a text"),
        ({"inputs": [1, 2]}, "inputs[0]: must be a text"),
        ({"inputs": "a", "add_special_tokens": None}, "add_special_tokens: must not be null"),
        ({"inputs": ["a"] * 9}, "batch size 9 > maximum allowed batch size 8"),
    ],
)
def test_what_cannot_be_tokenized_is_422_and_named(body: dict[str, Any], message: str) -> None:
    assert refusal(read_tokenize, body) == (422, message)


# /decode


@pytest.mark.parametrize(
    ("body", "bodies"),
    [
        ({"ids": [101, 2054, 102]}, [b'{"ids":[101,2054,102]}']),
        ({"ids": [[1], [2, 3]], "skip_special_tokens": False}, [b'{"ids":[[1],[2,3]],"skip_special_tokens":false}']),
        ({"ids": [[1], [2], [3], [4]]}, [b'{"ids":[[1],[2],[3]]}', b'{"ids":[[4]]}']),
        ({"ids": [1, 2, 3, 4, 5, 6, 7, 8, 9]}, [b'{"ids":[1,2,3,4,5,6,7,8,9]}']),
    ],
)
def test_token_ids_to_decode_are_sent_as_one_list_or_split_lists(body: dict[str, Any], bodies: list[bytes]) -> None:
    asked = read_decode(body, BOUNDS)
    assert (asked.path, asked.bodies) == ("/decode", bodies)


def test_decoded_texts_are_joined() -> None:
    asked = read_decode({"ids": [[1], [2], [3], [4]]}, BOUNDS)
    assert joined(asked, '["ä","b","]"]'.encode(), b'["\\"d"]') == '["ä","b","]","\\"d"]'.encode()


@pytest.mark.parametrize("ids", [[], [[]], [[1], []]])
def test_no_token_ids_are_400_in_the_words_of_tei(ids: object) -> None:
    assert refusal(read_decode, {"ids": ids}) == (400, "Input validation error: `input_ids` cannot be empty")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("a", "ids: must be a list of token ids, or a list of such lists"),
        (["a"], "ids[0]: must be a list of token ids"),
        ([[1], "a"], "ids[1]: must be a list of token ids"),
        ([[1], 2], "ids[1]: must be a list of token ids"),
        ([1, "a"], "ids: must hold token ids from 0 to 4294967295 only"),
        ([-1], "ids: must hold token ids from 0 to 4294967295 only"),
        ([[1.5]], "ids[0]: must hold token ids from 0 to 4294967295 only"),
        ([[1]] * 9, "batch size 9 > maximum allowed batch size 8"),
    ],
)
def test_what_is_no_token_id_is_422_and_named(ids: object, message: str) -> None:
    assert refusal(read_decode, {"ids": ids}) == (422, message)


# /similarity


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (compared("a"), b'{"inputs":{"source_sentence":"s","sentences":["a"]}}'),
        (compared("a", parameters={}), b'{"inputs":{"source_sentence":"s","sentences":["a"]}}'),
        (compared("a", parameters=None), b'{"inputs":{"source_sentence":"s","sentences":["a"]}}'),
        (
            compared("a", "b", parameters={"truncate": True, "truncation_direction": "left"}, other=1),
            b'{"inputs":{"source_sentence":"s","sentences":["a","b"]},"parameters":%b}'
            % b'{"truncate":true,"truncation_direction":"left"}',
        ),
    ],
)
def test_sentences_are_sent_with_their_source_and_parameters(body: dict[str, Any], sent: bytes) -> None:
    asked = read_similarity(body, BOUNDS)
    assert (asked.path, asked.bodies, asked.join) == ("/similarity", [sent], None)


def test_the_source_goes_with_each_call_and_counts_as_one_of_its_texts() -> None:
    asked = read_similarity(compared("a", "b", "c", parameters={"truncate": True}), BOUNDS)
    assert [json.loads(body) for body in asked.bodies] == [
        compared("a", "b", parameters={"truncate": True}),
        compared("c", parameters={"truncate": True}),
    ]
    assert joined(asked, b"[0.99995637,0.6355669]", b"[1.0]") == b"[0.99995637,0.6355669,1.0]"


def test_an_upstream_of_one_input_a_call_is_asked_all_the_same() -> None:
    asked = read_similarity(compared("a", "b"), Bounds(items=8, upstream_items=1))
    assert len(asked.bodies) == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (compared(), "`inputs.sentences` cannot be empty"),
        (compared("a", ""), "Input validation error: `inputs` cannot be empty"),
        (compared("a", source=""), "Input validation error: `inputs` cannot be empty"),
    ],
)
def test_an_empty_sentence_is_400_in_the_words_of_tei(body: dict[str, Any], message: str) -> None:
    assert refusal(read_similarity, body) == (400, message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "inputs: is missing"),
        ({"inputs": "a"}, "inputs: must be an object"),
        ({"inputs": None}, "inputs: must not be null"),
        ({"inputs": {"sentences": ["a"]}}, "inputs.source_sentence: is missing"),
        ({"inputs": {"source_sentence": "a"}}, "inputs.sentences: is missing"),
        (compared("a", source=1), "inputs.source_sentence: must be a text"),
        (compared("a", 1), "inputs.sentences[1]: must be a text"),
        (compared("a", parameters=1), "parameters: must be an object"),
        (compared("a", parameters={"truncate": 1}), "parameters.truncate: must be true or false"),
        (compared(*["a"] * 8), "batch size 9 > maximum allowed batch size 8"),
    ],
)
def test_what_cannot_be_compared_is_422_and_named(body: dict[str, Any], message: str) -> None:
    assert refusal(read_similarity, body) == (422, message)


def test_parameters_that_would_swell_each_call_are_refused() -> None:
    assert refusal(read_similarity, compared("a", parameters={"x": "y" * 5000}))[0] == 422


def test_a_source_that_would_fill_the_memory_with_its_calls_is_refused() -> None:
    source = "s" * 2**20
    bounds = Bounds(items=100, upstream_items=2)
    assert len(read_similarity(compared(*["a"] * 31, source=source), bounds).bodies) == 31
    with pytest.raises(RequestError) as caught:
        read_similarity(compared(*["a"] * (MAX_PAIR_BYTES // 2**20), source=source), bounds)
    assert caught.value.status == 413
