"""TEI's routes that take inputs and give vectors: strict types, TEI's statuses, and keys of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from api.apis.fields import PLAIN
from api.apis.query import Bounds, Query
from api.apis.tei import TeiApi, read_embed, read_embed_all, read_embed_sparse
from api.error_forms import RequestError
from batching import BatchKey, Call, Options, Task
from batching.errors import Unsupported

BOUNDS = Bounds(items=4)
Read = Callable[[dict[str, Any], Bounds], Query]
OTHERS = pytest.mark.parametrize(
    ("read", "task"), [(read_embed_all, Task.EMBED_ALL), (read_embed_sparse, Task.EMBED_SPARSE)]
)
EACH = pytest.mark.parametrize("read", [read_embed, read_embed_all, read_embed_sparse])


def refusal(read: Read, body: dict[str, Any]) -> tuple[int, str, str]:
    with pytest.raises(RequestError) as caught:
        read(body, BOUNDS)
    return caught.value.status, caught.value.error_type, caught.value.message


def answered(query: Query, *results: bytes) -> bytes:
    call = Call(query.items, query.key, 0.0)
    call.fill(0, list(results))
    return query.answer(call)


# Inputs


@EACH
@pytest.mark.parametrize(
    ("inputs", "items"),
    [
        ("a", [b'"a"']),
        (["a", "b"], [b'"a"', b'"b"']),
        ([1, 2], [b"[1,2]"]),
        ([[1, 2], "a"], [b"[1,2]", b'"a"']),
        ("  ", [b'"  "']),
    ],
)
def test_texts_and_token_ids_are_taken_alone_and_in_lists(read: Read, inputs: object, items: list[bytes]) -> None:
    assert read({"inputs": inputs}, BOUNDS).items == items


@EACH
@pytest.mark.parametrize(("inputs", "expected"), [("a", False), ("[1]", False), ([1], True), (["a", [1]], True)])
def test_a_query_tells_whether_token_ids_are_among_its_inputs(read: Read, inputs: object, expected: bool) -> None:
    assert read({"inputs": inputs}, BOUNDS).has_token_ids is expected


@EACH
@pytest.mark.parametrize("inputs", ["", [], [[]], ["a", ""], ["a", "", ""]])
def test_an_empty_input_is_400_in_the_words_of_tei(read: Read, inputs: object) -> None:
    assert refusal(read, {"inputs": inputs}) == (400, "Empty", "Input validation error: `inputs` cannot be empty")


@EACH
@pytest.mark.parametrize("inputs", [5, None, {"a": 1}, ["a", 5], [-1], [1, True], [[2**32]]])
def test_an_input_of_another_type_is_422(read: Read, inputs: object) -> None:
    status, error_type, message = refusal(read, {"inputs": inputs})
    assert (status, error_type) == (422, "Validation")
    assert message.startswith("inputs")


@EACH
@pytest.mark.parametrize("body", [{}, {"input": "a"}, {"other": "x"}, {"truncate": True}])
def test_a_body_without_inputs_is_422(read: Read, body: dict[str, Any]) -> None:
    assert refusal(read, body) == (422, "Validation", "inputs: is missing")


@EACH
def test_half_of_a_surrogate_pair_is_400_as_json_that_tei_cannot_read(read: Read) -> None:
    assert refusal(read, {"inputs": "\ud800"})[0] == 400


@EACH
@pytest.mark.parametrize("count", [4, 5])
def test_more_inputs_than_the_limit_are_refused_in_the_words_of_tei(read: Read, count: int) -> None:
    body = {"inputs": ["a"] * count}
    if count == 4:
        assert len(read(body, BOUNDS).items) == 4
    else:
        assert refusal(read, body) == (422, "Validation", "batch size 5 > maximum allowed batch size 4")
        assert refusal(read, {**body, "truncate": True})[2] == "batch size 5 > maximum allowed batch size 4"


# Options


@pytest.mark.parametrize("member", [{"truncate": None}, {"prompt_name": None}, {"dimensions": None}])
def test_null_stands_for_an_option_that_is_not_given_where_tei_takes_it(member: dict[str, Any]) -> None:
    assert read_embed({"inputs": "a", **member}, BOUNDS).key is PLAIN


@pytest.mark.parametrize(
    "member",
    [
        {"normalize": None},
        {"normalize": "yes"},
        {"normalize": 1},
        {"truncate": "true"},
        {"truncation_direction": "up"},
        {"truncation_direction": None},
        {"dimensions": 0},
        {"dimensions": -1},
        {"dimensions": "8"},
        {"dimensions": 8.0},
        {"prompt_name": 1},
    ],
)
def test_an_option_that_tei_refuses_is_422_and_named(member: dict[str, Any]) -> None:
    status, _, message = refusal(read_embed, {"inputs": "a", **member})
    assert status == 422
    assert message.startswith(next(iter(member)))


@EACH
@pytest.mark.parametrize("name", ["parameters", "options"])
@pytest.mark.parametrize("value", [{}, None])
def test_an_empty_object_of_options_needs_no_key_of_its_own(read: Read, name: str, value: object) -> None:
    assert read({"inputs": "a", name: value}, BOUNDS).key == read({"inputs": "a"}, BOUNDS).key


def test_a_body_without_options_has_the_plain_key_itself() -> None:
    for body in ({"inputs": "a"}, {"inputs": "a", "normalize": True}, {"inputs": "a", "options": {}, "user": "u"}):
        assert read_embed(body, BOUNDS).key is PLAIN


def test_options_of_the_hugging_face_api_join_the_key_where_they_are_given() -> None:
    key = read_embed({"inputs": "a", "options": {"use_cache": False}}, BOUNDS).key
    assert key.options == Options(more=(("options", b'{"use_cache":false}'),), family="tei")


@OTHERS
@pytest.mark.parametrize(
    ("members", "options"),
    [
        ({}, Options()),
        ({"truncate": True}, Options(truncate=True)),
        ({"truncation_direction": "Left", "prompt_name": "p"}, Options(truncation_direction="left", prompt_name="p")),
        ({"truncation_direction": "Right", "truncate": None}, Options()),
        ({"x": 1}, Options(more=(("x", b"1"),), family="tei")),
        ({"raw_scores": False}, Options(more=(("raw_scores", b"false"),), family="tei")),
    ],
)
def test_the_key_holds_the_task_and_what_changes_its_result(
    read: Read, task: Task, members: dict[str, Any], options: Options
) -> None:
    assert read({"inputs": "a", **members}, BOUNDS).key == BatchKey(task, options)


@OTHERS
@pytest.mark.parametrize("member", [{"normalize": False}, {"dimensions": 8}, {"normalize": "x"}, {"user": "u"}])
def test_options_of_embed_that_tei_reads_over_elsewhere_are_no_part_of_the_key(
    read: Read, task: Task, member: dict[str, Any]
) -> None:
    assert read({"inputs": "a", **member}, BOUNDS).key == BatchKey(task)


# Answers


@EACH
@pytest.mark.parametrize("inputs", ["a", ["a"], [1]])
def test_even_a_single_input_is_answered_a_list(read: Read, inputs: object) -> None:
    assert answered(read({"inputs": inputs}, BOUNDS), b"[ 0.10 ]") == b"[[ 0.10 ]]"


@EACH
def test_results_are_told_in_order_and_as_the_upstream_wrote_them(read: Read) -> None:
    assert answered(read({"inputs": ["a", "b"]}, BOUNDS), b"[1.50]", b"[-0.0]") == b"[[1.50],[-0.0]]"


# Errors


def test_an_error_has_the_status_and_the_form_of_tei() -> None:
    api, error = TeiApi(), Unsupported("Backend error: no", status=424)
    assert api.status(error) == 424
    assert api.error(error, "r1") == b'{"error":"Backend error: no","error_type":"Validation","request_id":"r1"}'


@pytest.mark.parametrize(
    "path",
    ["/embed", "/embed_all", "/embed_sparse", "/predict", "/rerank", "/similarity", "/tokenize", "/decode", "/info"],
)
def test_the_prefixes_are_those_of_all_routes(path: str) -> None:
    assert path.startswith(TeiApi().prefixes)
