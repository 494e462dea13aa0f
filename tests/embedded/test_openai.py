"""OpenAI's routes as the embedded server has them, over a fake model: TEI's contract, and a list of models."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from embedded.server import create_app
from tests.embedded.fakes import FakeModel


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def client(model: FakeModel) -> FlaskClient:
    return create_app(model).test_client()


def refusal_of(response: TestResponse) -> tuple[int, str, str]:
    assert response.mimetype == "application/json"
    body = json.loads(response.data)
    assert list(body) == ["message", "code", "type"]
    assert body["code"] == response.status_code
    return response.status_code, body["type"], body["message"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_the_answer_has_teis_members_in_teis_order(client: FlaskClient, path: str) -> None:
    response = client.post(path, json={"input": ["abc", "a"], "model": "any", "user": "u", "colour": "blue"})

    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.data == (
        b'{"object":"list","data":[{"object":"embedding","embedding":[3.0,0.1],"index":0},'
        b'{"object":"embedding","embedding":[1.0,0.1],"index":1}],"model":"fake",'
        b'"usage":{"prompt_tokens":4,"total_tokens":4}}'
    )
    assert response.headers["x-compute-tokens"] == "4"


def test_base64_holds_the_same_numbers_to_the_last_bit(client: FlaskClient) -> None:
    asked = {"input": ["abc", "a"]}
    numbers = client.post("/v1/embeddings", json=asked).json
    text = client.post("/v1/embeddings", json={**asked, "encoding_format": "base64"}).json

    assert numbers is not None
    assert text is not None
    for plain, packed in zip(numbers["data"], text["data"], strict=True):
        assert base64.b64decode(packed["embedding"]) == np.array(plain["embedding"], "<f4").tobytes()
    assert text["data"][0]["embedding"] == "AABAQM3MzD0="


@pytest.mark.parametrize(
    ("given", "items"),
    [("a", ["a"]), ([1, 2], [[1, 2]]), ([[1, 2], [3]], [[1, 2], [3]]), (["a", [7]], ["a", [7]])],
)
def test_texts_and_token_ids_are_taken(client: FlaskClient, model: FakeModel, given: Any, items: list[Any]) -> None:
    assert client.post("/v1/embeddings", json={"input": given}).status_code == 200
    assert model.encoded == [(item, True, "right") for item in items]


def test_dimensions_reach_the_model_and_nulls_are_defaults(client: FlaskClient, model: FakeModel) -> None:
    client.post("/v1/embeddings", json={"input": "a", "dimensions": 1, "model": None, "user": None})
    client.post("/v1/embeddings", json={"input": "a", "dimensions": None})

    assert model.embedded == [(1, True, 1), (1, True, None)]


@pytest.mark.parametrize("given", ["", [], ["a", ""]])
def test_an_empty_input_is_a_400_in_teis_words(client: FlaskClient, given: Any) -> None:
    assert refusal_of(client.post("/v1/embeddings", json={"input": given})) == (
        400,
        "Empty",
        "Input validation error: `inputs` cannot be empty",
    )


def test_too_many_inputs_are_a_422_in_teis_words(client: FlaskClient) -> None:
    assert refusal_of(client.post("/v1/embeddings", json={"input": ["a"] * 33})) == (
        422,
        "Validation",
        "batch size 33 > maximum allowed batch size 32",
    )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"input": 5}, 422),
        ({"input": None}, 422),
        ({"inputs": "a"}, 422),
        ({"input": "a", "encoding_format": "int3"}, 422),
        ({"input": "a", "encoding_format": None}, 400),
        ({"input": "a", "dimensions": "8"}, 422),
        ({"input": "a", "model": 5}, 422),
    ],
)
def test_a_wrong_member_is_refused_in_the_flat_form(client: FlaskClient, body: Any, status: int) -> None:
    assert refusal_of(client.post("/v1/embeddings", json=body))[:2] == (status, "Validation")


def test_paths_below_v1_know_no_other_form_of_an_error(client: FlaskClient) -> None:
    assert refusal_of(client.post("/v1/embeddings", data=b"{}"))[0] == 415
    assert refusal_of(client.post("/v1/embeddings", data=b"{", content_type="application/json"))[0] == 400
    assert refusal_of(client.get("/v1/nothing"))[0] == 404
    assert refusal_of(client.get("/embeddings"))[0] == 405


def test_the_model_can_be_listed_and_looked_up(client: FlaskClient) -> None:
    described = {"id": "fake", "object": "model", "created": 0, "owned_by": "embedded"}

    assert client.get("/v1/models").json == {"object": "list", "data": [described]}
    assert client.get("/v1/models/fake").json == described
    assert "`fake`" in refusal_of(client.get("/v1/models/other"))[2]
