"""KServe's version 1: any instances, the other members in the key, and each prediction as the model gave it."""

from __future__ import annotations

import json

import pytest

from api.apis.kserve import KServeApi, KservePredictSchema, not_found, read_predict
from api.apis.query import Bounds, Finished, Query
from api.error_forms import RequestError
from batching import BatchKey, Call, Options, Task
from batching.errors import Overloaded, Unsupported, UpstreamProtocolError

BOUNDS = Bounds(items=3)
HALF = "holds half of a surrogate pair, which is not a character"


def read(body: dict[str, object], model: str = "m") -> Query:
    query = read_predict(body, BOUNDS, model)
    assert isinstance(query, Query)
    return query


def answer(query: Query, *results: bytes, key: BatchKey | None = None) -> bytes:
    call = Call(query.items, key or query.key, 0.0)
    call.fill(0, list(results))
    return query.answer(call)


def refusal(body: dict[str, object], status: int = 400, model: str = "m") -> str:
    with pytest.raises(RequestError) as caught:
        read(body, model)
    assert KServeApi().status(caught.value) == status
    return caught.value.message


def test_each_instance_is_an_item_whatever_json_it_is() -> None:
    query = read({"instances": ["ü\n", {"b": [1, None], "a": 0.5}, [1, [True]]]})
    assert query.items == ['"ü\\n"'.encode(), b'{"b":[1,null],"a":0.5}', b"[1,[true]]"]
    assert query.key == BatchKey(Task.PREDICT, Options(), "m")


def test_the_model_of_the_path_and_the_other_members_join_the_key() -> None:
    members = {"signature_name": "s", "parameters": {"b": 1, "a": 2}}
    more = (("parameters", b'{"a":2,"b":1}'), ("signature_name", b'"s"'))
    key = read({"instances": [1], **members}, "team/m").key
    assert key == BatchKey(Task.PREDICT, Options(more=more, family="kserve"), "team/m")
    assert key == read({"parameters": {"a": 2, "b": 1}, "signature_name": "s", "instances": ["x"]}, "team/m").key


def test_predictions_pass_as_the_model_gave_them() -> None:
    query = read({"instances": ["a", "b", "c"]})
    assert answer(query, b'{"label": 1.0}', b'"AAAAPw=="', b"null") == (
        b'{"predictions":[{"label": 1.0},"AAAAPw==",null]}'
    )


def test_over_an_upstream_that_embeds_predictions_are_vectors_of_numbers() -> None:
    query = read({"instances": ["a", "b"]})
    assert answer(query, b'"AAAAPw=="', b"[0.25]", key=BatchKey(Task.EMBED)) == b'{"predictions":[[0.5],[0.25]]}'


def test_a_vector_that_is_none_is_the_upstreams_mistake() -> None:
    query = read({"instances": ["a"]})
    with pytest.raises(UpstreamProtocolError):
        answer(query, b'"AAA"', key=BatchKey(Task.EMBED))


def test_no_instances_get_no_predictions_without_an_upstream() -> None:
    assert read_predict({"instances": []}, BOUNDS, "m") == Finished(b'{"predictions":[]}')


@pytest.mark.parametrize("body", [{}, {"inputs": ["a"]}, {"instances": None}, {"instances": "a"}, {"instances": {}}])
def test_instances_have_to_be_a_list(body: dict[str, object]) -> None:
    assert refusal(body) == 'Expected "instances" to be a list'


@pytest.mark.parametrize("count", [2, 3])
def test_as_many_instances_as_the_bounds_say_are_taken(count: int) -> None:
    assert len(read({"instances": [1] * count}).items) == count


def test_more_are_refused() -> None:
    assert refusal({"instances": [1] * 4}) == "batch size 4 > maximum allowed batch size 3"


def test_half_a_surrogate_pair_is_refused_where_it_stands() -> None:
    assert refusal({"instances": ["a", {"x": ["\ud800"]}]}) == f"instances[1]: {HALF}"
    assert refusal({"instances": ["a"], "x": "\ud800"}) == f'"x": {HALF}'


def test_members_beside_the_instances_have_a_bound() -> None:
    assert refusal({"instances": ["a"], "x": "x" * 5000}).startswith('"x": with it, ')


@pytest.mark.parametrize("model", ["x" * 1001, "\ud800"])
def test_a_name_that_no_model_can_have_is_not_found(model: str) -> None:
    assert "does not exist" in refusal({"instances": ["a"]}, 404, model)


def test_errors_are_a_text_and_invalid_input_is_400() -> None:
    api = KServeApi()
    assert json.loads(api.error(RequestError(422, "bad \x1b"), "id")) == {"error": "bad \\x1b"}
    assert [api.status(error) for error in (RequestError(422, ""), Unsupported(""), Overloaded(""))] == [400, 400, 429]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/v2", "version 2 of KServe's protocol is unknown here"),
        ("/v2/models/m/infer", "version 2 of KServe's protocol is unknown here"),
        ("/v2/health/ready", "version 2 of KServe's protocol is unknown here"),
        ("/v1/models/m:explain", "explanations are unknown here"),
        ("/v2/", ""),
        ("/v2/rerank", ""),
    ],
)
def test_a_path_that_is_not_served_is_told_why_and_what_is(path: str, reason: str) -> None:
    message = not_found(path)
    assert message is not None
    assert message.startswith(f"{path} is not served{': ' if reason else ''}{reason}. Served are ")
    assert "POST /v1/models/NAME:predict" in message
    assert "POST /v2/embed" in message


@pytest.mark.parametrize("path", ["/", "/v1/models/m", "/v1/models/m:predict", "/v22", "/embed"])
def test_other_paths_are_none_of_its_business(path: str) -> None:
    assert not_found(path) is None


def test_the_schema_takes_what_is_read() -> None:
    assert KservePredictSchema().load({"instances": ["a", {}], "x": 1}) == {"instances": ["a", {}], "x": 1}
