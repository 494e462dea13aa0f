"""Requests go to the upstream's address with its headers and no others; heads are remembered within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import SystemClock
from tests.support.upstream import closed_port
from upstream.request import Request
from upstream.requester import MAX_REMEMBERED_HEADS, Requester

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = "http://upstream:8080"


@pytest.fixture
def connect() -> Iterator[Callable[[str], Requester]]:
    made: list[Requester] = []

    def make(url: str) -> Requester:
        made.append(Requester(url, SystemClock(), connections=1))
        return made[-1]

    yield make
    for each in made:
        each.close()


def lines(requester: Requester, request: Request) -> list[str]:
    head, _, body = requester.message(request).partition(b"\r\n\r\n")
    return [*head.decode().split("\r\n"), body.decode()]


def test_a_get_is_a_head_without_a_body(connect: Callable[[str], Requester]) -> None:
    first, *headers, body = lines(connect(URL), Request("/info"))
    assert (first, body) == ("GET /info HTTP/1.1", "")
    assert headers == [
        "Host: upstream:8080",
        "Accept: application/json",
        "Accept-Encoding: identity",
        "User-Agent: auto-batching-proxy",
    ]


@pytest.mark.parametrize(("path", "asked"), [("/embeddings", "embeddings"), ("/models", "models")])
def test_paths_are_below_the_base_of_an_address_that_was_given_whole(
    connect: Callable[[str], Requester], path: str, asked: str
) -> None:
    first, *_ = lines(connect(f"{URL}/v1/embeddings?api-version=1"), Request(path))
    assert first == f"GET /v1/{asked}?api-version=1 HTTP/1.1"


def test_a_post_says_how_long_its_json_is(connect: Callable[[str], Requester]) -> None:
    first, *headers, body = lines(connect(URL), Request("/embed", b'{"inputs":["a"]}'))
    assert (first, body) == ("POST /embed HTTP/1.1", '{"inputs":["a"]}')
    assert headers[-2:] == ["Content-Type: application/json", "Content-Length: 16"]


def test_a_requests_own_headers_stand_beside_those_of_all(connect: Callable[[str], Requester]) -> None:
    _, *headers, _ = lines(connect(URL), Request("/embed", b"{}", b"X-Request-Id: mine\r\n"))
    assert "X-Request-Id: mine" in headers


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("http://upstream/v1", "/embeddings", "/v1/embeddings"),
        ("http://upstream/api/v1/", "/models", "/api/v1/models"),
        (
            "http://upstream/openai/deployments/d?api-version=2024-02-01",
            "/embeddings",
            "/openai/deployments/d/embeddings?api-version=2024-02-01",
        ),
        ("http://upstream?a=b", "/x?y=z", "/x?y=z&a=b"),
    ],
)
def test_the_path_and_query_of_the_address_go_with_each_path(
    connect: Callable[[str], Requester], url: str, path: str, target: str
) -> None:
    assert lines(connect(url), Request(path))[0] == f"GET {target} HTTP/1.1"


def test_new_credentials_replace_the_old_ones(connect: Callable[[str], Requester]) -> None:
    requester = connect(URL)
    requester.authorize({"Authorization": "Bearer k"})
    assert "Authorization: Bearer k" in lines(requester, Request("/info"))
    requester.authorize({"api-key": "k"})
    told = lines(requester, Request("/info"))
    assert "api-key: k" in told
    assert not any(line.startswith("Authorization") for line in told)


def test_heads_of_so_many_paths_are_remembered(connect: Callable[[str], Requester]) -> None:
    requester = connect(closed_port())
    first = requester.message(Request("/0"))
    for number in range(MAX_REMEMBERED_HEADS + 5):
        requester.message(Request(f"/{number}"))
    assert len(requester._heads) <= MAX_REMEMBERED_HEADS
    assert requester.message(Request("/0")) == first


def test_an_upstream_out_of_reach_has_nothing_to_say_of_itself(connect: Callable[[str], Requester]) -> None:
    assert connect(closed_port()).get("/info", SystemClock().now() + 1) is None
