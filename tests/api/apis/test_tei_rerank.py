"""``POST /rerank``: pairs go upstream, and come back as ranks in the order of TEI."""

from __future__ import annotations

from typing import Any

import pytest

from api.apis.query import Bounds, Query
from api.apis.tei_rerank import MAX_PAIR_BYTES, read_rerank
from api.error_forms import RequestError
from batching import BatchKey, Call, Options, Task
from batching.errors import UpstreamProtocolError

BOUNDS = Bounds(items=4)


def body(**members: object) -> dict[str, Any]:
    return {"query": "q", "texts": ["a", "b", "c"], **members}


def refusal(asked: dict[str, Any], bounds: Bounds = BOUNDS) -> tuple[int, str, str]:
    with pytest.raises(RequestError) as caught:
        read_rerank(asked, bounds)
    return caught.value.status, caught.value.error_type, caught.value.message


def scored(query: Query, *scores: bytes) -> bytes:
    call = Call(query.items, query.key, 0.0)
    call.fill(0, [b'[{"score":' + score + b',"label":"LABEL_0"}]' for score in scores])
    return query.answer(call)


def test_each_text_becomes_a_pair_with_the_query() -> None:
    asked = read_rerank({"query": 'ü"', "texts": ["a", "", "b\n"]}, BOUNDS)
    assert asked.items == ['["ü\\"","a"]'.encode(), '["ü\\"",""]'.encode(), '["ü\\"","b\\n"]'.encode()]


def test_a_rerank_shares_batches_with_predictions_of_the_same_options() -> None:
    assert read_rerank(body(), BOUNDS).key == BatchKey(Task.CLASSIFY)
    asked = read_rerank(body(truncate=True, truncation_direction="Left", raw_scores=True, return_text=True), BOUNDS)
    assert asked.key == BatchKey(Task.CLASSIFY, Options(truncate=True, truncation_direction="left", raw_scores=True))


def test_inputs_beside_the_texts_do_not_take_the_place_of_the_pairs() -> None:
    asked = read_rerank(body(inputs=["x"]), BOUNDS)
    assert asked.key == BatchKey(Task.CLASSIFY)
    assert len(asked.items) == 3


def test_ranks_are_sorted_by_score_and_keep_the_digits_of_the_upstream() -> None:
    ranks = scored(read_rerank(body(), BOUNDS), b"0.10", b"9.9e-1", b"-3")
    assert ranks == b'[{"index":1,"score":9.9e-1},{"index":0,"score":0.10},{"index":2,"score":-3}]'


def test_of_equal_scores_the_last_comes_first_as_for_tei() -> None:
    ranks = scored(read_rerank(body(), BOUNDS), b"0.5", b"0.50", b"0.7")
    assert ranks == b'[{"index":2,"score":0.7},{"index":1,"score":0.50},{"index":0,"score":0.5}]'


def test_the_texts_are_told_where_they_are_asked_for() -> None:
    asked = read_rerank({"query": "q", "texts": ["ä", ""], "return_text": True}, BOUNDS)
    assert scored(asked, b"1", b"2") == '[{"index":1,"text":"","score":2},{"index":0,"text":"ä","score":1}]'.encode()


def test_a_model_with_several_labels_is_no_reranker() -> None:
    query = read_rerank({"query": "q", "texts": ["a"]}, BOUNDS)
    call = Call(query.items, query.key, 0.0)
    call.fill(0, [b'[{"score":1,"label":"A"},{"score":0,"label":"B"}]'])
    with pytest.raises(RequestError) as caught:
        query.answer(call)
    assert (caught.value.status, caught.value.error_type) == (424, "Backend")
    assert caught.value.message == "Backend error: model is not a re-ranker model"


@pytest.mark.parametrize("result", [b"[1]", b'[{"score":"x"}]', b'[{"score":null}]', b'[{"label":"A"}]', b"{}"])
def test_an_answer_without_a_score_is_no_answer(result: bytes) -> None:
    query = read_rerank({"query": "q", "texts": ["a"]}, BOUNDS)
    call = Call(query.items, query.key, 0.0)
    call.fill(0, [result])
    with pytest.raises(UpstreamProtocolError):
        query.answer(call)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"texts": ["a"]}, "query: is missing"),
        ({"query": "q"}, "texts: is missing"),
        (body(query=None), "query: must not be null"),
        (body(query=["q"]), "query: must be a text"),
        (body(texts="a"), "texts: must be a list of texts"),
        (body(texts=["a", 1]), "texts[1]: must be a text"),
        (body(texts=[[1, 2]]), "texts[0]: must be a text"),
        (body(texts=[1]), "texts[0]: must be a text"),
        (body(return_text=1), "return_text: must be true or false"),
        (body(raw_scores="yes"), "raw_scores: must be true or false"),
        (body(texts=["a"] * 5), "batch size 5 > maximum allowed batch size 4"),
    ],
)
def test_a_wrong_member_is_422_and_named(asked: dict[str, Any], message: str) -> None:
    assert refusal(asked) == (422, "Validation", message)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (body(texts=[]), "`texts` cannot be empty"),
        (body(query="", texts=["a", ""]), "Input validation error: `inputs` cannot be empty"),
    ],
)
def test_what_is_empty_is_400_in_the_words_of_tei(asked: dict[str, Any], message: str) -> None:
    assert refusal(asked) == (400, "Empty", message)


@pytest.mark.parametrize("member", [{"query": "\ud800"}, {"texts": ["\udfff"]}])
def test_half_of_a_surrogate_pair_is_400(member: dict[str, Any]) -> None:
    assert refusal(body(**member))[0] == 400


def test_a_query_that_would_fill_the_memory_with_its_texts_is_refused() -> None:
    query = "q" * 2**20
    most = MAX_PAIR_BYTES // (len(query) + 2)
    bounds = Bounds(items=most + 1)
    assert len(read_rerank({"query": query, "texts": ["a"] * most}, bounds).items) == most
    assert refusal({"query": query, "texts": ["a"] * (most + 1)}, bounds)[0] == 413
