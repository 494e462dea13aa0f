"""Whatever JSON object is sent to KServe's, Ollama's and Cohere's routes: a refusal, or a query with a valid answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.apis import cohere, kserve, ollama
from api.apis.query import Bounds, Finished, Query, Route
from api.apis.table import api_of
from api.error_forms import RequestError
from batching import Call, Task

BOUNDS = Bounds(items=4, model="served")
ROUTES = {route.path: route for route in (*kserve.ROUTES, *ollama.ROUTES, *cohere.ROUTES)}

#: Halves of surrogate pairs among them: JSON can say them with ``\ud800``.
TEXTS = st.text(st.characters(), max_size=4)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
PART = st.fixed_dictionaries({}, optional={"type": st.sampled_from(["text", "image_url"]) | SCALARS, "text": SCALARS})
NAMES = st.sampled_from(sorted({name for route in ROUTES.values() for name in route.schema().fields})) | TEXTS
VALUES = st.recursive(
    SCALARS
    | st.sampled_from(["NONE", "START", "END", "float", "base64", "int8"])
    | st.lists(st.fixed_dictionaries({"content": st.lists(PART, max_size=2)}), max_size=3)
    | st.lists(TEXTS, max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=5)
#: At least one text, beside anything: these reach the answer more often.
LIKELY = st.builds(
    lambda texts, more, name: {**more, name: texts[0] if name == "prompt" else texts},
    st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=4),
    BODIES,
    st.sampled_from(["texts", "input", "prompt", "instances"]),
)


def read(route: Route, body: dict[str, Any]) -> Query | Finished | RequestError:
    arguments = {"model": "m"} if "<path:model>" in route.path else {}
    try:
        query = route.read(body, BOUNDS, **arguments)
    except RequestError as problem:
        return problem
    assert isinstance(query, Query | Finished)
    return query


@pytest.mark.parametrize("path", ROUTES)
@settings(max_examples=100, deadline=None)
@given(body=BODIES | LIKELY)
def test_any_object_is_refused_or_answered(path: str, body: dict[str, Any]) -> None:
    query = read(ROUTES[path], body)
    if isinstance(query, RequestError):
        told = json.loads(api_of(path).error(query, "id"))
        assert told.get("error") or told["message"]
        assert 400 <= api_of(path).status(query) < 500
    elif isinstance(query, Finished):
        json.loads(query.body)
    else:
        assert 1 <= len(query.items) <= BOUNDS.items
        for item in query.items:
            json.loads(item)
        assert isinstance(hash(query.key), int)
        call = Call(query.items, query.key._replace(task=Task.EMBED), 0.0)
        call.fill(0, [b"[0.5]", b'"AAAAPw=="', b"[-1e-9]", b"[0]"][: len(query.items)])
        json.loads(query.answer(call))


@pytest.mark.parametrize("path", ROUTES)
@settings(max_examples=25, deadline=None)
@given(body=LIKELY)
def test_a_key_is_the_same_for_members_in_any_order(path: str, body: dict[str, Any]) -> None:
    turned = dict(reversed(body.items()))
    one, other = read(ROUTES[path], body), read(ROUTES[path], turned)
    assert type(one) is type(other)
    if isinstance(one, Query) and isinstance(other, Query):
        assert one.key == other.key
        assert one.items == other.items


def test_what_is_nested_too_deeply_is_refused_where_it_would_be_passed_on() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    for body in ({"instances": [deep]}, {"instances": ["a"], "x": deep}):
        problem = read(ROUTES["/v1/models/<path:model>:predict"], body)
        assert isinstance(problem, RequestError)
        assert problem.message.endswith("the JSON is nested too deeply")
    assert isinstance(read(ROUTES["/api/embed"], {"input": "a", "options": {"x": deep}}), Query)
