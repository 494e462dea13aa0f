"""Whatever JSON object is sent to TEI's routes: a refusal in its form, a query with a valid answer, or valid bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.apis.embed import ROUTES as EMBED
from api.apis.query import Bounds, Finished, Forward, Query, Route
from api.apis.tei import TeiApi
from api.apis.tei_routes import ROUTES as OTHERS
from api.error_forms import RequestError
from batching import Call, Task
from upstream.dialects.tei import TeiDialect

BOUNDS = Bounds(items=4, upstream_items=2)
ROUTES = {route.path: route for route in (*EMBED, *OTHERS)}
RESULTS = {
    Task.EMBED: b"[0.5]",
    Task.EMBED_ALL: b"[[0.5]]",
    Task.EMBED_SPARSE: b'[{"index":1,"value":0.5}]',
    Task.CLASSIFY: b'[{"score":0.5,"label":"a"}]',
}

#: Halves of surrogate pairs among them: JSON can say them with ``\ud800``.
TEXTS = st.text(st.characters(), max_size=4)
IDS = st.lists(st.integers(-1, 2**32), max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
NAMES = st.sampled_from(sorted({name for route in ROUTES.values() for name in route.schema().fields})) | TEXTS
VALUES = st.recursive(
    SCALARS | st.sampled_from(["Left", "right"]) | st.lists(TEXTS | IDS, max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
SOME_TEXTS = st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=4)
#: Inputs of the right types, which reach the answer more often.
LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "inputs": SOME_TEXTS
        | st.lists(SOME_TEXTS, max_size=4)
        | st.fixed_dictionaries({"source_sentence": TEXTS, "sentences": SOME_TEXTS}),
        "ids": IDS | st.lists(IDS, max_size=4),
        "query": TEXTS,
        "texts": SOME_TEXTS,
        "return_text": st.booleans(),
        "parameters": st.dictionaries(st.sampled_from(["truncate", "prompt_name", "x"]), SCALARS, max_size=2),
    },
)
BODIES = st.builds(lambda more, likely: {**more, **likely}, st.dictionaries(NAMES, VALUES, max_size=4), LIKELY)


def read(route: Route, body: dict[str, Any], task: Task) -> Query | Forward | Finished | RequestError:
    try:
        return route.read(body, BOUNDS._replace(task=task))
    except RequestError as problem:
        return problem


@pytest.mark.parametrize("path", ROUTES)
@settings(max_examples=100, deadline=None)
@given(body=BODIES, task=st.sampled_from([Task.EMBED, Task.CLASSIFY]))
def test_any_object_is_refused_answered_or_passed_on(path: str, body: dict[str, Any], task: Task) -> None:
    asked = read(ROUTES[path], body, task)
    if isinstance(asked, RequestError):
        told = json.loads(TeiApi().error(asked, "id"))
        assert told.keys() == {"error", "error_type", "request_id"}
        assert TeiApi().status(asked) in {400, 422}
    elif isinstance(asked, Query):
        assert 1 <= len(asked.items) <= BOUNDS.items
        sent = json.loads(TeiDialect().request(asked.key, asked.items).body or b"")
        assert len(sent["inputs"]) == len(asked.items)
        call = Call(asked.items, asked.key, 0.0)
        call.fill(0, [RESULTS[asked.key.task]] * len(asked.items))
        json.loads(asked.answer(call))
    else:
        assert isinstance(asked, Forward)
        assert TeiDialect().forwards(asked.path)
        assert all(isinstance(json.loads(each), dict) for each in asked.bodies)
        assert (asked.join is not None) == (len(asked.bodies) > 1)


@pytest.mark.parametrize("path", ROUTES)
def test_what_is_nested_too_deeply_is_refused_or_read_over(path: str) -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    body = {"inputs": "a", "query": "q", "texts": ["a"], "ids": [1], "x": deep}
    asked = read(ROUTES[path], body, Task.EMBED)
    assert isinstance(asked, RequestError | Forward)
    for name in ("inputs", "query", "texts", "ids", "truncate", "parameters"):
        assert isinstance(read(ROUTES[path], {**body, name: deep}, Task.EMBED), RequestError | Forward)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((path, {"inputs": "a", "x": "\ud800"}) for path in ("/", "/invocations", "/embed", "/embed_all", "/predict")),
        ("/rerank", {"query": "a", "texts": ["b"], "x": "\ud800"}),
        ("/tokenize", {"inputs": "a", "prompt_name": "\ud800"}),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"]}, "parameters": {"x": "\ud800"}}),
    ],
)
def test_half_of_a_surrogate_pair_in_an_option_is_400_on_every_route(path: str, body: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        ROUTES[path].read(body, BOUNDS)
    assert caught.value.status == 400
