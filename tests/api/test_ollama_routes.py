"""What Ollama's clients ask about the server beside embeddings."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from flask import Flask

from api import ollama_routes
from api.apis.about import About
from api.error_forms import RequestError

if TYPE_CHECKING:
    from flask.testing import FlaskClient

OPENAI = About("openai", "one", ("one", "two"))


def client(about: About) -> FlaskClient:
    app = Flask(__name__)
    app.register_blueprint(ollama_routes.blueprint(lambda: about))
    return app.test_client()


def test_the_version_is_a_release_that_clients_can_compare() -> None:
    response = client(OPENAI).get("/api/version")
    assert response.mimetype == "application/json"
    assert len([int(part) for part in response.get_json()["version"].split(".")]) == 3


@pytest.mark.parametrize(
    ("about", "names"),
    [
        (OPENAI, ["one", "two"]),
        (About("tei", "BAAI/bge-small-en-v1.5"), ["BAAI/bge-small-en-v1.5"]),
        (About("tei"), []),
    ],
)
def test_the_models_that_are_known_are_listed(about: About, names: list[str]) -> None:
    models = client(about).get("/api/tags").get_json()["models"]
    assert [model["name"] for model in models] == [model["model"] for model in models] == names


def test_a_models_digest_tells_it_from_others() -> None:
    digests = [model["digest"] for model in ollama_routes.model_list(OPENAI)["models"]]
    assert digests == [hashlib.sha256(name.encode()).hexdigest() for name in OPENAI.models]


@pytest.mark.parametrize("path", ["/api/version", "/api/tags"])
def test_heads_are_answered_too(path: str) -> None:
    assert client(OPENAI).head(path).status_code == 200


@pytest.mark.parametrize("member", ["model", "name"])
def test_a_model_is_shown_as_one_that_embeds(member: str) -> None:
    shown = client(OPENAI).post("/api/show", json={member: "two", "verbose": True}).get_json()
    assert shown["capabilities"] == ["embedding"]
    assert shown["model_info"]["general.basename"] == "two"


def test_a_server_with_one_model_shows_it_under_any_name() -> None:
    assert ollama_routes.shown(About("tei", "a"), {"model": "all-minilm"})["capabilities"] == ["embedding"]


def test_an_unknown_model_is_not_found() -> None:
    with pytest.raises(RequestError, match="model 'three' not found") as caught:
        ollama_routes.shown(OPENAI, {"model": "three"})
    assert caught.value.status == 404


@pytest.mark.parametrize("body", [{}, {"model": ""}, {"model": None}, {"model": ["a"]}, {"name": 1}])
def test_a_model_has_to_be_named(body: dict[str, object]) -> None:
    with pytest.raises(RequestError, match="model is required") as caught:
        ollama_routes.shown(OPENAI, body)
    assert caught.value.status == 400
