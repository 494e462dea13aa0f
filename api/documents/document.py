"""Builds the OpenAPI 3.1 document from the routes, their marshmallow schemas and what is told of each."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from api.apis.table import APIS, ROUTES, api_of
from api.documents.headers import BATCHED, CAPPED, DEADLINE, RANKS, REFUSED
from api.documents.operations import OPERATIONS, SAMPLES, SERVICE, SHOWN_WITH_LIBRARY, Operation
from api.documents.shapes import teach
from api.error_forms import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from api.apis.query import Api, Route

Shape = dict[str, Any]

_DESCRIPTION = """\
One service in front of an embedding server. It gathers requests that wait at the same time into one upstream call, and
gives every client its own result.

Each route shows how `curl` asks it, and each API how its own library does.

Headers of each answer tell how it came about: `X-Request-Id`, `X-Batch-Size`, `X-Batch-Reason`, `X-Batch-Class`
(interactive or bulk), `X-Batch-Shared` (true where an equal input of another request was computed for it), and the
milliseconds `X-Queue-Time`, `X-Inference-Time` and `X-Total-Time`. A client may shorten its deadline by
`X-Request-Timeout-Ms`.
"""

#: What each status of a route that is asked by POST means. Those of 400 and more have the form of the route's API.
STATUSES: Mapping[int, str] = {
    200: "The results, in the order of the inputs.",
    400: "The body is no JSON, or asks for what cannot be; the error names the member.",
    401: "An API key is set, and the request has none or another.",
    404: "The upstream does not have what the route stands for.",
    408: "The request did not arrive in time.",
    411: "The request has no body.",
    413: "The body, or one input, is too large.",
    415: "The body is no JSON by its Content-Type, or it is compressed.",
    422: "The body is JSON and asks for what cannot be; the error names the member.",
    424: "The upstream's model failed on the input.",
    429: "As many requests are under way as are allowed, or as the client's own cap allows, which x-ratelimit-limit-"
    "requests tells then; Retry-After says when to come again.",
    431: "The headers are too large.",
    500: "An unexpected error; it is in the service's log.",
    502: "The upstream failed.",
    503: "No upstream can be reached, or the service is shutting down.",
    504: "The deadline passed.",
}
#: Headers that every answer of the app has.
_IDENTITY = {"X-Request-Id": {"schema": {"type": "string"}, "description": "The request's own, or a new one."}}
#: What health checks are answered, whatever the status.
_HEALTH_PATH = "/health"
_HEALTH: Shape = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


def document(version: str, routes: Iterable[Route] = ROUTES) -> Shape:
    """Return the document; ``version`` is the service's."""
    plugin = MarshmallowPlugin()
    spec = APISpec(
        title="Auto-Batching Proxy",
        version=version,
        openapi_version="3.1.0",
        info={"description": _DESCRIPTION},
        plugins=[plugin],
        tags=[{"name": name} for name in dict.fromkeys([*(each.tag for each in OPERATIONS.values()), SERVICE])],
        security=[{}, {"bearer": []}, {"api-key": []}, {"x-api-key": []}],
    )
    assert plugin.converter is not None  # noqa: S101 - APISpec has made it
    teach(plugin.converter)
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    for name in ("api-key", "x-api-key"):
        spec.components.security_scheme(name, {"type": "apiKey", "in": "header", "name": name})
    for component, (name, words, shape) in [*DEADLINE.items(), *RANKS.items()]:
        told = {"name": name, "description": words, "schema": shape}
        spec.components.parameter(component, "header", told)
    for api in APIS:
        spec.components.schema(_error_name(api), error_shape(api))
    for route in routes:
        _add(spec, route, OPERATIONS[route.path])
    for path, operation in _told().items():
        spec.path(path, operations={"get": operation})
    spec.path("/api/show", operations={"post": _show()})
    return spec.to_dict()


def _add(spec: APISpec, route: Route, told: Operation) -> None:
    api = api_of(route.path)
    answered = sorted({api.status(_error(status)) if status >= 400 else status for status in STATUSES})
    responses = {str(status): _response(route.path, status, told) for status in answered}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]
    operation = {
        "tags": [told.tag],
        "summary": told.summary,
        "description": _text(route.path, told),
        "operationId": _identifier(route.path),
        "parameters": [*DEADLINE, *(RANKS if told.is_batched else ())],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": route.schema, "example": told.example}},
        },
        "responses": responses,
    }
    spec.path(_PARAMETER.sub(r"{\1}", route.path), parameters=parameters, operations={"post": operation})


def _error(status: int) -> RequestError:
    return RequestError(status, "x", error_type="x")


