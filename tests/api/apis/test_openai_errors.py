"""Errors in OpenAI's form, whose clients decide by status and by ``type``, ``param`` and ``code``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.apis.openai_errors import OpenAiApi, UnknownModelError
from api.apis.wrong_fields import WrongFieldsError
from api.error_forms import RequestError
from batching.errors import (
    DeadlineExceeded,
    NoUpstream,
    Overloaded,
    ProxyError,
    Unsupported,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
)
from upstream.busy import QuotaExhausted

API = OpenAiApi()


def told(error: ProxyError) -> dict[str, Any]:
    body = json.loads(API.error(error, "the-id"))
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "param", "code"]
    inner: dict[str, Any] = body["error"]
    return inner


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (RequestError(400, "m"), 400, "invalid_request_error", None),
        (RequestError(422, "m"), 400, "invalid_request_error", None),
        (UpstreamRejected("m", status=422), 400, "invalid_request_error", None),
        (UpstreamRejected("m", status=413), 413, "invalid_request_error", None),
        (Unsupported("m", field="x"), 400, "invalid_request_error", None),
        (Unsupported("m", status=404), 404, "invalid_request_error", "unknown_url"),
        (RequestError(401, "m"), 401, "authentication_error", "invalid_api_key"),
        (RequestError(403, "m"), 403, "permission_error", None),
        (RequestError(404, "m"), 404, "invalid_request_error", "unknown_url"),
        (UnknownModelError("m"), 404, "invalid_request_error", "model_not_found"),
        (RequestError(405, "m"), 405, "invalid_request_error", None),
        (RequestError(415, "m"), 415, "invalid_request_error", None),
        (Overloaded("m"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (UpstreamOverloaded("m"), 429, "rate_limit_error", "rate_limit_exceeded"),
        (ProxyError("m"), 500, "server_error", None),
        (UpstreamFailed("m"), 502, "server_error", None),
        (UpstreamFailed("m", status=424), 424, "server_error", None),
        (NoUpstream("m"), 503, "server_error", None),
        (DeadlineExceeded("m"), 504, "server_error", "timeout"),
        (UpstreamTimeout("m"), 504, "server_error", "timeout"),
    ],
)
def test_each_failure_has_its_status_type_and_code(error: ProxyError, status: int, kind: str, code: str | None) -> None:
    assert API.status(error) == status
    assert (told(error)["type"], told(error)["code"]) == (kind, code)


def test_no_failure_is_422() -> None:
    assert API.status(WrongFieldsError([("input", "is wrong")])) == 400


@pytest.mark.parametrize(
    ("error", "param"),
    [
        (WrongFieldsError([("input[3]", "is wrong"), ("model", "is wrong")]), "input"),
        (WrongFieldsError([("input[3][7]", "is wrong")]), "input"),
        (WrongFieldsError([("dimensions", "is wrong")]), "dimensions"),
        (WrongFieldsError([('"a[1]"', "is wrong")]), "a[1]"),
        (WrongFieldsError([]), None),
        (Unsupported("m", field="input_type"), "input_type"),
        (Unsupported("m"), None),
        (RequestError(400, "m"), None),
        (ProxyError("m"), None),
    ],
)
def test_param_is_the_member_of_the_body_that_is_at_fault(error: ProxyError, param: str | None) -> None:
    assert told(error)["param"] == param


def test_texts_are_told_so_that_a_terminal_shows_and_does_not_obey_them() -> None:
    error = Unsupported("a\x1b[31m\nb\ud800", field="x\n\x1b")
    assert told(error)["message"] == "a\\x1b[31m b\\ud800"
    assert told(error)["param"] == "x \\x1b"


def test_an_unknown_models_name_is_in_the_message() -> None:
    assert told(UnknownModelError("org/m"))["message"] == "The model `org/m` does not exist"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/embeddings",
        "/v1/embeddings/x",
        "/v1/models/m",
        "/v1/no/such",
        "/v1",
        "/embeddings",
        "/openai/deployments/d/x",
    ],
)
def test_errors_of_openais_paths_and_of_unknown_ones_below_them_are_openais(path: str) -> None:
    assert path.startswith(OpenAiApi.prefixes)


def test_no_prefix_of_another_apis_embed_is_longer_for_embeddings() -> None:
    assert max(OpenAiApi.prefixes, key=len) == "/v1/embeddings"
    assert not "/embed".startswith(OpenAiApi.prefixes)


def test_a_quota_that_is_used_up_has_openais_code_for_it() -> None:
    error = QuotaExhausted("You exceeded your current quota", pause=None)
    told = json.loads(OpenAiApi().error(error, "identity"))["error"]
    assert (told["code"], told["type"], told["message"]) == (
        "insufficient_quota",
        "rate_limit_error",
        "You exceeded your current quota",
    )
