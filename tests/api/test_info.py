"""``GET /info``: the upstream's own words, and the limits that clients are to keep here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from api.apis.about import About
from api.error_forms import RequestError
from api.info import blueprint, info_body

#: As TEI 1.9.3 answered.
RECORDED = (
    b'{"model_id":"PATH","model_sha":null,"model_dtype":"float16","served_model_name":"minilm",'
    b'"model_type":{"embedding":{"pooling":"mean"}},"max_concurrent_requests":512,"max_input_length":256,'
    b'"max_batch_tokens":16384,"max_batch_requests":4,"max_client_batch_size":32,"auto_truncate":true,'
    b'"tokenization_workers":1,"version":"1.9.3","sha":"0d124dc9773be6ac5a9a57d8439aba9bbbf33273","docker_label":null}'
)


def told(about: About) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(info_body(about, 300))
    return said


def test_the_answer_of_tei_is_told_with_the_limits_of_the_proxy() -> None:
    said = told(About("tei", "PATH", ("minilm",), RECORDED, 2048))
    expected = {**json.loads(RECORDED), "max_client_batch_size": 2048, "max_concurrent_requests": 300}
    assert said == expected
    assert list(said) == list(expected)


def test_what_another_version_tells_besides_is_told_as_it_is() -> None:
    assert told(About("tei", info=b'\xef\xbb\xbf{"new":[1.50,{}]}', max_items=7)) == {
        "new": [1.5, {}],
        "max_client_batch_size": 7,
        "max_concurrent_requests": 300,
    }


@pytest.mark.parametrize("api", ["openai", "plain"])
def test_an_upstream_of_another_kind_is_told_in_the_same_shape(api: str) -> None:
    said = told(About(api, "m", ("m", "n"), None, 100))
    assert said.keys() == json.loads(RECORDED).keys()
    assert {name: value for name, value in said.items() if value is not None} == {
        "model_id": "m",
        "served_model_name": "m",
        "model_type": {"embedding": {"pooling": None}},
        "max_client_batch_size": 100,
        "max_concurrent_requests": 300,
    }


def test_nothing_is_made_up_of_a_server_of_any_models() -> None:
    said = told(About("kserve", max_items=1))
    assert (said["model_id"], said["model_type"]) == (None, None)


def test_a_tei_that_has_not_told_of_itself_yet_is_not_described() -> None:
    with pytest.raises(RequestError) as caught:
        info_body(About("tei", max_items=1), 300)
    assert caught.value.status == 503


def test_the_route_tells_what_is_known_now() -> None:
    known = [About("openai", "a", max_items=1), About("openai", "b", max_items=1)]
    app = Flask(__name__)
    app.register_blueprint(blueprint(lambda: known.pop(0), 5))
    client = app.test_client()
    answers = [client.get("/info") for _ in range(2)]
    assert [answer.json["model_id"] for answer in answers if answer.json] == ["a", "b"]
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/json"}
