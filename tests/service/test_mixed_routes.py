"""Clients of many routes and options at once: every answer is right, no batch mixes keys, and batches are not small."""

from __future__ import annotations

import base64
import json
import struct
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.concurrency import Nursery
from tests.support.service import Service
from tests.support.tei_tasks import TaskServer, result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENTS, SECONDS = 64, 2.5
JSON = {"Content-Type": "application/json"}


class Asked(NamedTuple):
    """A request, and what its answer has to be."""

    path: str
    body: dict[str, Any]
    right: Any
    #: Takes the answer's JSON to what ``right`` is compared with.
    told: Callable[[Any], Any]


def _same(answer: Any) -> Any:
    return answer


def _of_openai(answer: Any) -> Any:
    vectors = [each["embedding"] for each in answer["data"]]
    return [list(struct.unpack("<6f", base64.b64decode(each))) if isinstance(each, str) else each for each in vectors]


def _embed(path: str, member: str, told: Callable[[Any], Any]) -> Callable[[str, int], Asked]:
    def ask(text: str, options: int) -> Asked:
        sets: list[dict[str, Any]] = [{}, {"dimensions": 4}, {"truncate": False}]
        given = sets[options]
        if path == "/v1/embeddings" and options == 2:  # it has no truncation
            given = {}
        if path == "/v1/embeddings":
            body = {
                member: [text],
                "model": f"m{options}",
                "encoding_format": ["float", "base64"][len(text) % 2],
                **given,
            }
        else:
            body = {member: [text], **given}
        return Asked(path, body, [result("/embed", given, text)], told)

    return ask


def _predict(text: str, options: int) -> Asked:
    given: dict[str, Any] = [{}, {"raw_scores": True}, {"truncate": False}][options]
    return Asked("/predict", {"inputs": text, **given}, result("/predict", given, [text]), _same)


def _rerank(text: str, options: int) -> Asked:
    given: dict[str, Any] = [{}, {"raw_scores": True}, {"truncate": False}][options]
    texts = [f"{text} {number}" for number in range(3)]
    scores = [result("/predict", given, [text, each])[0]["score"] for each in texts]
    right = sorted(({"index": at, "score": score} for at, score in enumerate(scores)), key=lambda each: -each["score"])
    return Asked("/rerank", {"query": text, "texts": texts, **given}, right, _same)


ROUTES = [
    _embed("/embed", "inputs", _same),
    _embed("/", "inputs", _same),
    _embed("/v1/embeddings", "input", _of_openai),
    _embed("/api/embed", "input", lambda answer: answer["embeddings"]),
    _predict,
    _rerank,
]


@pytest.fixture
def server() -> Iterator[TaskServer]:
    with TaskServer() as server:
        yield server


def test_mixed_clients_get_their_own_answers_out_of_full_batches(server: TaskServer, tmp_path: Any) -> None:
    wrong: list[tuple[Asked, Any]] = []
    served: Counter[tuple[str, int]] = Counter()
    lock = threading.Lock()

    def client(service: Service, number: int) -> None:
        ask, options = ROUTES[number % len(ROUTES)], number // len(ROUTES) % 3
        until, turn = time.monotonic() + SECONDS, 0
        while time.monotonic() < until:
            asked = ask(f"client {number} turn {turn}", options)
            turn += 1
            answer = service.request("POST", asked.path, json.dumps(asked.body).encode(), JSON)
            told = asked.told(json.loads(answer.body)) if answer.status == 200 else answer.body
            with lock:
                served[asked.path, options] += 1
                if told != asked.right:
                    wrong.append((asked, told))

    with Service(tmp_path, inference_url=server.url) as service, Nursery() as nursery:
        for number in range(CLIENTS):
            nursery.start(client, service, number)
    assert wrong[:1] == []
    assert len(served) == 3 * len(ROUTES)
    for key, sizes in server.calls.items():
        assert sum(sizes) / len(sizes) > 4, (key, sizes)
