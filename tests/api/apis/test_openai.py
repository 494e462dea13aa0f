"""OpenAI's embeddings: what a body means, and the body that its results become."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import pytest

from api.apis.fields import MAX_OPTION_BYTES, MAX_TOKEN_ID, PLAIN
from api.apis.openai import ROUTES, read
from api.apis.openai_errors import OpenAiApi
from api.apis.query import Bounds, Query
from api.apis.wrong_fields import WrongFieldsError
from api.error_forms import RequestError
from batching import BatchKey, Call, Options, Task
from batching.errors import UpstreamProtocolError

BOUNDS = Bounds(items=2048)


def key(**members: object) -> BatchKey:
    return read({"input": "a", **members}, BOUNDS).key


def answered(query: Query, *results: bytes, tokens: int | None = None) -> dict[str, Any]:
    call = Call(query.items, query.key, 0.0)
    call.fill(0, list(results))
    call.tokens = tokens
    body: dict[str, Any] = json.loads(query.answer(call))
    return body


def answer(body: dict[str, Any], *results: bytes, bounds: Bounds = BOUNDS, tokens: int | None = None) -> dict[str, Any]:
    return answered(read(body, bounds), *results, tokens=tokens)


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def refusal(body: dict[str, Any], bounds: Bounds = BOUNDS) -> tuple[str | None, str]:
    """Return what a client is told of a body: the member at fault, and the message. The status is 400."""
    with pytest.raises(RequestError) as caught:
        read(body, bounds)
    api = OpenAiApi()
    assert api.status(caught.value) == 400
    told = json.loads(api.error(caught.value, "id"))["error"]
    assert told["type"] == "invalid_request_error"
    return told["param"], told["message"]


# Inputs


@pytest.mark.parametrize(
    ("given", "items"),
    [
        ("ab", [b'"ab"']),
        (["ab"], [b'"ab"']),
        (["a", "b"], [b'"a"', b'"b"']),
        ([1, 2, 3], [b"[1,2,3]"]),
        ([[1, 2], [3]], [b"[1,2]", b"[3]"]),
        (["a", [1, 2]], [b'"a"', b"[1,2]"]),
        ([[1, 2], "a"], [b"[1,2]", b'"a"']),
        ("  ", [b'"  "']),
        ('ü😀\n"', ['"ü😀\\n\\""'.encode()]),
        ([0, MAX_TOKEN_ID], [b"[0,4294967295]"]),
    ],
)
def test_texts_and_token_ids_are_taken_alone_in_lists_and_mixed(given: object, items: list[bytes]) -> None:
    assert read({"input": given}, BOUNDS).items == items


@pytest.mark.parametrize(
    ("given", "expected"),
    [("a", False), (["a", "b"], False), ([1], True), ([[1], [2]], True), (["a", [1]], True), ("[1]", False)],
)
def test_a_query_tells_whether_token_ids_are_among_its_inputs(given: object, expected: bool) -> None:
    assert read({"input": given}, BOUNDS).has_token_ids is expected


def test_a_list_of_2048_inputs_is_taken() -> None:
    assert len(read({"input": ["a"] * 2048}, BOUNDS).items) == 2048


def test_token_ids_are_one_input_however_many_they_are() -> None:
    assert len(read({"input": [7] * 5000}, BOUNDS).items) == 1


@pytest.mark.parametrize("values", [["a"] * 2049, [None] * 2049, [[]] * 2049])
@pytest.mark.parametrize("beside", [{}, {"model": 1}])
def test_inputs_are_counted_before_they_are_looked_at(values: list[object], beside: dict[str, object]) -> None:
    said = ("input", "input: batch size 2049 > maximum allowed batch size 2048")
    assert refusal({"input": values, **beside}) == said


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "input: must not be empty"),
        ([], "input: must not be empty"),
        ([""], "input[0]: must not be empty"),
        (["a", "b", "c", ""], "input[3]: must not be empty"),
        ([[]], "input[0]: must not be empty"),
        ([[1], []], "input[1]: must not be empty"),
        (None, "input: must not be null"),
        (5, "input: must be a text, a list of texts, or a list of token ids"),
        (True, "input: must be a text, a list of texts, or a list of token ids"),
        ({"text": "a"}, "input: must be a text, a list of texts, or a list of token ids"),
        (["a", 5], "input[1]: must be a text or a list of token ids"),
        (["a", None], "input[1]: must be a text or a list of token ids"),
        ([1.5], "input[0]: must be a text or a list of token ids"),
        ([1, "a"], f"input: must hold token ids from 0 to {MAX_TOKEN_ID} only"),
        ([-1], f"input: must hold token ids from 0 to {MAX_TOKEN_ID} only"),
        ([[1], [MAX_TOKEN_ID + 1]], f"input[1]: must hold token ids from 0 to {MAX_TOKEN_ID} only"),
        (["a", "\ud800"], "input[1]: holds half of a surrogate pair, which is not a character"),
    ],
)
def test_the_message_names_the_input_that_is_wrong_and_param_its_member(given: object, message: str) -> None:
    assert refusal({"input": given}) == ("input", message)
    assert refusal({"input": given, "model": "m", "encoding_format": "base64"}) == ("input", message)


@pytest.mark.parametrize("body", [{}, {"model": "m"}, {"inputs": "a"}])
def test_a_body_without_input_is_refused(body: dict[str, object]) -> None:
    assert refusal(body) == ("input", "input: must be given")


# Members beside the input


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"encoding_format": "float"},
        {"encoding_format": "base64"},
        {"user": "u"},
        {"user": {"id": 1}},
        {"model": ""},
        {"model": None, "encoding_format": None, "dimensions": None, "user": None},
    ],
)
def test_what_changes_no_vector_shares_the_key_of_embed_without_options(members: dict[str, object]) -> None:
    assert key(**members) is PLAIN


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"model": "m"}, BatchKey(Task.EMBED, model="m")),
        ({"model": "größe"}, BatchKey(Task.EMBED, model="größe")),
        ({"dimensions": 64}, BatchKey(Task.EMBED, Options(dimensions=64))),
        ({"dimensions": 64, "model": "m"}, BatchKey(Task.EMBED, Options(dimensions=64), "m")),
        ({"input_type": "query"}, BatchKey(Task.EMBED, Options(more=(("input_type", b'"query"'),), family="openai"))),
        (
            {"z": {"b": [1, None], "a": 0.5}, "A": True, "model": "m", "user": "u", "encoding_format": "base64"},
            BatchKey(
                Task.EMBED, Options(more=(("A", b"true"), ("z", b'{"a":0.5,"b":[1,null]}')), family="openai"), "m"
            ),
        ),
        # TEI's names mean nothing special here.
        ({"normalize": True}, BatchKey(Task.EMBED, Options(more=(("normalize", b"true"),), family="openai"))),
    ],
)
def test_what_may_change_a_vector_joins_the_key(members: dict[str, object], expected: BatchKey) -> None:
    assert key(**members) == expected


@pytest.mark.parametrize(
    ("tier", "asks_for_bulk"),
    [
        ("flex", True),
        ("auto", False),
        ("default", False),
        ("priority", False),
        ("Flex", False),
        ("", False),
        (None, False),
    ],
)
def test_only_the_flexible_tier_asks_for_bulk_and_no_tier_joins_the_key(tier: object, asks_for_bulk: bool) -> None:
    query = read({"input": "a", "service_tier": tier}, BOUNDS)
    assert query.asks_for_bulk is asks_for_bulk
    assert query.key == BatchKey(Task.EMBED)


def test_a_body_without_a_tier_asks_for_nothing() -> None:
    assert not read({"input": "a"}, BOUNDS).asks_for_bulk


def test_members_that_the_api_does_not_know_are_one_key_in_any_order() -> None:
    assert key(x={"a": 1, "b": 2}, y=1) == key(y=1, x={"b": 2, "a": 1})
    assert len({key(x=value) for value in (0, 1, "1", True, None, [1], "")}) == 7


@pytest.mark.parametrize(
    ("members", "param", "message"),
    [
        ({"encoding_format": "int8"}, "encoding_format", "encoding_format: must be float or base64"),
        ({"encoding_format": "Base64"}, "encoding_format", "encoding_format: must be float or base64"),
        ({"encoding_format": ""}, "encoding_format", "encoding_format: must be float or base64"),
        ({"encoding_format": 1}, "encoding_format", "encoding_format: must be a text"),
        ({"encoding_format": ["float"]}, "encoding_format", "encoding_format: must be a text"),
        ({"dimensions": 0}, "dimensions", "dimensions: must be between 1 and 1000000"),
        ({"dimensions": 1_000_001}, "dimensions", "dimensions: must be between 1 and 1000000"),
        ({"dimensions": "64"}, "dimensions", "dimensions: must be an integer"),
        ({"dimensions": 64.0}, "dimensions", "dimensions: must be an integer"),
        ({"dimensions": True}, "dimensions", "dimensions: must be an integer"),
        ({"service_tier": 1}, "service_tier", "service_tier: must be a text"),
        ({"model": 1}, "model", "model: must be a text"),
        ({"model": ["m"]}, "model", "model: must be a text"),
        ({"model": "m\ud800"}, "model", "model: holds half of a surrogate pair, which is not a character"),
        ({"model": "m" * 1001}, "model", "model: must have 1000 characters at most"),
        ({"x": "\ud800"}, "x", '"x": holds half of a surrogate pair, which is not a character'),
        ({"\ud800": 1}, "\\ud800", '"\\ud800": holds half of a surrogate pair, which is not a character'),
        ({"model": 1, "dimensions": 0}, "model", "model: must be a text; dimensions: must be between 1 and 1000000"),
    ],
)
def test_a_member_of_the_wrong_type_or_value_is_named(members: dict[str, object], param: str, message: str) -> None:
    assert refusal({"input": "a", **members}) == (param, message)


def test_all_that_is_wrong_is_told_at_once_and_param_is_the_input() -> None:
    param, message = refusal({"dimensions": 0, "model": 1, "input": ""})
    assert param == "input"
    assert [part.partition(":")[0] for part in message.split("; ")] == ["input", "model", "dimensions"]


def test_members_that_are_kept_have_a_limit() -> None:
    assert key(x="v" * (MAX_OPTION_BYTES - 6)).options.more
    said = "with it, the options beside the inputs take more than 4096 bytes"
    assert refusal({"input": "a", "x": "v" * (MAX_OPTION_BYTES - 5)}) == ("x", f'"x": {said}')
    assert "take more than 4096 bytes" in refusal({"input": "a"} | {str(number): 0 for number in range(2000)})[1]


def test_a_model_of_the_longest_name_is_taken() -> None:
    assert key(model="m" * 1000).model == "m" * 1000


def test_members_nested_too_deeply_to_be_written_are_refused() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert refusal({"input": "a", "x": value}) == (None, '"x": the JSON is nested too deeply')


# Azure


def test_azures_deployment_is_the_model_where_the_body_names_none() -> None:
    assert read({"input": "a"}, BOUNDS, deployment="d").key.model == "d"
    assert read({"input": "a", "model": None}, BOUNDS, deployment="d").key.model == "d"
    assert read({"input": "a", "model": "m"}, BOUNDS, deployment="d").key.model == "m"


def test_azures_deployment_is_told_in_the_answer() -> None:
    assert answered(read({"input": "a"}, BOUNDS, deployment="d"), b"[1]")["model"] == "d"


# Answers


def test_the_answer_has_openais_shape() -> None:
    assert answer({"input": "a", "model": "m"}, b"[1,-2.5]", tokens=7) == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [1, -2.5]}],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def test_vectors_stand_in_the_order_of_their_inputs_with_their_index() -> None:
    data = answer({"input": ["a", "b", [3]]}, b"[1]", b"[2]", b"[3]")["data"]
    assert [(each["index"], each["embedding"]) for each in data] == [(0, [1]), (1, [2]), (2, [3])]


@pytest.mark.parametrize("given", ["a", ["a"], [1], [[1]]])
def test_one_input_and_a_list_of_one_are_answered_alike(given: object) -> None:
    assert len(answer({"input": given}, b"[1]")["data"]) == 1


@pytest.mark.parametrize("members", [{}, {"encoding_format": "float"}, {"encoding_format": None}])
def test_numbers_are_told_unless_base64_is_asked_for(members: dict[str, object]) -> None:
    query = read({"input": "a", **members}, BOUNDS)
    call = Call(query.items, query.key, 0.0)
    call.fill(0, [b"[1.0e0, 3.14159265358979323846]"])
    assert b'"embedding":[1.0e0, 3.14159265358979323846]}' in query.answer(call)  # the upstream's own bytes


def test_numbers_are_told_in_base64_where_it_is_asked_for() -> None:
    body = answer({"input": ["a", "b"], "encoding_format": "base64"}, b"[0.1,-2]", b"[3,4e-2]")
    assert [each["embedding"] for each in body["data"]] == [packed(0.1, -2), packed(3, 0.04)]


def test_base64_of_the_upstream_passes_as_it_is() -> None:
    given = packed(0.1, -2)
    body = answer({"input": "a", "encoding_format": "base64"}, b'"%b"' % given.encode())
    assert body["data"][0]["embedding"] == given


def test_base64_of_the_upstream_becomes_numbers_where_they_are_asked_for() -> None:
    body = answer({"input": "a"}, b'"%b"' % packed(0.1, -2).encode())
    assert body["data"][0]["embedding"] == [0.10000000149011612, -2]


def test_both_forms_of_one_result_are_equal_to_the_last_bit() -> None:
    result = json.dumps([math.sin(number) * 10.0 ** (number % 60 - 30) for number in range(1, 385)]).encode()
    numbers = answer({"input": "a"}, result)["data"][0]["embedding"]
    characters = answer({"input": "a", "encoding_format": "base64"}, result)["data"][0]["embedding"]
    assert characters == packed(*numbers)


@pytest.mark.parametrize("result", [b"[1e39]", b"[1,-1e300]"])
def test_a_number_that_base64_cannot_hold_is_an_error_of_the_upstream(result: bytes) -> None:
    assert answer({"input": "a"}, result)["data"][0]["embedding"] == json.loads(result)
    with pytest.raises(UpstreamProtocolError, match="too large for float32"):
        answer({"input": "a", "encoding_format": "base64"}, result)


def test_base64_that_is_no_vector_is_an_error_of_the_upstream_where_numbers_are_asked_for() -> None:
    with pytest.raises(UpstreamProtocolError, match="NaN or an infinity"):
        answer({"input": "a"}, b'"%b"' % packed(math.nan).encode())


@pytest.mark.parametrize(
    ("asked", "served", "told"), [("m", "s", "s"), ("m", None, "m"), (None, "s", "s"), (None, None, ""), ("", None, "")]
)
def test_the_answer_names_the_model_that_is_served_or_else_the_clients(
    asked: str | None, served: str | None, told: str
) -> None:
    assert answer({"input": "a", "model": asked}, b"[1]", bounds=Bounds(2048, model=served))["model"] == told


def test_a_models_name_is_written_as_json() -> None:
    assert answer({"input": "a", "model": 'a"\n\\ü'}, b"[1]")["model"] == 'a"\n\\ü'


# Usage


@pytest.mark.parametrize("tokens", [0, 1, 12345])
def test_usage_is_what_the_upstream_counted_for_this_call(tokens: int) -> None:
    usage = answer({"input": ["a", "b"]}, b"[1]", b"[2]", tokens=tokens)["usage"]
    assert usage == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_usage_is_estimated_where_the_upstream_counts_no_tokens() -> None:
    usage = answer({"input": ["12345", [7, 8, 9]]}, b"[1]", b"[2]")["usage"]
    assert usage == {"prompt_tokens": 5, "total_tokens": 5}


# Routes


def test_all_clients_paths_are_routes() -> None:
    assert {route.path for route in ROUTES} == {
        "/v1/embeddings",
        "/embeddings",
        "/openai/v1/embeddings",
        "/openai/deployments/<path:deployment>/embeddings",
    }


@pytest.mark.parametrize("route", ROUTES)
def test_the_sdks_own_time_outs_in_seconds_shorten_the_deadline(route: Any) -> None:
    assert dict(route.deadline_headers) == {"HTTP_X_STAINLESS_READ_TIMEOUT": 1.0, "HTTP_X_STAINLESS_TIMEOUT": 1.0}


@pytest.mark.parametrize("route", ROUTES)
def test_a_name_that_stands_twice_is_400_and_only_the_input_may_be_long(route: Any) -> None:
    assert route.duplicate_status({"input"}) == 400
    assert route.long_members == {"input"}


def test_a_wrong_field_is_the_error_that_names_fields() -> None:
    with pytest.raises(WrongFieldsError):
        read({"input": 1}, BOUNDS)
