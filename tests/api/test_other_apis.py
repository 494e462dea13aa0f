"""KServe's, Ollama's and Cohere's clients through the whole app: answers, and every refusal in the client's form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.conftest import Edge

KSERVE, OLLAMA, OLDER, COHERE_1, COHERE_2 = (
    "/v1/models/m:predict",
    "/api/embed",
    "/api/embeddings",
    "/v1/embed",
    "/v2/embed",
)
BODIES: dict[str, dict[str, Any]] = {
    KSERVE: {"instances": ["a"]},
    OLLAMA: {"model": "m", "input": "a"},
    OLDER: {"model": "m", "prompt": "a"},
    COHERE_1: {"model": "m", "texts": ["a"], "input_type": "search_query"},
    COHERE_2: {"model": "m", "texts": ["a"], "input_type": "search_query"},
}
#: The member that holds the text of an error, by the API.
TEXT = {KSERVE: "error", OLLAMA: "error", OLDER: "error", COHERE_1: "message", COHERE_2: "message"}


def told(path: str, data: bytes) -> str:
    error = json.loads(data)
    assert set(error) - {"id"} == {TEXT[path]}
    text: str = error[TEXT[path]]
    return text


@pytest.mark.parametrize(
    ("path", "member"),
    [
        (KSERVE, "predictions"),
        (OLLAMA, "embeddings"),
        (OLDER, "embedding"),
        (COHERE_1, "embeddings"),
        (COHERE_2, "embeddings"),
    ],
)
def test_each_api_is_answered_in_its_form(edge: Edge, path: str, member: str) -> None:
    response = edge.post(BODIES[path], path=path)
    assert response.status_code == 200, response.get_data(as_text=True)
    assert response.mimetype == "application/json"
    assert response.get_json()[member]
    assert response.headers["X-Batch-Size"] == "1"
    assert edge.sent == [b'"a"']


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("body", [b"{", b"[]", b'{"x":1,"x":2}', b'{"instances":1,"input":1,"prompt":1,"texts":1}'])
def test_invalid_input_is_400_in_each_apis_form(edge: Edge, path: str, body: bytes) -> None:
    response = edge.post(body, path=path)
    assert response.status_code == 400
    assert told(path, response.get_data())
    assert edge.upstream.batches == []


@pytest.mark.parametrize("path", BODIES)
def test_other_refusals_keep_their_status_in_each_apis_form(
    edge_with: Callable[..., AbstractContextManager[Edge]], path: str
) -> None:
    with edge_with(api_key="key", payload_limit=2048) as edge:
        response = edge.post(BODIES[path], path=path)
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "x-api-key" in told(path, response.get_data())
        compressed = {"api-key": "key", "Content-Encoding": "gzip", "Content-Type": "application/json"}
        response = edge.client.post(path, data=b"{}", headers=compressed)
        assert response.status_code == 415
        assert told(path, response.get_data())
        response = edge.post(b" " * 2049, {"x-api-key": "key"}, path=path)
        assert response.status_code == 413
        assert told(path, response.get_data())
        response = edge.client.delete(path, headers={"Authorization": "Bearer key"})
        assert response.status_code == 405
        assert told(path, response.get_data())


@pytest.mark.parametrize("path", [KSERVE, OLLAMA, OLDER])
@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded"])
def test_a_body_is_read_whatever_its_type_where_clients_leave_that_out(
    edge: Edge, path: str, content_type: str | None
) -> None:
    body = json.dumps(BODIES[path])
    assert edge.client.post(path, data=body, content_type=content_type).status_code == 200


def test_an_explanation_is_told_what_is_served(edge: Edge) -> None:
    response = edge.post({"instances": ["a"]}, path="/v1/models/m:explain")
    assert response.status_code == 404
    assert "explanations" in response.get_json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (KSERVE, {"instances": []}, {"predictions": []}),
        (OLLAMA, {"model": "m", "input": []}, {"model": "m", "embeddings": []}),
        (OLDER, {"model": "m"}, {"embedding": []}),
    ],
)
def test_a_request_for_nothing_is_answered_without_an_upstream(
    edge: Edge, path: str, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    response = edge.post(body, path=path)
    assert (response.status_code, response.get_json()) == (200, expected)
    assert edge.upstream.batches == []


@pytest.mark.parametrize("path", ["/v2", "/v2/models/m/infer", "/v2/health/ready"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_version_2_of_kserves_protocol_is_not_found_and_told_what_is_served(edge: Edge, path: str, method: str) -> None:
    response = edge.client.open(path, method=method, data=b"\0", content_type="application/octet-stream")
    assert response.status_code == 404
    assert "POST /v1/models/NAME:predict" in told(KSERVE, response.get_data())


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/api/pull"])
def test_what_ollama_has_beside_embeddings_is_not_found_in_its_form(edge: Edge, path: str) -> None:
    response = edge.post({"model": "m"}, path=path)
    assert response.status_code == 404
    assert told(OLLAMA, response.get_data())


def test_an_upstreams_base64_is_told_as_each_api_asks(edge: Edge) -> None:
    edge.upstream.digits[b'"a"'] = b'"AAAAPw=="'
    assert edge.post(BODIES[OLLAMA], path=OLLAMA).get_json()["embeddings"] == [[0.5]]
    assert edge.post(BODIES[COHERE_1], path=COHERE_1).get_json()["embeddings"] == [[0.5]]
    both = edge.post({**BODIES[COHERE_2], "embedding_types": ["float", "base64"]}, path=COHERE_2).get_json()
    assert both["embeddings"] == {"float": [[0.5]], "base64": ["AAAAPw=="]}
