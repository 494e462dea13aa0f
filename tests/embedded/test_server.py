"""TEI's HTTP contract of `/embed`, `/info` and the health routes, over a fake model."""

import json
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from embedded.server import PAYLOAD_LIMIT, create_app, to_json
from embedded.service import MAX_CLIENT_BATCH_SIZE, MAX_CONCURRENT_REQUESTS
from tests.embedded.fakes import BrokenModel, FakeModel, error_of


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def client(model: FakeModel) -> FlaskClient:
    return create_app(model).test_client()


# Answers


def test_one_text_is_answered_by_an_array_of_one_vector(client: FlaskClient) -> None:
    response = client.post("/embed", json={"inputs": "abc"})

    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert response.data == b"[[3.0,0.1]]"


def test_several_texts_are_answered_in_order(client: FlaskClient) -> None:
    assert client.post("/embed", json={"inputs": ["a", "abc", "ab"]}).json == [[1, 0.1], [3, 0.1], [2, 0.1]]


@pytest.mark.parametrize(
    ("inputs", "items"),
    [
        ([1, 2], [[1, 2]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (["a", [7]], ["a", [7]]),
        ([0, 2**32 - 1], [[0, 2**32 - 1]]),
    ],
)
def test_token_ids_are_one_input_each(
    client: FlaskClient, model: FakeModel, inputs: list[Any], items: list[Any]
) -> None:
    assert client.post("/embed", json={"inputs": inputs}).status_code == 200
    assert [item for item, _, _ in model.encoded] == items


def test_defaults_are_those_of_tei(client: FlaskClient, model: FakeModel) -> None:
    client.post("/embed", json={"inputs": "a"})

    assert model.encoded == [("a", True, "right")]
    assert model.embedded == [(1, True, None)]


def test_options_reach_the_model_and_unknown_fields_are_ignored(client: FlaskClient, model: FakeModel) -> None:
    body = {
        "inputs": "a",
        "truncate": False,
        "truncation_direction": "Left",
        "normalize": False,
        "dimensions": 1,
        "colour": "blue",
    }

    assert client.post("/embed", json=body).status_code == 200
    assert model.encoded == [("a", False, "left")]
    assert model.embedded == [(1, False, 1)]


def test_floats_are_written_with_the_shortest_digits_of_float32() -> None:
    values = np.random.default_rng(0).normal(size=(4, 384)).astype(np.float32)

    text = to_json(values)

    assert np.array_equal(np.array(json.loads(text), np.float32), values)
    digits = [number for row in text.decode()[2:-2].split("],[") for number in row.split(",")]
    assert [float(number) for number in digits] == [float(str(value)) for value in values.ravel()]
    assert to_json(np.array([[0.1]], np.float32)) == b"[[0.1]]"


def test_headers_count_the_work_and_time_it(client: FlaskClient) -> None:
    headers = client.post("/embed", json={"inputs": ["ab", [1, 2, 3]]}).headers

    assert (headers["x-compute-characters"], headers["x-compute-tokens"]) == ("5", "5")
    for name in ("compute-time", "total-time", "tokenization-time", "queue-time", "inference-time"):
        assert headers[f"x-{name}"].isdigit()


def test_info_states_the_limits_the_proxy_clamps_to(client: FlaskClient) -> None:
    info = client.get("/info").json

    assert info is not None
    assert info["model_id"] == "fake"
    assert info["max_client_batch_size"] == MAX_CLIENT_BATCH_SIZE == 32
    assert info["max_concurrent_requests"] == MAX_CONCURRENT_REQUESTS == 512
    assert info["max_input_length"] == 256
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["auto_truncate"] is True


@pytest.mark.parametrize("path", ["/health", "/ping", "/"])
def test_health_is_an_empty_200(client: FlaskClient, path: str) -> None:
    response = client.get(path)

    assert (response.status_code, response.data) == (200, b"")


# Refusals


@pytest.mark.parametrize("inputs", ["", [], [""], [[]], ["a", ""]])
def test_empty_inputs_are_refused_as_empty(client: FlaskClient, inputs: Any) -> None:
    assert error_of(client.post("/embed", json={"inputs": inputs})) == (
        400,
        "Empty",
        "Input validation error: `inputs` cannot be empty",
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "inputs"),
        ({"inputs": None}, "inputs"),
        ({"inputs": 1}, "inputs"),
        ({"inputs": {"text": "a"}}, "inputs"),
        ({"inputs": [1, "a"]}, "inputs"),
        ({"inputs": [True]}, "inputs"),
        ({"inputs": [-1]}, "inputs"),
        ({"inputs": [2**32]}, "inputs"),
        ({"inputs": "a", "truncate": "yes"}, "truncate"),
        ({"inputs": "a", "normalize": 1}, "normalize"),
        ({"inputs": "a", "truncation_direction": "up"}, "truncation_direction"),
        ({"inputs": "a", "dimensions": "64"}, "dimensions"),
        ({"inputs": "a", "dimensions": 1.5}, "dimensions"),
        ({"inputs": "a", "prompt_name": 3}, "prompt_name"),
    ],
)
def test_a_body_of_the_wrong_shape_names_the_field(client: FlaskClient, body: Any, field: str) -> None:
    status, error_type, message = error_of(client.post("/embed", json=body))

    assert (status, error_type) == (422, "Validation")
    assert f"target type: {field}: " in message


