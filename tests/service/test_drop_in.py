"""The proxy in place of the embedded server: each route of TEI answers the same status, the same bytes, its form."""

from __future__ import annotations

import http.client
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import Service, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

SIMILARITY: dict[str, Any] = {"inputs": {"source_sentence": "a", "sentences": ["a", "b"]}}
Body = dict[str, Any]


def given(name: str, *values: object, **beside: Any) -> list[Body]:
    """Return a body for each value of the member, with the same members beside it."""
    return [{**beside, name: value} for value in values]


#: Bodies that mean the same on each route that takes inputs and gives vectors.
INPUTS: list[Body] = [
    *given("inputs", "a", ["a"], ["a", "b c"], [101, 2054, 102], ["a", [101, 102]], "  ", "naïve 😀"),
    *given("inputs", "", [], [[]], ["a", ""], 5, None, ["a", 5], {"a": 1}, [-1]),
    *given("truncate", None, True, "x", inputs="a"),
    *given("truncation_direction", "left", "up", inputs="a"),
    *given("prompt_name", None, "nope", inputs="a"),
    *given("parameters", {}, inputs="a"),
    *given("options", {}, inputs="a"),
    {"inputs": "a", "no_such_field": 1},
    {"inputs": "word " * 1000, "truncate": False},
    {},
]
OF_EMBED: list[Body] = [
    *given("normalize", False, None, "yes", inputs="a"),
    *given("dimensions", 8, None, 0, -1, "8", 100_000, inputs="a"),
]
RERANKS = given("texts", ["a"], [], "a", [1], query="q")
SIMILARITIES: list[Body] = [
    *given("parameters", {}, {"truncate": True}, 1, **SIMILARITY),
    *given("inputs", *given("sentences", [], [""], 5, source_sentence="a"), {"source_sentence": "a"}),
]
BODIES: dict[str, list[Body]] = {
    "/embed": [*INPUTS, *OF_EMBED],
    "/": [*INPUTS, *OF_EMBED, *RERANKS, *SIMILARITIES],
    "/invocations": [*INPUTS, *OF_EMBED],
    "/embed_all": INPUTS,
    "/embed_sparse": given("inputs", "a", ["a", "b"], 5, None),
    "/predict": given("inputs", "a", ["a", "b"], [["a"]], 5, [], ["a", "b", "c"]),
    "/rerank": RERANKS,
    "/similarity": SIMILARITIES,
    "/tokenize": [
        *given("inputs", "What is é?", ["a", "b"], "", [], 5, [[1]]),
        *given("add_special_tokens", False, None, inputs="a"),
    ],
    "/decode": [
        *given("ids", [101, 2054, 102], [[101, 2054], [2003]], [], [[]], "a", [-1]),
        *given("skip_special_tokens", False, None, ids=[101, 2054, 102]),
    ],
}


class Direct:
    """The embedded server, asked past the proxy."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, path: str, body: bytes) -> tuple[int, bytes]:
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("drop-in")) as service:
        eventually(lambda: service.get("/health/ready").status == 200)
        yield service


@pytest.fixture(scope="module")
def direct(service: Service) -> Iterator[Direct]:
    found = re.search(r"embedded: ready on http://127\.0\.0\.1:(\d+)", service.log)
    assert found
    direct = Direct(int(found[1]))
    yield direct
    direct.close()


@pytest.mark.parametrize("path", BODIES)
def test_a_route_answers_as_that_of_the_embedded_server_does(service: Service, direct: Direct, path: str) -> None:
    different = []
    for members in BODIES[path]:
        body = json.dumps(members).encode()
        status, answered = direct.ask(path, body)
        answer = service.request("POST", path, body, {"Content-Type": "application/json"})
        same = answer.body == answered if status == 200 else _same_error(answer.json, json.loads(answered))
        if answer.status != status or not same:
            different.append((members, (status, answered[:200]), (answer.status, answer.body[:200])))
    assert different == []


def _same_error(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether an error has the form of the server's and its type, whatever the words; ours names the request too."""
    return ours.keys() == theirs.keys() | {"request_id"} and ours["error_type"] == theirs["error_type"]


def test_info_differs_in_its_limits_only(service: Service) -> None:
    told = service.get("/info").json
    assert told["docker_label"] == "embedded"
    assert told["max_client_batch_size"] >= 1000


def test_more_texts_than_the_server_takes_are_tokenized_and_compared_as_if_it_took_them(
    service: Service, direct: Direct
) -> None:
    texts = [f"text {number}" for number in range(70)]
    parts = [direct.ask("/tokenize", json.dumps({"inputs": texts[at : at + 32]}).encode()) for at in (0, 32, 64)]
    headers = {"Content-Type": "application/json"}
    answer = service.request("POST", "/tokenize", json.dumps({"inputs": texts}).encode(), headers)
    assert answer.status == 200
    assert answer.json == [each for _, part in parts for each in json.loads(part)]
    body = json.dumps({"inputs": {"source_sentence": "text 5", "sentences": texts}}).encode()
    nearness = service.request("POST", "/similarity", body, headers).json
    assert len(nearness) == 70
    assert max(range(70), key=nearness.__getitem__) == 5