def _response(path: str, status: int, told: Operation) -> Shape:
    schema = told.answer if status == 200 else _error_reference(path)
    return {
        "description": STATUSES[status],
        "headers": _IDENTITY | _headers(status, is_batched=told.is_batched),
        "content": {"application/json": {"schema": schema}},
    }


def _headers(status: int, *, is_batched: bool) -> Shape:
    """Return the headers that answers of a status have beside the identity."""
    told: dict[str, tuple[str, Shape]] = {}
    if status == 200 and is_batched:
        told |= BATCHED
    if status in {429, 503}:
        told |= REFUSED
    if status == 429:
        told |= CAPPED
    return {name: {"description": words, "schema": shape} for name, (words, shape) in told.items()}


def _error_name(api: Api) -> str:
    return type(api).__name__.removesuffix("Api") + "Error"


def _error_reference(path: str) -> Shape:
    return {"$ref": f"#/components/schemas/{_error_name(api_of(path))}"}


def error_shape(api: Api) -> Shape:
    """Return the shape of an API's errors, as one of them has it."""
    return _shape_of(json.loads(api.error(_error(400), "identity")))


def _shape_of(value: Any) -> Shape:
    if isinstance(value, dict):
        properties = {name: _shape_of(each) for name, each in value.items()}
        return {"type": "object", "required": [*properties], "properties": properties}
    return {"type": "string"} if isinstance(value, str) else {"type": ["string", "null"]}


def _identifier(path: str) -> str:
    return "post_" + (re.sub(r"\W+", "_", _PARAMETER.sub(r"\1", path)).strip("_") or "root")


def _text(path: str, told: Operation) -> str:
    """Return the text of an operation with its samples, in Markdown."""
    body, shown = json.dumps(told.example), _PARAMETER.sub("any", path)
    curl = f"curl http://127.0.0.1:3000{shown} -H 'Content-Type: application/json' -d '{body}'"
    library = f"\n\n```python\n{SAMPLES[told.tag]}\n```" if path in SHOWN_WITH_LIBRARY else ""
    return f"{told.text}\n\n```bash\n{curl}\n```{library}".strip()


# ---- routes that are asked by GET ---------------------------------------------------------------


def _told() -> dict[str, Shape]:
    json_object: Shape = {"type": "object"}
    return {
        "/": _get("The same as /ping", None, "/ping", 503),
        "/health": _get("Whether an upstream answers", _HEALTH, _HEALTH_PATH, 503),
        "/health/live": _get("Whether the process lives", _HEALTH, _HEALTH_PATH),
        "/health/ready": _get("The same as /health", _HEALTH, _HEALTH_PATH, 503),
        "/ping": _get("The same, without a body, as SageMaker asks", None, "/ping", 503),
        "/info": _get("The model and the limits, as TEI tells them", json_object, "/info", 401, 503),
        "/v1/models": _get("The models", json_object, "/v1/models", 401),
        "/v1/models/{name}": {
            **_one_model(),
            "parameters": [
                {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            ],
        },
        "/api/tags": _get("The models, as Ollama tells them", json_object, "/api/tags", 401),
        "/api/version": _get("A version of Ollama whose API this is", json_object, "/api/version", 401),
    }


def _one_model() -> Shape:
    """Return the operation whose 404 has KServe's form where the path asks a model for something."""
    told = _get("One model", {"type": "object"}, "/v1/models/x", 401, 404)
    forms = [_error_reference("/v1/models/x"), _error_reference("/v1/models/x:predict")]
    told["responses"]["404"]["content"] = {"application/json": {"schema": {"anyOf": forms}}}
    return told


def _show() -> Shape:
    """Return the one operation of these that has a body."""
    name: Shape = {"type": "string", "minLength": 1}
    body: Shape = {"type": "object", "required": ["model"], "properties": {"model": name}}
    content = {"application/json": {"schema": body, "example": {"model": "any"}}}
    told = _get("One model, as Ollama tells it", {"type": "object"}, "/api/show", 400, 401, 404, 408, 411, 413, 415)
    return {**told, "requestBody": {"required": True, "content": content}}


def _get(summary: str, answer: Shape | None, path: str, *statuses: int) -> Shape:
    ok: Shape = {"description": "The answer.", "headers": _IDENTITY}
    if answer is not None:
        ok["content"] = {"application/json": {"schema": answer}}
    refused = _HEALTH if path == _HEALTH_PATH else _error_reference(path)
    return {
        "tags": [SERVICE],
        "summary": summary,
        "responses": {
            "200": ok,
            **{
                str(status): {
                    "description": STATUSES[status],
                    "headers": _IDENTITY,
                    "content": {"application/json": {"schema": refused}},
                }
                for status in statuses
            },
        },
    }
