"""Each kind of server has its dialect, and one sentence says what it speaks and what it would be sent."""

from __future__ import annotations

import pytest

from batching import BatchKey, Task
from tests.support.fakes import items_of
from upstream.detection import Found, Wanted
from upstream.kinds import dialect_of, make_dialect, sentence

URL = "http://u"


@pytest.mark.parametrize("api", ["tei", "openai", "kserve", "plain"])
def test_each_api_has_a_dialect_of_its_name(api: str) -> None:
    assert make_dialect(api, URL).name == api


def test_an_api_without_a_dialect_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no dialect for 'grpc'"):
        make_dialect("grpc", URL)


@pytest.mark.parametrize(
    ("found", "wanted", "path", "body"),
    [
        (Found("tei", ""), Wanted(), "/embed", b'{"inputs":["a"]}'),
        (Found("kserve", ""), Wanted(model="m"), "/v1/models/m:predict", b'{"instances":["a"]}'),
        (
            Found("plain", "", "/encode", "texts"),
            Wanted(extra='{"model":"m"}'),
            "/encode",
            b'{"texts":["a"],"model":"m"}',
        ),
    ],
)
def test_the_dialect_is_made_of_what_was_found_and_what_was_set(
    found: Found, wanted: Wanted, path: str, body: bytes
) -> None:
    dialect = dialect_of(found, URL, wanted)
    key = dialect.fit(BatchKey(Task.EMBED), items_of("a"))
    request = dialect.request(key, items_of("a"))
    assert (request.path, request.body) == (path, body)


def test_an_openai_server_is_asked_at_the_path_that_was_found_for_the_model_that_was_set() -> None:
    dialect = dialect_of(Found("openai", "", "/embeddings"), URL, Wanted(model="m"))
    request = dialect.request(dialect.fit(BatchKey(Task.EMBED), items_of("a")), items_of("a"))
    assert request.path == "/embeddings"
    assert b'"m"' in (request.body or b"")


TOLD = [
    (Found("tei", "GET /info tells m"), "speaks TEI's API (GET /info tells m): " + 'POST /embed {"inputs":["a","b"]}'),
    (
        Found("tei", "it says nothing of itself", is_guess=True),
        (
            "is taken for a server of TEI's API (it says nothing of itself; upstream_api overrides it): "
            'POST /embed {"inputs":["a","b"]}'
        ),
    ),
    (
        Found("plain", "GET /openapi.json documents it", "/encode", "texts"),
        'speaks a plain API of its own (GET /openapi.json documents it): POST /encode {"texts":["a","b"]}',
    ),
    (
        Found("plain", "it says so", problem="it takes one text a call"),
        "cannot be used (it says so): it takes one text a call",
    ),
    (
        Found("kserve", "GET /v1/models lists a", models=("a",)),
        'speaks KServe v1 (GET /v1/models lists a): POST /v1/models/a:predict {"instances":["a","b"]}',
    ),
    (
        Found("kserve", "GET /v1/models lists a, b", models=("a", "b")),
        "speaks KServe v1 (GET /v1/models lists a, b): a batch is one POST in KServe v1",
    ),
]


@pytest.mark.parametrize(("found", "said"), TOLD)
def test_a_sentence_says_what_is_spoken_and_what_would_be_sent(found: Found, said: str) -> None:
    assert sentence(found, dialect_of(found, URL, Wanted())) == said