def test_a_body_that_is_no_object_is_refused(client: FlaskClient) -> None:
    assert error_of(client.post("/embed", json=["a"]))[:2] == (422, "Validation")


def test_malformed_json_is_a_400(client: FlaskClient) -> None:
    response = client.post("/embed", data=b'{"inputs": ', content_type="application/json")

    assert error_of(response)[:2] == (400, "Validation")


def test_a_body_that_does_not_claim_to_be_json_is_a_415(client: FlaskClient) -> None:
    assert error_of(client.post("/embed", data=b'{"inputs": "a"}'))[:2] == (415, "Validation")


def test_a_batch_over_the_limit_is_refused_in_teis_words(client: FlaskClient) -> None:
    assert error_of(client.post("/embed", json={"inputs": ["a"] * 33})) == (
        422,
        "Validation",
        "batch size 33 > maximum allowed batch size 32",
    )


def test_a_prompt_name_is_refused_because_the_model_has_no_prompts(client: FlaskClient) -> None:
    status, error_type, message = error_of(client.post("/embed", json={"inputs": "a", "prompt_name": "query"}))

    assert (status, error_type) == (422, "Validation")
    assert "`query` but no prompts were found" in message


def test_a_body_over_the_payload_limit_is_a_413(client: FlaskClient) -> None:
    body = json.dumps({"inputs": "a" * PAYLOAD_LIMIT})

    assert error_of(client.post("/embed", data=body, content_type="application/json"))[0] == 413


def test_unknown_paths_and_wrong_methods_are_answered_in_json(client: FlaskClient) -> None:
    assert error_of(client.get("/nowhere"))[0] == 404
    wrong_method = client.get("/embed")
    assert error_of(wrong_method)[0] == 405
    assert "POST" in wrong_method.headers["Allow"]


def test_a_crash_of_the_model_tells_the_client_nothing_of_its_cause() -> None:
    status, error_type, message = error_of(create_app(BrokenModel()).test_client().post("/embed", json={"inputs": "a"}))

    assert (status, error_type) == (424, "Backend")
    assert "secret" not in message


@pytest.mark.parametrize("name", ["inputs", "normalize"])
def test_a_known_member_that_stands_twice_is_refused(client: FlaskClient, name: str) -> None:
    body = b'{"inputs": "a", "%b": true, "%b": true}' % (name.encode(), name.encode())

    status, error_type, message = error_of(client.post("/embed", data=body, content_type="application/json"))

    assert (status, error_type) == (422, "Validation")
    assert message.endswith(f"duplicate field `{name}`")


def test_a_name_may_stand_twice_where_it_is_no_member(client: FlaskClient) -> None:
    body = b'{"inputs": ["\\"inputs\\"", "a"], "other": {"inputs": 1}}'

    assert client.post("/embed", data=body, content_type="application/json").status_code == 200
