"""A reranker behind the real service: reranks and predictions share its calls, are split, re-sorted and isolated."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests.support.service import Service, eventually, post
from tests.support.upstream import ScriptedUpstream
from tests.support.upstream.forms import Reply, TeiForm
from tests.support.upstream.poison import Poison

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MOST = 8
TOKENS = b'[[{"id":101,"text":"[CLS]","special":true,"start":null,"stop":null}]]'


def score(text: str) -> float:
    """Return what the model finds of a text that ends with a number."""
    return float(text.rpartition(" ")[2]) / 1000


@dataclass(frozen=True)
class RerankerForm(TeiForm):
    """A TEI with a reranker: ``/predict`` takes texts and pairs, and ``/tokenize`` answers as it was recorded."""

    info: Mapping[str, Any] = field(
        default_factory=lambda: {
            "model_id": "reranker",
            "model_type": {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}},
            "max_client_batch_size": MOST,
            "auto_truncate": True,
        }
    )
    path: ClassVar[str] = "/predict"

    def vector(self, each: Any) -> bytes:
        return b'[{"score":%.6f,"label":"LABEL_0"}]' % score(each[-1])

    def page(self, path: str) -> Reply:
        if path.endswith("/tokenize"):
            return Reply(200, TOKENS, ("Content-Type: application/json",))
        return super().page(path)


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(RerankerForm()) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def reranker(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("reranker")
    with Service(folder, inference_url=upstream.url, batch_timing="fixed", max_wait_time_ms=100) as service:
        eventually(lambda: service.get("/info").status == 200)
        yield service


@pytest.fixture
def service(reranker: Service, upstream: ScriptedUpstream) -> Service:
    upstream.calm()
    return reranker


def ask(service: Service, path: str, **body: Any) -> tuple[int, Any]:
    answer = service.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return answer.status, answer.json


@pytest.mark.parametrize("path", ["/rerank", "/"])
def test_a_rerank_of_more_texts_than_the_upstream_takes_is_split_and_sorted_as_a_whole(
    service: Service, upstream: ScriptedUpstream, path: str
) -> None:
    texts = [f"text {number * 7 % 30}" for number in range(30)]
    status, ranks = ask(service, path, query="q", texts=texts, return_text=True, truncate=True)
    assert status == 200
    assert [rank["text"] for rank in ranks] == [f"text {number}" for number in reversed(range(30))]
    assert all(texts[rank["index"]] == rank["text"] and rank["score"] == score(rank["text"]) for rank in ranks)
    assert max(upstream.sizes) <= MOST
    assert sorted(upstream.inputs) == sorted(["q", text] for text in texts)
    assert [call.options for call in upstream.calls] == [{}] * len(upstream.calls)  # truncation is its default


def test_reranks_and_predictions_of_several_clients_share_a_call(service: Service, upstream: ScriptedUpstream) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "/rerank": {"query": "q", "texts": ["a 1", "a 2"]},
        "/predict": {"inputs": ["b", "c 3"]},
        "/": {"inputs": "d 4", "parameters": {}},
    }
    answers = service.crowd([post(json.dumps(body).encode(), path=path) for path, body in bodies.items()])
    assert [answer and answer.json for answer in answers] == [
        [{"index": 1, "score": 0.002}, {"index": 0, "score": 0.001}],
        [{"score": 0.003, "label": "LABEL_0"}],
        [{"score": 0.004, "label": "LABEL_0"}],
    ]
    assert upstream.sizes == [4]


def test_a_pair_that_the_upstream_refuses_costs_the_other_clients_nothing(
    service: Service, upstream: ScriptedUpstream
) -> None:
    upstream.fault = Poison(lambda each: each[-1] == "bad 9", "422")
    good = [post(json.dumps({"query": f"q{each}", "texts": ["a 1"]}).encode(), path="/rerank") for each in range(3)]
    bad = post(json.dumps({"query": "q", "texts": ["a 1", "bad 9"]}).encode(), path="/rerank")
    answers = service.crowd([*good, bad])
    assert [answer and answer.status for answer in answers] == [200, 200, 200, 422]


def test_what_a_reranker_cannot_do_is_refused_without_asking_it(service: Service, upstream: ScriptedUpstream) -> None:
    status, told = ask(service, "/embed", inputs="a")
    assert (status, told["error_type"]) == (424, "Backend")
    assert told["error"] == "Backend error: Model is not an embedding model"
    assert upstream.requests == []


def test_tokens_are_those_that_the_upstream_answered(service: Service, upstream: ScriptedUpstream) -> None:
    answer = service.request("POST", "/tokenize", b'{"inputs": "a 1"}', {"Content-Type": "application/json"})
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "application/json", TOKENS)
    assert [request.body for request in upstream.requests] == [b'{"inputs":"a 1"}']


def test_info_tells_the_model_of_the_upstream_and_the_limits_of_the_proxy(service: Service) -> None:
    told = service.get("/info").json
    assert told["model_type"].keys() == {"reranker"}
    assert told["max_client_batch_size"] > MOST
