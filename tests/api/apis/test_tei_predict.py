"""``POST /predict``: a text, a pair, or a list of these; labels as the upstream wrote them."""

from __future__ import annotations

from typing import Any

import pytest

from api.apis.query import Bounds, Query
from api.apis.tei_predict import read_predict
from api.error_forms import RequestError
from batching import BatchKey, Call, Options, Task

BOUNDS = Bounds(items=3)
LABELS = b'[{"score":0.90,"label":"joy"},{"score":0.1,"label":"anger"}]'


def read(inputs: object, **members: object) -> Query:
    return read_predict({"inputs": inputs, **members}, BOUNDS)


def refusal(body: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        read_predict(body, BOUNDS)
    return caught.value.status, caught.value.message


def answered(query: Query, *results: bytes) -> bytes:
    call = Call(query.items, query.key, 0.0)
    call.fill(0, list(results))
    return query.answer(call)


@pytest.mark.parametrize(
    ("inputs", "items", "is_list"),
    [
        ("a", [b'["a"]'], False),
        (["a"], [b'["a"]'], False),
        (["a", "b"], [b'["a","b"]'], False),
        (["a", ""], [b'["a",""]'], False),
        ([["a"]], [b'["a"]'], True),
        ([["a"], ["b", "c"]], [b'["a"]', b'["b","c"]'], True),
        ('ü"\n', ['["ü\\"\\n"]'.encode()], False),
    ],
)
def test_a_text_and_a_pair_are_one_item_and_are_answered_without_a_list_around(
    inputs: object, items: list[bytes], is_list: bool
) -> None:
    query = read(inputs)
    assert query.items == items
    assert answered(query, *[LABELS] * len(items)) == (
        b"[" + b",".join([LABELS] * len(items)) + b"]" if is_list else LABELS
    )


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (5, "inputs: must be a text, a pair of texts, or a list of lists of one or two texts"),
        ([], "inputs: must be a text, a pair of texts, or a list of lists of one or two texts"),
        (["a", "b", "c"], "inputs: must be a text, a pair of texts, or a list of lists of one or two texts"),
        (["a", 1], "inputs: must be a text, a pair of texts, or a list of lists of one or two texts"),
        (["a", ["b"]], "inputs: must be a text, a pair of texts, or a list of lists of one or two texts"),
        ([["a"], "b"], "inputs[1]: must be a list of one or two texts"),
        ([["a"], []], "inputs[1]: must be a list of one or two texts"),
        ([["a", "b", "c"]], "inputs[0]: must be a list of one or two texts"),
        ([[1, 2]], "inputs[0]: must be a list of one or two texts"),
        ([1, 2], "inputs[0]: must be a list of one or two texts"),
        (None, "inputs: must not be null"),
    ],
)
def test_other_shapes_are_refused_and_the_first_wrong_one_is_named(inputs: object, message: str) -> None:
    assert refusal({"inputs": inputs}) == (422, message)


@pytest.mark.parametrize("inputs", ["", [""], ["", ""], [["a"], ["", ""]]])
def test_an_input_without_any_character_is_400_in_the_words_of_tei(inputs: object) -> None:
    assert refusal({"inputs": inputs}) == (400, "Input validation error: `inputs` cannot be empty")


def test_half_of_a_surrogate_pair_is_400() -> None:
    assert refusal({"inputs": [["a", "\udc00"]]})[0] == 400


def test_a_body_without_inputs_is_422() -> None:
    assert refusal({}) == (422, "inputs: is missing")


@pytest.mark.parametrize("members", [{}, {"truncate": True}])
def test_pairs_are_counted_as_one(members: dict[str, Any]) -> None:
    assert len(read([["a", "b"]] * 3, **members).items) == 3
    assert refusal({"inputs": [["a", "b"]] * 4, **members}) == (422, "batch size 4 > maximum allowed batch size 3")


def test_a_lone_pair_is_taken_where_one_item_is_the_limit() -> None:
    assert read_predict({"inputs": ["a", "b"]}, Bounds(items=1)).items == [b'["a","b"]']


@pytest.mark.parametrize(
    ("members", "options"),
    [
        ({}, Options()),
        ({"raw_scores": False}, Options()),
        ({"raw_scores": True}, Options(raw_scores=True)),
        ({"truncate": False, "truncation_direction": "left"}, Options(truncate=False, truncation_direction="left")),
        ({"parameters": {}}, Options()),
        ({"prompt_name": "p", "normalize": 1, "dimensions": 2, "user": 3}, Options()),
        ({"top_k": 2}, Options(more=(("top_k", b"2"),), family="tei")),
    ],
)
def test_what_changes_the_scores_joins_the_key(members: dict[str, Any], options: Options) -> None:
    assert read("a", **members).key == BatchKey(Task.CLASSIFY, options)


@pytest.mark.parametrize("member", [{"raw_scores": None}, {"raw_scores": 1}, {"truncate": "no"}])
def test_options_of_another_type_are_422_and_named(member: dict[str, Any]) -> None:
    status, message = refusal({"inputs": "a", **member})
    assert status == 422
    assert message.startswith(next(iter(member)))
