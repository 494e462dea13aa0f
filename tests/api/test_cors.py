"""Browsers: pages of the origins in the settings may ask and read, errors included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api.cors_headers import EXTENSION
from tests.conftest import Edge, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from werkzeug.test import TestResponse

ORIGIN = "https://app.example.com"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
}


@pytest.fixture
def open_to_all(edge_with: Callable[..., AbstractContextManager[Edge]]) -> Iterator[Edge]:
    with edge_with(cors_allow_origin=("*",), api_key="key", max_client_batch_size=2) as edge:
        yield edge


@pytest.fixture
def open_to_two(edge_with: Callable[..., AbstractContextManager[Edge]]) -> Iterator[Edge]:
    with edge_with(cors_allow_origin=("http://localhost:5173", ORIGIN)) as edge:
        yield edge


def allowed(response: TestResponse) -> str | None:
    return response.headers.get("Access-Control-Allow-Origin")


def test_without_the_setting_no_answer_says_anything_of_origins(edge: Edge) -> None:
    answers = [
        edge.post({"input": "a"}, {"Origin": ORIGIN}),
        edge.post({"input": ""}, {"Origin": ORIGIN}),
        edge.client.options("/embed", headers=PREFLIGHT),
    ]
    assert [each for answer in answers for each, _ in answer.headers if each.startswith(("Access", "Vary"))] == []
    assert answers[2].headers["Allow"]


def test_what_answers_without_the_app_finds_the_headers_in_it(open_to_two: Edge, edge: Edge) -> None:
    assert dict(open_to_two.app.extensions[EXTENSION].of(ORIGIN))["Access-Control-Allow-Origin"] == ORIGIN
    assert EXTENSION not in edge.app.extensions


def test_every_answer_may_be_read(open_to_all: Edge) -> None:
    key = {"Authorization": "Bearer key", "Origin": ORIGIN}
    answers = [
        open_to_all.post({"input": "a"}, key),
        open_to_all.post({"input": ""}, key),
        open_to_all.post({"input": "a"}, {"Origin": ORIGIN}),
        open_to_all.post({"inputs": ["a", "b", "c"]}, key),
        open_to_all.client.get("/nowhere", headers=key),
        open_to_all.client.get("/embed", headers=key),
        open_to_all.client.get("/", headers=key),
        open_to_all.client.get("/health", headers=key),
        open_to_all.client.get("/metrics", headers=key),
    ]
    assert [answer.status_code for answer in answers] == [200, 422, 401, 422, 404, 405, 200, 200, 200]
    assert {allowed(answer) for answer in answers} == {"*"}
    assert all("X-Batch-Size" in answer.headers["Access-Control-Expose-Headers"] for answer in answers)


def test_a_finished_answer_stays_whole(open_to_all: Edge, edge: Edge) -> None:
    answer = open_to_all.post({"input": "a"}, {"Authorization": "Bearer key"})
    plain = edge.post({"input": "a"})
    assert answer.data == plain.data
    assert answer.headers["Content-Length"] == str(len(answer.data))
    added = {name for name, _ in answer.headers} - {name for name, _ in plain.headers}
    assert added == {"Access-Control-Allow-Origin", "Access-Control-Expose-Headers"}


@pytest.mark.parametrize("path", ["/embed", "/health", "/", "/nowhere"])
def test_a_browsers_question_needs_no_key(open_to_all: Edge, path: str) -> None:
    answer = open_to_all.client.options(path, headers=PREFLIGHT)
    assert (answer.status_code, answer.data, allowed(answer)) == (200, b"", "*")
    assert {"GET", "POST", "OPTIONS"} == set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    headers = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "x-request-id", "x-request-timeout-ms", "*"} <= set(headers)
    assert answer.headers["X-Request-Id"]


def test_a_question_that_no_browser_asks_needs_the_key(open_to_all: Edge) -> None:
    refused(open_to_all.client.options("/embed"), 401, "Unauthorized")
    refused(open_to_all.client.put("/embed", headers={"Origin": ORIGIN}), 401, "Unauthorized")
    allowing = open_to_all.client.options("/embed", headers={"Authorization": "Bearer key"})
    assert {each.strip() for each in allowing.headers["Allow"].split(",")} == {"OPTIONS", "POST"}


def test_a_listed_origin_may_read_and_another_may_not(open_to_two: Edge) -> None:
    for status, text in ((200, "a"), (422, "")):
        for origin, expected in ((ORIGIN, ORIGIN), ("https://evil.example", None), (None, None)):
            answer = open_to_two.post({"input": text}, None if origin is None else {"Origin": origin})
            assert (answer.status_code, allowed(answer), answer.headers["Vary"]) == (status, expected, "Origin")


def test_a_browser_that_asks_for_another_origin_is_told_no_origin(open_to_two: Edge) -> None:
    answer = open_to_two.client.options("/embed", headers={**PREFLIGHT, "Origin": "https://evil.example"})
    assert (answer.status_code, allowed(answer), answer.headers["Vary"]) == (200, None, "Origin")
