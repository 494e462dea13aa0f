"""Small calls show what a server takes that says nothing of itself; they are few, and stop at the first answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from upstream.dialects.vectors import ONE_TEXT
from upstream.http_reply import Reply
from upstream.trials import MAX_CALLS, Tried, Trier

NOT_FOUND = Reply(404, {}, b"")
ANSWERED = "is answered with vectors"


def page(value: Any, status: int = 200) -> Reply:
    return Reply(status, {}, json.dumps(value).encode())


def invalid(kind: str, *place: Any) -> Reply:
    return page({"detail": [{"type": kind, "loc": place, "msg": "wrong"}]}, 422)


class Plain:
    """A server with one path that takes a list under one name, as FastAPI checks it."""

    def __init__(self, path: str, field: str, answer: Any, **members: Any) -> None:
        self._path, self._field, self._answer, self._members = path, field, answer, members
        self.asked: list[str] = []

    def post(self, path: str, body: bytes) -> Reply | None:
        self.asked.append(f"{path} {body.decode()}")
        given = json.loads(body)
        if path != self._path:
            return NOT_FOUND
        for name in (self._field, *self._members):
            if name not in given:
                return invalid("missing", "body", name)
        return page(self._answer)


@pytest.mark.parametrize(
    ("server", "tried", "calls"),
    [
        (
            Plain("/embed", "inputs", [[1, 2]]),
            Tried("tei", f"POST /embed with 'inputs' {ANSWERED}", "/embed", "inputs"),
            1,
        ),
        (
            Plain("/embed", "inputs", {"vectors": [[1, 2]]}),
            Tried("plain", f"POST /embed with 'inputs' {ANSWERED}", "/embed", "inputs", "vectors"),
            1,
        ),
        # The refusal of the first call names the member.
        (
            Plain("/embed", "phrases", {"out": {"vectors": [[1]]}}),
            Tried("plain", f"POST /embed with 'phrases' {ANSWERED}", "/embed", "phrases", "out.vectors"),
            2,
        ),
        (
            Plain("/encode", "texts", [[1]]),
            Tried("plain", f"POST /encode with 'texts' {ANSWERED}", "/encode", "texts"),
            4,
        ),
        (
            Plain("/embeddings", "input", {"data": [{"embedding": [1], "index": 0}]}),
            Tried("openai", f"POST /embeddings with 'input' {ANSWERED}", "/embeddings", "input"),
            3,
        ),
        (Plain("/", "inputs", [[1]]), Tried("plain", f"POST / with 'inputs' {ANSWERED}", "/", "inputs"), 5),
    ],
)
def test_a_path_and_a_member_are_found(server: Plain, tried: Tried, calls: int) -> None:
    assert Trier(server.post).find() == tried
    assert len(server.asked) == calls


def test_a_server_that_names_no_member_is_tried_with_those_that_are_usual() -> None:
    def post(_: str, body: bytes) -> Reply:
        return page([[1]]) if b'"texts"' in body else page({"error": "bad request"}, 400)

    tried = Trier(post).find()
    assert tried is not None
    assert (tried.path, tried.field) == ("/embed", "texts")


def test_what_is_known_is_not_tried_otherwise() -> None:
    server = Plain("/v2", "texts", [[1]], model="m")
    trier = Trier(server.post, path="/v2", field="texts", extra='{"model":"m"}')
    assert trier.find() == Tried("plain", f"POST /v2 with 'texts' {ANSWERED}", "/v2", "texts")
    assert server.asked == ['/v2 {"texts":["ping"],"model":"m"}']
    other = Plain("/v2", "inputs", [[1]])
    trier = Trier(other.post, path="/v2", field="texts")
    assert trier.find() is None
    assert trier.troubled == "POST /v2 is answered with status 422: wrong: inputs"


def test_a_known_path_is_tried_with_usual_members() -> None:
    server = Plain("/v2", "texts", [[1]])
    tried = Trier(server.post, path="/v2").find()
    assert tried is not None
    assert tried.field == "texts"


def test_openais_path_is_tried_with_the_model_and_below_its_base_alone() -> None:
    server = Plain("/embeddings", "input", {"data": [{"embedding": [1]}]}, model="m")
    tried = Trier(server.post, model="m").find(is_openai=True)
    assert tried is not None
    assert tried.api == "openai"
    assert server.asked == ['/embeddings {"input":["ping"],"model":"m"}']


@pytest.mark.parametrize(
    "reply", [page([0.1, 0.2]), invalid("string_type", "body", "inputs"), invalid("missing", "query", "text")]
)
def test_a_server_that_takes_one_text_a_call_is_told_to_be_one(reply: Reply) -> None:
    tried = Trier(lambda *_: reply).find()
    assert tried is not None
    assert tried.problem == ONE_TEXT
    assert tried.why.startswith("POST /embed ")


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_ends_the_trials(status: int) -> None:
    asked = []
    trier = Trier(lambda path, _: (asked.append(path), Reply(status, {}, b""))[1])
    assert trier.find() is None
    assert trier.refused == f"it refuses the key: POST /embed is answered with status {status}"
    assert asked == ["/embed"]


def test_a_server_that_does_not_answer_in_time_is_tried_no_more() -> None:
    asked = []
    trier = Trier(lambda path, _: (asked.append(path), None)[1])
    assert trier.find() is None
    assert trier.troubled == "POST /embed is not answered in time"
    assert asked == ["/embed"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (page({"error": "out of memory"}, 500), "status 500: out of memory"),
        (page({"status": "ok"}), "without vectors: "),
        (page([["a"]]), "without vectors: "),
        (page([None]), "without vectors: "),
    ],
)
def test_why_nothing_was_found_is_told(reply: Reply, words: str) -> None:
    trier = Trier(lambda *_: reply)
    assert trier.find() is None
    assert words in trier.troubled


def test_a_server_that_always_misses_another_member_is_asked_a_few_times() -> None:
    asked: list[str] = []

    def post(path: str, _: bytes) -> Reply:
        asked.append(path)
        return invalid("missing", "body", f"m{len(asked)}")

    assert Trier(post).find() is None
    assert len(asked) == MAX_CALLS
