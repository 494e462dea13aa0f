"""Bodies of KServe, Ollama and Cohere: each is refused in its API's form, or answered with what it asks for."""

from __future__ import annotations

import json
from typing import Any

from api.apis import cohere, kserve, ollama
from api.apis.query import Bounds, Finished, Query, Route
from api.apis.table import api_of
from api.body import parse_object
from api.error_forms import RequestError
from batching import BatchKey, Call, Task

ROUTES = (*kserve.ROUTES, *ollama.ROUTES, *cohere.ROUTES)
MOST_ITEMS = 8

SEEDS = [
    b'\0{"instances":["a",{"b":[1.5e3,-0.0,null]},[1,[true]]],"signature_name":"s"}',
    b'\0{"instances":[],"x":{"b":1,"a":"\\ud800"}}',
    b'\0{"instances":["\\ud800"]}',
    b'\1{"model":"m","input":["a","b \\ud83d\\ude00 \xc3\xbc"],"truncate":false,"dimensions":64}',
    b'\1{"model":"","input":"a","options":{"num_ctx":256},"keep_alive":"5m"}',
    b'\1{"input":["a",1],"dimensions":-1,"options":[],"model":"\\ud800"}',
    b'\2{"model":"m","prompt":"a","options":null}',
    b'\2{"prompt":["a"]}',
    b'\3{"texts":["a","b"],"model":"m","input_type":"search_query","truncate":"START"}',
    b'\3{"texts":["a",""],"embedding_types":["int8"],"images":["x"],"max_tokens":1}',
    b'\4{"inputs":[{"content":[{"type":"text","text":"a"}]}],"embedding_types":["float","base64"],"output_dimension":8}',
    b'\4{"inputs":[{"content":[{"type":"image_url","image_url":{"url":"x"}}]}],"texts":null}',
]
TOKENS = [
    *(f'"{name}":'.encode() for route in ROUTES for name in route.schema().fields),
    *(b'"content":', b'"type":', b'"text":', b'"x":', b'"text"', b'"float"', b'"base64"', b'"START"', b'"NONE"'),
    *(b"true", b"false", b"null", b"1e999", b"-0.0", b"18446744073709551616", b"\\ud800", b"\xed\xa0\x80"),
    *(b"[", b"]", b"{", b"}", b",", b'","', b'"'),
]


def check(data: bytes) -> None:
    """The first byte chooses the route, the rest is the body."""
    if not data:
        return
    route = ROUTES[data[0] % len(ROUTES)]
    try:
        query = _read(route, data[1:])
    except RequestError as problem:
        _check_refusal(route, problem)
        return
    if isinstance(query, Finished):
        assert [] in json.loads(query.body).values()
        return
    meant = json.loads(data[1:])
    _check_items(query, next(meant[name] for name in route.long_members if meant.get(name) is not None))
    _check_answer(query)


def _read(route: Route, body: bytes) -> Query | Finished:
    arguments = {"model": "m"} if "<path:model>" in route.path else {}
    query = route.read(parse_object(body), Bounds(MOST_ITEMS), **arguments)
    assert isinstance(query, Query | Finished)
    return query


def _check_refusal(route: Route, problem: RequestError) -> None:
    api = api_of(route.path)
    assert api.status(problem) == 400
    told = json.loads(api.error(problem, "id"))
    assert told.get("error") or told["message"]


def _check_items(query: Query, given: Any) -> None:
    expected = [each["content"][0]["text"] if _is_content(query, each) else each for each in _listed(given)]
    assert [json.loads(item) for item in query.items] == expected
    assert 1 <= len(expected) <= MOST_ITEMS


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _is_content(query: Query, each: Any) -> bool:
    return query.key.task is Task.EMBED and isinstance(each, dict)


def _check_answer(query: Query) -> None:
    assert query.key.options.family == ("kserve" if query.key.options.more else "")
    call = Call(query.items, BatchKey(Task.EMBED), 0.0)
    call.fill(0, [b'"AAAAPw=="'] * len(query.items))
    told = json.loads(query.answer(call))
    vectors = told.get("predictions") or told.get("embeddings") or [told["embedding"]]
    for form in vectors.values() if isinstance(vectors, dict) else [vectors]:
        assert form in ([[0.5]] * len(query.items), ["AAAAPw=="] * len(query.items))
