"""``POST /`` and ``/invocations``: the shape of a body says which route it is meant for."""

from __future__ import annotations

from typing import Any

import pytest

from api.apis.fields import PLAIN
from api.apis.query import Bounds, Forward, Query
from api.apis.tei_root import read_root
from api.apis.tei_routes import ROUTES
from api.error_forms import RequestError
from batching import BatchKey, Task

EMBEDS, CLASSIFIES = Bounds(items=8), Bounds(items=8, task=Task.CLASSIFY)


def query_of(body: dict[str, Any], bounds: Bounds) -> Query:
    asked = read_root(body, bounds)
    assert isinstance(asked, Query)
    return asked


@pytest.mark.parametrize("inputs", ["a", ["a"], [1, 2]])
def test_inputs_are_embedded_where_the_model_embeds(inputs: object) -> None:
    assert query_of({"inputs": inputs}, EMBEDS).key is PLAIN


def test_what_clients_of_hugging_face_send_shares_batches_with_embed() -> None:
    for body in ({"inputs": "a", "parameters": {}}, {"inputs": ["a"], "options": {}}):
        assert query_of(body, EMBEDS).key is PLAIN


@pytest.mark.parametrize(("inputs", "item"), [("a", b'["a"]'), (["a", "b"], b'["a","b"]'), ([["a"]], b'["a"]')])
def test_inputs_are_classified_where_the_model_classifies(inputs: object, item: bytes) -> None:
    asked = query_of({"inputs": inputs, "parameters": {}}, CLASSIFIES)
    assert (asked.key, asked.items) == (BatchKey(Task.CLASSIFY), [item])


@pytest.mark.parametrize("task", [Task.EMBED_ALL, Task.EMBED_SPARSE])
def test_the_models_own_task_decides(task: Task) -> None:
    assert query_of({"inputs": "a"}, Bounds(items=8, task=task)).key == BatchKey(task)


@pytest.mark.parametrize("bounds", [EMBEDS, CLASSIFIES])
def test_a_query_with_texts_is_a_rerank(bounds: Bounds) -> None:
    asked = query_of({"query": "q", "texts": ["a"]}, bounds)
    assert (asked.key, asked.items) == (BatchKey(Task.CLASSIFY), [b'["q","a"]'])


def test_a_source_sentence_among_the_inputs_makes_a_similarity() -> None:
    asked = read_root({"inputs": {"source_sentence": "s", "sentences": ["a"]}, "parameters": {}}, EMBEDS)
    assert asked == Forward("/similarity", [b'{"inputs":{"source_sentence":"s","sentences":["a"]}}'])


@pytest.mark.parametrize("body", [{}, {"input": "a"}, {"query": "q"}, {"inputs": {"sentences": ["a"]}}])
@pytest.mark.parametrize("bounds", [EMBEDS, CLASSIFIES])
def test_a_body_of_no_route_is_refused_as_one_of_the_models_task(body: dict[str, Any], bounds: Bounds) -> None:
    with pytest.raises(RequestError) as caught:
        read_root(body, bounds)
    assert caught.value.status == 422
    assert caught.value.message.startswith("inputs")


def test_each_route_of_tei_is_there_once_and_refuses_a_name_that_stands_twice_with_422() -> None:
    paths = [route.path for route in ROUTES]
    assert sorted(paths) == [
        *("/", "/decode", "/embed_all", "/embed_sparse", "/invocations", "/predict", "/rerank", "/similarity"),
        "/tokenize",
    ]
    assert {route.duplicate_status({"x"}) for route in ROUTES} == {422}


def test_what_may_be_long_in_a_body_are_its_inputs() -> None:
    for route in ROUTES:
        assert route.long_members & route.schema().fields.keys()
