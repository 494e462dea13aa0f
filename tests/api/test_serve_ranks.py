"""How a class and a flow show at the HTTP edge: in the headers of answers, in refusals, and at the cap of a key."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from config.keys import ClientKey
from tests.conftest import Edge, refused
from tests.support.fakes import vector_of
from tests.support.service import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    EdgeWith = Callable[..., AbstractContextManager[Edge]]

CLIENTS = (
    ClientKey("search", sha256(b"one").digest(), max_requests=2),
    ClientKey("import", sha256(b"two").digest(), is_bulk=True),
)


def class_of(edge: Edge, body: object, path: str = "/embed", **headers: str) -> str | None:
    response = edge.post(body, {name.replace("_", "-"): value for name, value in headers.items()}, path)
    assert response.status_code == 200, response.data
    return response.headers["X-Batch-Class"]


def test_the_answer_tells_the_class(edge_with: EdgeWith) -> None:
    with edge_with(bulk_from_items=2) as edge:
        assert class_of(edge, {"input": "a"}) == "interactive"
        assert class_of(edge, {"inputs": ["a", "b", "c"]}) == "bulk"
        assert class_of(edge, {"inputs": ["a", "b", "c"]}, X_Priority="interactive") == "interactive"
        assert class_of(edge, {"input": "a"}, X_Priority="bulk") == "bulk"


def test_the_flexible_tier_of_openai_is_bulk_and_shares_a_batch_with_what_has_none(edge: Edge) -> None:
    flexible = {"input": "a", "service_tier": "flex"}
    assert class_of(edge, flexible, "/v1/embeddings") == "bulk"
    assert class_of(edge, flexible, "/v1/embeddings", X_Priority="interactive") == "interactive"
    assert class_of(edge, {"input": "a", "service_tier": "auto"}, "/v1/embeddings") == "interactive"
    assert len({batch.key for batch in edge.upstream.batches}) == 1


def test_the_class_of_a_key_is_the_ceiling_of_its_requests(edge_with: EdgeWith) -> None:
    with edge_with(client_keys=CLIENTS) as edge:
        assert class_of(edge, {"input": "a"}, x_api_key="one") == "interactive"
        assert class_of(edge, {"input": "a"}, x_api_key="one", X_Priority="bulk") == "bulk"
        assert class_of(edge, {"input": "a"}, x_api_key="two", X_Priority="interactive") == "bulk"


@pytest.mark.parametrize("path", ["/embed", "/predict", "/v1/models/m:predict"])
@pytest.mark.parametrize(("name", "value"), [("X-Priority", "urgent"), ("X-Max-Wait-Ms", "soon")])
def test_a_header_that_makes_no_sense_is_named_and_nothing_is_asked(
    edge: Edge, path: str, name: str, value: str
) -> None:
    body = {"instances": ["a"]} if path.startswith("/v1") else {"inputs": "a"}
    response = edge.post(body, {name: value}, path)
    assert response.status_code == 400
    assert name in response.get_data(as_text=True)
    assert edge.upstream.batches == []


def test_openais_clients_are_told_of_a_wrong_header_in_their_form(edge: Edge) -> None:
    response = edge.post({"input": "a"}, {"X-Priority": "urgent"}, "/v1/embeddings")
    assert response.status_code == 400
    assert json.loads(response.data)["error"]["message"] == "X-Priority must be interactive or bulk"


def test_a_client_that_will_not_be_held_back_is_not(edge_with: EdgeWith) -> None:
    with edge_with(wait=10.0) as edge:
        response = edge.post({"input": "a"}, {"X-Max-Wait-Ms": "0"})
        assert response.status_code == 200
        assert float(response.headers["X-Queue-Time"]) < 5000


def test_an_equal_input_of_another_request_is_computed_once_and_the_answer_says_so(edge: Edge) -> None:
    edge.upstream.gate.clear()
    first = edge.in_background({"input": "a"})
    assert edge.upstream.arrived.acquire(timeout=10)
    second = edge.in_background({"input": "a"})
    eventually(lambda: edge.service.queue.calls == 2)
    edge.upstream.gate.set()
    answers = [first(), second()]
    assert edge.upstream.sizes == [1]
    assert [each.data for each in answers] == [b'{"embedding":' + vector_of(b'"a"') + b"}"] * 2
    assert [each.headers.get("X-Batch-Shared") for each in answers] == [None, "true"]


def test_equal_inputs_are_computed_each_where_it_is_switched_off(edge_with: EdgeWith) -> None:
    with edge_with(deduplicate="off") as edge:
        response = edge.post({"inputs": ["a", "a"]})
        assert edge.upstream.sizes == [2]
        assert "X-Batch-Shared" not in response.headers


# The cap of a key


@pytest.fixture
def crowded(edge_with: EdgeWith) -> Iterator[Edge]:
    """An edge at which the client "search" has as many requests under way as it may have."""
    with edge_with(client_keys=CLIENTS) as edge:
        edge.upstream.gate.clear()
        waiting = [edge.in_background({"input": text}, {"x-api-key": "one"}) for text in "ab"]
        eventually(lambda: edge.service.queue.calls == 2)
        yield edge
        edge.upstream.gate.set()
        assert [each().status_code for each in waiting] == [200, 200]
        assert edge.post({"input": "f"}, {"x-api-key": "one"}).status_code == 200


def test_one_more_than_the_cap_is_refused_by_the_clients_name_and_told_the_cap(crowded: Edge) -> None:
    response = crowded.post({"input": "c"}, {"x-api-key": "one"})
    assert "search" in refused(response, 429, "Overloaded")
    assert response.headers["x-ratelimit-limit-requests"] == "2"
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    assert int(response.headers["Retry-After"]) >= 1


def test_the_cap_of_one_client_refuses_no_other(crowded: Edge) -> None:
    other = crowded.in_background({"input": "d"}, {"x-api-key": "two"})
    eventually(lambda: crowded.service.queue.calls == 3)
    crowded.upstream.gate.set()
    assert other().status_code == 200


def test_a_limit_of_the_service_is_told_without_a_cap(edge_with: EdgeWith) -> None:
    with edge_with(max_concurrent_requests=1) as edge:
        edge.upstream.gate.clear()
        waiting = edge.in_background({"input": "a"})
        eventually(lambda: edge.service.queue.calls == 1)
        response = edge.post({"input": "b"})
        refused(response, 429, "Overloaded")
        assert "x-ratelimit-limit-requests" not in response.headers
        edge.upstream.gate.set()
        assert waiting().status_code == 200
