"""OpenAI's dialect: what a server says of itself, its health check and its key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.fakes import KEY, items_of
from tests.upstream.dialects.openai_bench import BASE, described, reply_of
from upstream.dialects.dialect import UpstreamInfo
from upstream.dialects.openai import OpenAiDialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from upstream.http_reply import Reply


def test_the_list_of_models_tells_the_only_model_and_the_path() -> None:
    dialect = OpenAiDialect(BASE)
    asked = described(dialect, {"/models": ["minilm"]})
    assert asked[:2] == ["/v1/models", "/models"]
    assert dialect.request(KEY, items_of("a")).path == "/embeddings"


@pytest.mark.parametrize(
    ("base", "path", "asked"),
    [
        (f"{BASE}/v1", None, ["/models"]),
        (f"{BASE}/prefix", None, ["/models", "/v1/models"]),
        (f"{BASE}/openai/deployments/d?api-version=1", None, ["/models"]),
        (f"{BASE}/v1", "/embed", ["/models"]),
        (f"{BASE}/x", "/api/v1/embeddings", ["/api/v1/models"]),
    ],
)
def test_models_are_listed_beside_the_path_of_calls(base: str, path: str | None, asked: list[str]) -> None:
    assert described(OpenAiDialect(base, path=path)) == asked


def page(names: str) -> Callable[[str], Reply]:
    data = [{"id": name} for name in names.split()]
    return lambda path: reply_of(json.dumps({"data": data}).encode(), 200 if names else 404)


@pytest.mark.parametrize(
    ("dialect", "names", "said"),
    [
        (OpenAiDialect(f"{BASE}/v1"), "a", UpstreamInfo("a", None, None, models=("a",))),
        (OpenAiDialect(f"{BASE}/v1"), "a b", UpstreamInfo(None, None, None, models=("a", "b"))),
        (OpenAiDialect(f"{BASE}/v1", "b"), "a b", UpstreamInfo("b", None, None, models=("a", "b"))),
        (OpenAiDialect(f"{BASE}/v1", "b"), "", UpstreamInfo("b", None, None)),
        (OpenAiDialect(f"{BASE}/v1"), "", None),
        (OpenAiDialect("https://api.openai.com/v1"), "", UpstreamInfo(None, 2048, None, max_batch_tokens=300_000)),
    ],
)
def test_limits_are_those_of_the_host_and_names_those_of_the_list(
    dialect: OpenAiDialect, names: str, said: UpstreamInfo | None
) -> None:
    assert dialect.describe(page(names)) == said


def test_a_server_that_does_not_answer_says_nothing() -> None:
    assert OpenAiDialect(BASE).describe(lambda path: None) is None


def test_health_is_asked_for_where_the_server_knows_it() -> None:
    dialect = OpenAiDialect(BASE)
    assert dialect.health_paths == ("/health/readiness", "/health", "/v1/models")
    described(dialect, {"/health": []})
    assert dialect.health_paths == ("/health",)
    described(dialect, {"/v1/models": ["a"]})
    assert dialect.health_paths == ("/v1/models",)
    described(dialect)
    assert dialect.health_paths == ("/health/readiness", "/health", "/v1/models")
    assert OpenAiDialect(f"{BASE}/v1").health_paths == ("/models",)


@pytest.mark.parametrize(
    ("base", "headers"),
    [
        (BASE, {"Authorization": "Bearer k"}),
        ("https://api.openai.com/v1", {"Authorization": "Bearer k"}),
        ("https://mine.openai.azure.com/openai/deployments/d?api-version=1", {"api-key": "k"}),
        ("https://azure.mine.internal/openai/deployments/d?api-version=1", {"api-key": "k"}),
        ("https://mine.cognitiveservices.azure.com/openai/v1", {"api-key": "k"}),
        ("https://mine.services.ai.azure.com/models", {"api-key": "k"}),
    ],
)
def test_the_key_stands_where_the_host_wants_it(base: str, headers: dict[str, str]) -> None:
    assert OpenAiDialect(base).credentials("k") == headers


def test_no_request_is_passed_on_as_it_is() -> None:
    assert not OpenAiDialect(BASE).forwards("/v1/embeddings")
