"""Which models are served, as OpenAI's clients and KServe's ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, Response

from api.apis.about import About
from api.apis.table import api_of
from api.models import blueprint, model, model_list, serves
from batching.errors import ProxyError

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

TEI = About(api="tei", model="BAAI/bge-small-en-v1.5", models=("BAAI/bge-small-en-v1.5",))
OPENAI = About(api="openai", model="small", models=("small", "org/large"))
KSERVE = About(api="kserve", model="minilm", models=("minilm", "other"))
ALL = [TEI, OPENAI, KSERVE, About(api="plain")]


def get(about: About, path: str) -> TestResponse:
    app = Flask(__name__)
    app.register_blueprint(blueprint(lambda: about))
    api = api_of(path)
    app.register_error_handler(
        ProxyError, lambda error: Response(api.error(error, "id"), api.status(error), mimetype="application/json")
    )
    return app.test_client().get(path)


def entry(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


# The list


def test_the_list_holds_each_model_in_the_upstreams_order() -> None:
    assert model_list(OPENAI) == {"object": "list", "data": [entry("small", "openai"), entry("org/large", "openai")]}
    assert get(OPENAI, "/v1/models").json == model_list(OPENAI)


def test_the_list_of_a_kserve_upstream_is_kserves() -> None:
    assert get(KSERVE, "/v1/models").json == {"models": ["minilm", "other"]}


def test_a_model_without_a_list_is_a_list_of_one() -> None:
    assert model_list(About(api="tei", model="m"))["data"] == [entry("m", "tei")]


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        ("tei", {"object": "list", "data": []}),
        ("openai", {"object": "list", "data": []}),
        ("plain", {"object": "list", "data": []}),
        ("kserve", {"models": []}),
    ],
)
def test_the_list_is_empty_before_an_upstream_has_told(api: str, expected: dict[str, Any]) -> None:
    response = get(About(api=api), "/v1/models")
    assert (response.status_code, response.json) == (200, expected)


@pytest.mark.parametrize("about", ALL)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/minilm", "/v1/models/nope"])
def test_all_answers_are_json(about: About, path: str) -> None:
    assert get(about, path).content_type == "application/json"


def test_routes_tell_what_is_known_when_they_are_asked() -> None:
    known = [About(api="openai")]
    app = Flask(__name__)
    app.register_blueprint(blueprint(lambda: known[0]))
    client = app.test_client()
    assert client.get("/v1/models").json == {"object": "list", "data": []}
    known[0] = OPENAI
    assert client.get("/v1/models").json == model_list(OPENAI)


# One model


@pytest.mark.parametrize("path", ["/v1/models/org/large", "/v1/models/org%2Flarge"])
def test_one_model_satisfies_openais_clients_and_kserves(path: str) -> None:
    assert get(OPENAI, path).json == entry("org/large", "openai") | {"name": "org/large", "ready": True}


def test_one_model_of_a_kserve_upstream_is_kserves() -> None:
    assert get(KSERVE, "/v1/models/minilm").json == {"name": "minilm", "ready": True}


@pytest.mark.parametrize("about", [TEI, About(api="tei"), About(api="plain")])
@pytest.mark.parametrize("name", ["minilm", "BAAI/bge-small-en-v1.5"])
def test_a_server_that_ignores_names_serves_any(about: About, name: str) -> None:
    assert serves(about, name)
    assert model(about, name) == entry(name, about.api) | {"name": name, "ready": True}


@pytest.mark.parametrize("name", ["large", "small/x", "Small", "../small"])
def test_an_unknown_model_is_openais_404(name: str) -> None:
    response = get(OPENAI, f"/v1/models/{name}")
    assert response.status_code == 404
    assert response.json == {
        "error": {
            "message": f"The model `{name}` does not exist",
            "type": "invalid_request_error",
            "param": None,
            "code": "model_not_found",
        }
    }


def test_an_unknown_model_of_a_kserve_upstream_is_kserves_404() -> None:
    response = get(KSERVE, "/v1/models/nope")
    assert (response.status_code, response.json) == (404, {"error": "Model with name nope does not exist."})


@pytest.mark.parametrize("about", ALL)
@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_the_path_of_a_call_is_no_model_when_it_is_asked_by_get(about: About, verb: str) -> None:
    response = get(about, f"/v1/models/minilm:{verb}")
    assert response.status_code == 404
    assert response.json is not None
    assert list(response.json) == ["error"]
    assert response.json["error"].startswith(f"/v1/models/minilm:{verb} is not served")
    assert "POST /v1/models/NAME:predict" in response.json["error"]


@pytest.mark.parametrize("name", ["all-minilm:latest", "odd:predict"])
def test_a_name_with_a_colon_is_a_name_where_there_is_such_a_model(name: str) -> None:
    response = get(About(api="openai", model=name, models=(name, "b")), f"/v1/models/{name}")
    assert (response.status_code, response.json and response.json["id"]) == (200, name)


def test_a_name_that_a_terminal_would_obey_is_told_in_plain_text() -> None:
    response = get(KSERVE, "/v1/models/a%1B%5B31mb")
    assert response.json == {"error": "Model with name a\\x1b[31mb does not exist."}
