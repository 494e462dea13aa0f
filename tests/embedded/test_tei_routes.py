"""TEI's other routes, over a fake model: token vectors, similarity, tokens, and what another kind of model would do."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from embedded.server import create_app
from tests.embedded.fakes import FakeModel, error_of

SIMILARITY = {"inputs": {"source_sentence": "aa", "sentences": ["a", "aaa"]}}


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


@pytest.fixture
def client(model: FakeModel) -> FlaskClient:
    return create_app(model).test_client()


# Aliases


@pytest.mark.parametrize("path", ["/", "/invocations"])
def test_the_base_url_and_invocations_answer_as_embed_does(client: FlaskClient, path: str) -> None:
    body = {"inputs": ["a", "bcd"], "normalize": False, "parameters": {}}
    answer, known = client.post(path, json=body), client.post("/embed", json=body)

    assert (answer.status_code, answer.data) == (200, known.data)
    assert answer.headers["x-compute-tokens"] == known.headers["x-compute-tokens"]


@pytest.mark.parametrize("path", ["/", "/invocations"])
def test_a_similarity_is_told_by_its_shape(client: FlaskClient, path: str) -> None:
    assert client.post(path, json=SIMILARITY).data == client.post("/similarity", json=SIMILARITY).data


def test_a_rerank_is_told_by_its_shape(client: FlaskClient) -> None:
    body = {"query": "a", "texts": ["b", "c"]}

    assert error_of(client.post("/", json=body)) == (424, "Backend", "Backend error: model is not a re-ranker model")


@pytest.mark.parametrize("body", [{}, [], {"inputs": {"text": "a"}}, "a"])
def test_any_other_shape_is_refused_as_embed_refuses_it(client: FlaskClient, body: Any) -> None:
    assert error_of(client.post("/", json=body)) == error_of(client.post("/embed", json=body))


# Token vectors


def test_embed_all_answers_a_vector_for_each_token_of_each_input(client: FlaskClient) -> None:
    response = client.post("/embed_all", json={"inputs": ["ab", "c"]})

    assert response.data == b"[[[0.0,0.5],[1.0,0.5]],[[0.0,0.5]]]"
    assert response.headers["x-compute-tokens"] == "3"


def test_embed_all_takes_the_options_of_tokenizing(client: FlaskClient, model: FakeModel) -> None:
    client.post("/embed_all", json={"inputs": "a", "truncate": False, "truncation_direction": "left"})

    assert model.encoded == [("a", False, "left")]


# Similarity


def test_similarity_answers_a_number_for_each_sentence(client: FlaskClient) -> None:
    response = client.post("/similarity", json=SIMILARITY)

    assert response.json == [pytest.approx(0.99876, abs=1e-5), pytest.approx(0.99986, abs=1e-5)]
    assert response.headers["x-compute-tokens"] == "6"


def test_similarity_compares_vectors_that_were_not_scaled(client: FlaskClient, model: FakeModel) -> None:
    client.post("/similarity", json={**SIMILARITY, "parameters": {"truncate": False}})

    assert model.embedded == [(3, False, None)]
    assert {truncate for _, truncate, _ in model.encoded} == {False}


@pytest.mark.parametrize(
    ("inputs", "refusal"),
    [
        ({"source_sentence": "a", "sentences": []}, (400, "Empty", "`inputs.sentences` cannot be empty")),
        (
            {"source_sentence": "a", "sentences": ["b"] * 32},
            (422, "Validation", "batch size 33 > maximum allowed batch size 32"),
        ),
        (
            {"source_sentence": "", "sentences": ["b"]},
            (400, "Empty", "Input validation error: `inputs` cannot be empty"),
        ),
    ],
)
def test_similarity_refuses_in_teis_words(client: FlaskClient, inputs: Any, refusal: tuple[int, str, str]) -> None:
    assert error_of(client.post("/similarity", json={"inputs": inputs})) == refusal


def test_a_wrong_member_inside_is_named_with_its_path(client: FlaskClient) -> None:
    status, _, message = error_of(client.post("/similarity", json={"inputs": {"source_sentence": 1, "sentences": []}}))

    assert status == 422
    assert "inputs.source_sentence: Not a valid string." in message


# Tokens


def test_tokenize_tells_each_token_and_where_it_stands(client: FlaskClient) -> None:
    response = client.post("/tokenize", json={"inputs": ["é", "b"]})

    assert (
        response.data
        == (
            '[[{"id":0,"text":"[MARK]","special":true,"start":null,"stop":null},'
            '{"id":7,"text":"é","special":false,"start":0,"stop":2}],'
            '[{"id":0,"text":"[MARK]","special":true,"start":null,"stop":null},'
            '{"id":7,"text":"b","special":false,"start":0,"stop":1}]]'
        ).encode()
    )
    assert "x-compute-tokens" not in response.headers


def test_tokenize_leaves_special_tokens_out_on_request(client: FlaskClient) -> None:
    answer = client.post("/tokenize", json={"inputs": "a", "add_special_tokens": False}).json

    assert answer == [[{"id": 7, "text": "a", "special": False, "start": 0, "stop": 1}]]


@pytest.mark.parametrize(
    ("ids", "skip", "texts"),
    [([0, 5, 6], True, ["5 6"]), ([[0, 5], [6]], False, ["0 5", "6"]), ([[7]], True, ["7"])],
)
def test_decode_tells_the_text_of_each_list(client: FlaskClient, ids: Any, skip: bool, texts: list[str]) -> None:
    assert client.post("/decode", json={"ids": ids, "skip_special_tokens": skip}).json == texts


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        ("/tokenize", {"inputs": ""}, (400, "Empty", "Input validation error: `inputs` cannot be empty")),
        ("/tokenize", {"inputs": []}, (400, "Empty", "Input validation error: `inputs` cannot be empty")),
        ("/tokenize", {"inputs": ["a"] * 33}, (422, "Validation", "batch size 33 > maximum allowed batch size 32")),
        ("/decode", {"ids": []}, (400, "Empty", "Input validation error: `input_ids` cannot be empty")),
        ("/decode", {"ids": [[1]] * 33}, (422, "Validation", "batch size 33 > maximum allowed batch size 32")),
    ],
)
def test_tokens_are_refused_in_teis_words(
    client: FlaskClient, path: str, body: Any, refusal: tuple[int, str, str]
) -> None:
    assert error_of(client.post(path, json=body)) == refusal


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"inputs": [1, 2]}),
        ("/tokenize", {"inputs": 5}),
        ("/tokenize", {"inputs": "a", "add_special_tokens": None}),
        ("/tokenize", {"inputs": "a", "prompt_name": "query"}),
        ("/decode", {"ids": "a"}),
        ("/decode", {"ids": [-1]}),
        ("/decode", {"ids": [[1], 2]}),
        ("/embed_all", {"inputs": None}),
    ],
)
def test_a_body_of_the_wrong_shape_is_a_422(client: FlaskClient, path: str, body: Any) -> None:
    assert error_of(client.post(path, json=body))[:2] == (422, "Validation")


# Other kinds of model


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/predict", {"inputs": "a"}, "Backend error: Model is not a classifier model"),
        ("/predict", {"inputs": ["a", "b"]}, "Backend error: Model is not a classifier model"),
        ("/predict", {"inputs": [["a"], ["a", "b"]]}, "Backend error: Model is not a classifier model"),
        ("/rerank", {"query": "a", "texts": ["b", "c"]}, "Backend error: model is not a re-ranker model"),
        ("/embed_sparse", {"inputs": "a"}, "Backend error: Model is not an embedding model with SPLADE pooling"),
    ],
)
def test_what_needs_another_kind_of_model_is_a_424(client: FlaskClient, path: str, body: Any, words: str) -> None:
    assert error_of(client.post(path, json=body)) == (424, "Backend", words)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/predict", {}, 422),
        ("/predict", {"inputs": ["a", "b", "c"]}, 422),
        ("/predict", {"inputs": []}, 422),
        ("/rerank", {"query": "a"}, 422),
        ("/rerank", {"query": "a", "texts": []}, 400),
        ("/rerank", {"query": "", "texts": ["b", ""]}, 400),
        ("/embed_sparse", {"inputs": 5}, 422),
        ("/embed_sparse", {"inputs": ["a", ""]}, 400),
        ("/embed_sparse", {"inputs": []}, 400),
        ("/predict", {"inputs": ""}, 400),
        ("/predict", {"inputs": [["a"], ["", ""]]}, 400),
        ("/predict", {"inputs": "a", "truncation_direction": "up"}, 422),
    ],
)
def test_a_wrong_body_is_told_before_the_wrong_kind(client: FlaskClient, path: str, body: Any, status: int) -> None:
    assert error_of(client.post(path, json=body))[0] == status


def test_malformed_json_is_a_400_on_every_route(client: FlaskClient) -> None:
    for path in ["/", "/embed_all", "/similarity", "/tokenize", "/decode", "/predict", "/rerank", "/embed_sparse"]:
        response = client.post(path, data=b"{", content_type="application/json")
        assert (response.status_code, json.loads(response.data)["error_type"]) == (400, "Validation")
