"""Answers of TEI, as they were recorded, pass through dialect and API byte for byte, on each of its routes."""

from __future__ import annotations

from typing import Any

import pytest

from api.apis.embed import read_embed
from api.apis.query import Bounds, Finished, Forward, Query
from api.apis.tei_routes import ROUTES
from batching import Call, Task
from batching.errors import Unsupported
from upstream.dialects.tei import TeiDialect
from upstream.http_reply import Reply

READ = {"/embed": read_embed, **{route.path: route.read for route in ROUTES}}
VECTORS_OF_TOKENS = (
    b"[[-0.16137695,-0.07702637,-0.046447754],[-0.62841797,0.18518066,-0.23779297],[0.09234619,0.5576172,-0.60058594]]"
)
EMBEDDER = (
    b'{"model_id":"PATH","model_sha":null,"model_dtype":"float16","served_model_name":"minilm",'
    b'"model_type":{"embedding":{"pooling":"mean"}},"max_concurrent_requests":512,"max_input_length":256,'
    b'"max_batch_tokens":16384,"max_batch_requests":4,"max_client_batch_size":32,"auto_truncate":true,'
    b'"tokenization_workers":1,"version":"1.9.3","sha":"0d124dc9773be6ac5a9a57d8439aba9bbbf33273","docker_label":null}'
)
EMOTIONS = b'[{"score":0.9,"label":"joy"},{"score":0.1,"label":"anger"}]'
RANKED = b'[[{"score":0.25,"label":"LABEL_0"}],[{"score":0.999,"label":"LABEL_0"}]]'


def read(path: str, body: dict[str, Any], task: Task = Task.EMBED) -> Query | Forward | Finished:
    return READ[path](body, Bounds(items=2048, task=task))


def asked_and_answered(query: Query, recorded: bytes) -> tuple[str, bytes | None, bytes]:
    """Return the path and the body that go upstream, and the body that the client gets for what was recorded."""
    dialect = TeiDialect()
    key = dialect.fit(query.key, query.items)
    request = dialect.request(key, query.items)
    answer = dialect.answer(key, len(query.items), Reply(200, {}, recorded))
    call = Call(query.items, key, 0.0)
    call.fill(0, answer.results)
    return request.path, request.body, query.answer(call)


@pytest.mark.parametrize(
    ("path", "body", "recorded"),
    [
        ("/embed", {"inputs": ["a"], "dimensions": 3}, b"[[-0.5329877,0.50892633,-0.67595714]]"),
        ("/embed", {"inputs": ["a", "b"], "dimensions": 2}, b"[[-0.7232435,0.6905931],[-0.84232193,0.5389747]]"),
        ("/embed", {"inputs": ["a"], "dimensions": 1}, b"[[-1.0]]"),
        ("/", {"inputs": ["a"]}, b"[[-0.0363278,0.034687806,-0.046072423]]"),
        ("/invocations", {"inputs": ["a"]}, b"[[-0.0363278,0.034687806,-0.046072423]]"),
        ("/embed_all", {"inputs": ["a"]}, b"[" + VECTORS_OF_TOKENS + b"]"),
        ("/embed_all", {"inputs": ["a", "b c"]}, b"[" + VECTORS_OF_TOKENS + b"," + VECTORS_OF_TOKENS + b"]"),
        ("/embed_sparse", {"inputs": ["a", " "]}, b'[[{"index":1037,"value":1.5}],[]]'),
        ("/predict", {"inputs": [["a"], ["b", "c"]]}, b"[" + EMOTIONS + b"," + EMOTIONS + b"]"),
    ],
)
def test_what_was_recorded_for_a_list_is_what_its_client_gets(path: str, body: dict[str, Any], recorded: bytes) -> None:
    query = read(path, body)
    assert isinstance(query, Query)
    sent_to, sent, told = asked_and_answered(query, recorded)
    assert sent_to == (path if path not in {"/", "/invocations"} else "/embed")
    assert told == recorded
    assert sent is not None


@pytest.mark.parametrize("path", ["/predict", "/"])
def test_what_was_recorded_for_one_text_of_a_batch_is_told_without_the_list(path: str) -> None:
    query = read(path, {"inputs": "a", "raw_scores": True}, Task.CLASSIFY)
    assert isinstance(query, Query)
    sent = b'{"inputs":[["a"]],"raw_scores":true}'
    assert asked_and_answered(query, b"[" + EMOTIONS + b"]") == ("/predict", sent, EMOTIONS)


@pytest.mark.parametrize("path", ["/rerank", "/"])
def test_what_was_recorded_for_pairs_is_told_as_ranks(path: str) -> None:
    query = read(path, {"query": "q", "texts": ["a", "b"], "return_text": True})
    assert isinstance(query, Query)
    told = b'[{"index":1,"text":"b","score":0.999},{"index":0,"text":"a","score":0.25}]'
    assert asked_and_answered(query, RANKED) == ("/predict", b'{"inputs":[["q","a"],["q","b"]]}', told)


@pytest.mark.parametrize(
    ("path", "body", "sent_to", "sent"),
    [
        (
            "/similarity",
            {"inputs": {"source_sentence": "a", "sentences": ["a", "b"]}},
            "/similarity",
            b'{"inputs":{"source_sentence":"a","sentences":["a","b"]}}',
        ),
        (
            "/",
            {"inputs": {"source_sentence": "a", "sentences": ["a", "b"]}, "parameters": {}},
            "/similarity",
            b'{"inputs":{"source_sentence":"a","sentences":["a","b"]}}',
        ),
        ("/tokenize", {"inputs": "What is é?"}, "/tokenize", '{"inputs":"What is é?"}'.encode()),
        (
            "/tokenize",
            {"inputs": ["a", "b"], "add_special_tokens": False},
            "/tokenize",
            b'{"inputs":["a","b"],"add_special_tokens":false}',
        ),
        ("/decode", {"ids": [101, 2054, 102]}, "/decode", b'{"ids":[101,2054,102]}'),
        (
            "/decode",
            {"ids": [[101, 2054, 102], [2003]], "skip_special_tokens": False},
            "/decode",
            b'{"ids":[[101,2054,102],[2003]],"skip_special_tokens":false}',
        ),
    ],
)
def test_what_is_passed_on_was_recorded_with_the_same_body(
    path: str, body: dict[str, Any], sent_to: str, sent: bytes
) -> None:
    asked = read(path, body)
    assert isinstance(asked, Forward)
    assert (asked.path, asked.bodies, asked.join) == (sent_to, [sent], None)
    assert TeiDialect().forwards(sent_to)


@pytest.mark.parametrize(
    ("path", "body", "recorded"),
    [
        ("/embed_sparse", {"inputs": "a"}, "Backend error: Model is not an embedding model with SPLADE pooling"),
        ("/predict", {"inputs": "a"}, "Backend error: Model is not a classifier model"),
    ],
)
def test_what_the_recorded_model_refused_is_refused_without_asking_it(
    path: str, body: dict[str, Any], recorded: str
) -> None:
    dialect = TeiDialect()
    dialect.describe(lambda _: Reply(200, {}, EMBEDDER))
    query = read(path, body)
    assert isinstance(query, Query)
    with pytest.raises(Unsupported) as caught:
        dialect.fit(query.key, query.items)
    assert (caught.value.status, caught.value.error_type, caught.value.message) == (424, "Backend", recorded)
