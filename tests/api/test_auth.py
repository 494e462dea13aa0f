"""The API key guards everything but health, metrics and documents, and stands in one of three headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import Edge, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

KEY = "s3cret-key"


@pytest.fixture
def guarded(edge_with: Callable[..., AbstractContextManager[Edge]]) -> Iterator[Edge]:
    with edge_with(api_key=KEY) as edge:
        yield edge


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"api-key": KEY},
        {"x-api-key": KEY},
        {"Authorization": "", "api-key": KEY},
        {"Authorization": "Bearer none", "x-api-key": KEY},
        {"Authorization": f"Bearer {KEY}", "api-key": KEY},
        {"Authorization": f"Bearer {KEY}", "api-key": "none", "x-api-key": "none"},
    ],
)
def test_the_right_key_in_any_of_three_headers_opens(guarded: Edge, headers: dict[str, str]) -> None:
    assert guarded.post({"input": "a"}, headers).status_code == 200


@pytest.mark.parametrize("name", ["api-key", "x-api-key"])
@pytest.mark.parametrize("value", ["", f"Bearer {KEY}", f" {KEY}x", KEY.upper(), f"{KEY},{KEY}", "é"])
def test_a_header_for_the_key_alone_holds_nothing_else(guarded: Edge, name: str, value: str) -> None:
    assert KEY not in refused(guarded.post({"input": "a"}, {name: value}), 401, "Unauthorized")


@pytest.mark.parametrize("name", ["key", "x-key", "apikey", "x-goog-api-key", "proxy-authorization"])
def test_other_headers_hold_no_key(guarded: Edge, name: str) -> None:
    refused(guarded.post({"input": "a"}, {name: KEY}), 401, "Unauthorized")


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        KEY,
        f"bearer {KEY}",
        f"Bearer  {KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        "Basic czpz",
        "Bearer é",
    ],
)
def test_anything_else_is_401(guarded: Edge, value: str | None) -> None:
    response = guarded.post({"input": "a"}, None if value is None else {"Authorization": value})
    assert KEY not in refused(response, 401, "Unauthorized")
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert guarded.upstream.batches == []


def test_the_key_is_asked_for_before_anything_else_is_told(guarded: Edge) -> None:
    refused(guarded.post(b"not json"), 401, "Unauthorized")
    refused(guarded.client.get("/nowhere"), 401, "Unauthorized")
    refused(guarded.client.get("/embed"), 401, "Unauthorized")


@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/ready", "/metrics", "/ping"])
def test_health_and_metrics_are_open(guarded: Edge, path: str) -> None:
    assert guarded.client.get(path).status_code == 200
    assert guarded.client.head(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/metrics", "/ping"])
@pytest.mark.parametrize("method", ["POST", "OPTIONS", "PUT"])
def test_only_looking_is_open(guarded: Edge, path: str, method: str) -> None:
    refused(guarded.client.open(path, method=method), 401, "Unauthorized")


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/docs/index.html", "/openapi.json"])
def test_documents_need_no_key(guarded: Edge, path: str) -> None:
    assert guarded.client.get(path).status_code != 401
    refused(guarded.client.post(path), 401, "Unauthorized")


@pytest.mark.parametrize(
    "path", ["//health", "/health/", "/health;x", "//embed", "/docsx", "//docs/", "/openapi.json/"]
)
def test_paths_that_look_like_health_are_not_open(guarded: Edge, path: str) -> None:
    refused(guarded.client.get("/", environ_overrides={"PATH_INFO": path}), 401, "Unauthorized")


def test_without_a_key_the_proxy_is_open(edge: Edge) -> None:
    assert edge.post({"input": "a"}).status_code == 200
    assert edge.post({"input": "a"}, {"Authorization": "Bearer whatever"}).status_code == 200
