"""The OpenAPI document describes every route, every field and every status, and the page that shows it is offline."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from marshmallow import fields

from api.apis.table import ROUTES
from api.documents.document import document
from api.documents.operations import OPERATIONS
from api.documents.shapes import shape
from config import Settings
from tests.support.tasks import TaskUpstream
from wiring.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from flask.testing import FlaskClient

    from tests.conftest import Edge

#: What an upstream from memory does not have.
PASSED_ON = {"/similarity", "/tokenize", "/decode"}


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    """A client of the service over an upstream that answers every task."""
    service = Service(Settings(batch_timing="fixed", max_wait_time_ms=0), endpoints=[TaskUpstream()])
    service.batcher.start()
    with service.app.test_client() as client:
        yield client
    service.batcher.stop(5)


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return document("1.2.3")


def test_it_is_valid_openapi_three_point_one(whole: dict[str, Any]) -> None:
    assert whole["openapi"].startswith("3.1")
    assert whole["info"]["version"] == "1.2.3"
    references = re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(whole))
    assert set(references) <= set(whole["components"]["schemas"])
    for name, schema in whole["components"]["schemas"].items():
        told = json.loads(json.dumps(schema).replace("#/components/schemas/", "#/$defs/"))
        assert jsonschema_rs.meta.is_valid({**told, "$defs": {}}), name


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_route_takes_a_deadline_and_those_that_are_batched_the_headers_that_rank_a_request(
    whole: dict[str, Any], route: Any
) -> None:
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.path)
    parameters = whole["components"]["parameters"]
    told = [parameters[each["$ref"].rpartition("/")[2]] for each in whole["paths"][path]["post"]["parameters"]]
    ranks = ["X-Priority", "X-Max-Wait-Ms", "X-Fairness-Id"]
    is_passed_on = path in {"/similarity", "/tokenize", "/decode"}
    assert [each["name"] for each in told] == ["X-Request-Timeout-Ms", *(() if is_passed_on else ranks)]
    assert {each["in"] for each in told} == {"header"}


def test_the_headers_of_answers_are_told(whole: dict[str, Any]) -> None:
    responses = whole["paths"]["/embed"]["post"]["responses"]
    assert {"X-Request-Id", "X-Batch-Size", "X-Batch-Class", "X-Batch-Shared"} <= set(responses["200"]["headers"])
    assert {"Retry-After", "X-RateLimit-Limit-Requests"} <= set(responses["429"]["headers"])
    assert set(responses["400"]["headers"]) == {"X-Request-Id"}
    assert set(whole["paths"]["/tokenize"]["post"]["responses"]["200"]["headers"]) == {"X-Request-Id"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_route_is_told_of(whole: dict[str, Any], route: Any) -> None:
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route.path)
    operation = whole["paths"][path]["post"]
    assert operation["summary"]
    assert "curl http://" in operation["description"]
    assert {"200", "400", "401", "413", "415", "429", "502", "503", "504"} <= set(operation["responses"])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_field_has_a_shape(whole: dict[str, Any], route: Any) -> None:
    for name, field in route.schema().fields.items():
        plain = isinstance(field, fields.String | fields.List | fields.Dict | fields.Nested | fields.Raw)
        scalar = type(field).__name__ in {"StrictBoolean", "StrictInteger"}
        assert plain or scalar or shape(field), f"{route.path}: {name}"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_the_example_of_a_route_is_what_it_takes(client: FlaskClient, whole: dict[str, Any], route: Any) -> None:
    path = re.sub(r"<(?:\w+:)?(\w+)>", "any", route.path)
    response = client.post(path, json=OPERATIONS[route.path].example)
    if route.path in PASSED_ON:
        assert response.status_code == 404
        return
    assert response.status_code == 200, response.get_data(as_text=True)
    assert jsonschema_rs.is_valid(OPERATIONS[route.path].answer, response.get_json())


def test_it_is_served_without_the_key(edge_with: Callable[..., AbstractContextManager[Edge]]) -> None:
    with edge_with(api_key="secret") as edge:
        assert edge.client.get("/openapi.json").get_json()["info"]["title"] == "Auto-Batching Proxy"
        assert edge.client.get("/docs/").status_code == 200
        assert edge.client.get("/v1/models").status_code == 401


def test_the_page_asks_no_other_host(edge: Edge) -> None:
    page = edge.client.get("/docs/").get_data(as_text=True)
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    for source in sources:
        assert source.startswith("/docs/")
        with edge.client.get(source) as response:
            assert response.status_code == 200
    assert "../openapi.json" in page


def test_the_page_says_nothing_of_the_clients_own_host_header(edge: Edge) -> None:
    page = edge.client.get("/docs/", headers={"Host": "evil.example"}).get_data(as_text=True)
    assert "evil.example" not in page


def test_docs_without_a_slash_leads_to_the_page(edge: Edge) -> None:
    response = edge.client.get("/docs")
    assert (response.status_code, response.headers["Location"]) == (302, "docs/")
