"""An API key guards everything but health, metrics and documents, and stands in one of three headers."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from api.auth import Keys
from api.environ import CLIENT
from config.keys import ClientKey
from tests.conftest import Edge, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from api.ranks import Client

KEY = "s3cret-key"


@pytest.fixture
def guarded(edge_with: Callable[..., AbstractContextManager[Edge]]) -> Iterator[Edge]:
    with edge_with(api_key=KEY) as edge:
        yield edge


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer {KEY}"},
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


# Several keys

CLIENTS = (
    ClientKey("search", sha256(b"key-of-search").digest(), max_requests=1),
    ClientKey("import", sha256(b"key-of-import").digest(), is_bulk=True),
)


@pytest.fixture
def shared(edge_with: Callable[..., AbstractContextManager[Edge]]) -> Iterator[Edge]:
    with edge_with(api_key=KEY, client_keys=CLIENTS) as edge:
        yield edge


@pytest.mark.parametrize("key", [KEY, "key-of-search", "key-of-import"])
def test_each_key_opens_in_any_of_the_headers(shared: Edge, key: str) -> None:
    for headers in ({"Authorization": f"Bearer {key}"}, {"api-key": key}, {"x-api-key": key}):
        assert shared.post({"input": "a"}, headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "search"},
        {"x-api-key": "key-of-searc"},
        {"x-api-key": sha256(b"key-of-search").hexdigest()},
        {"Authorization": "key-of-search"},
        {"Authorization": "Bearer "},
    ],
)
def test_what_is_none_of_the_keys_is_401(shared: Edge, headers: dict[str, str]) -> None:
    refused(shared.post({"input": "a"}, headers), 401, "Unauthorized")
    assert shared.upstream.batches == []


def test_keys_of_clients_alone_close_the_service_as_one_key_does(
    edge_with: Callable[..., AbstractContextManager[Edge]],
) -> None:
    with edge_with(client_keys=CLIENTS) as edge:
        refused(edge.post({"input": "a"}), 401, "Unauthorized")
        refused(edge.post({"input": "a"}, {"x-api-key": KEY}), 401, "Unauthorized")
        assert edge.post({"input": "a"}, {"x-api-key": "key-of-search"}).status_code == 200
        assert edge.client.get("/health").status_code == 200


def opened(keys: Keys, **headers: str) -> tuple[bool, Client | None]:
    """Return whether these headers open, and for whom."""
    environ: dict[str, Any] = dict(headers)
    return keys.open_for(environ), environ.get(CLIENT)


def test_a_key_leads_to_the_flow_and_class_of_its_client() -> None:
    is_open, client = opened(Keys(KEY, CLIENTS), HTTP_X_API_KEY="key-of-search")
    assert is_open
    assert client is not None
    assert (client.flow.name, client.flow.weight, client.flow.most_calls, client.is_bulk) == ("search", 1, 1, False)


def test_one_client_has_one_flow() -> None:
    keys = Keys(None, CLIENTS)
    _, one = opened(keys, HTTP_X_API_KEY="key-of-import")
    _, other = opened(keys, HTTP_AUTHORIZATION="Bearer key-of-import")
    assert one is not None
    assert one is other
    assert one.is_bulk


def test_the_single_key_names_no_client() -> None:
    assert opened(Keys(KEY, CLIENTS), HTTP_API_KEY=KEY) == (True, None)


def test_the_first_right_key_counts() -> None:
    headers = {"HTTP_AUTHORIZATION": "Bearer none", "HTTP_API_KEY": "key-of-import", "HTTP_X_API_KEY": "key-of-search"}
    _, client = opened(Keys(KEY, CLIENTS), **headers)
    assert client is not None
    assert client.flow.name == "import"


def test_a_client_whose_key_is_the_single_one_has_its_name() -> None:
    _, client = opened(Keys(KEY, [ClientKey("search", sha256(KEY.encode()).digest())]), HTTP_X_API_KEY=KEY)
    assert client is not None
    assert client.flow.name == "search"


def test_no_text_of_the_keys_shows_one() -> None:
    keys = Keys(KEY, CLIENTS)
    _, client = opened(keys, HTTP_X_API_KEY="key-of-search")
    shown = f"{keys!r} {client!r}"
    assert KEY not in shown
    assert "key-of" not in shown
    assert sha256(b"key-of-search").hexdigest()[:8] not in shown
