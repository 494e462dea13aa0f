"""Tells which models are served: ``GET /v1/models`` and ``GET /v1/models/NAME``, as OpenAI and as KServe do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from flask import Blueprint, Response, request

from api.apis import kserve
from api.apis.openai_errors import UnknownModelError
from api.error_forms import RequestError, plain_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.apis.about import About

#: Kinds of servers that have one model, and answer for it whatever name a request gives.
_IGNORE_NAMES = frozenset({"tei", "plain"})
#: When a model was made, in seconds since 1970, which no upstream tells.
_CREATED = 0


def blueprint(about: Callable[[], About]) -> Blueprint:
    """Return both routes. ``about`` returns what is known of the upstreams now."""
    routes = Blueprint("models", __name__)

    @routes.get("/v1/models")
    def many() -> Response:
        return _response(model_list(about()))

    # Names on the hub have a slash, and servers decode one that the client has escaped.
    @routes.get("/v1/models/<path:name>")
    def one(name: str) -> Response:
        told = about()
        if name.endswith(kserve.VERBS) and name not in _names(told):
            raise RequestError(404, kserve.no_model(request.path))
        if told.api == "kserve" and not serves(told, name):
            return _response({"error": plain_text(f"Model with name {name} does not exist.")}, 404)
        return _response(model(told, name))

    return routes


def model_list(about: About) -> dict[str, Any]:
    """Return the list as the upstream's kind of clients read it; empty where no upstream has told of a model yet."""
    names = _names(about)
    if about.api == "kserve":
        return {"models": names}
    return {"object": "list", "data": [_entry(about, name) for name in names]}


def model(about: About, name: str) -> dict[str, Any]:
    """Return one model; raises ``UnknownModelError``.

    KServe's SDK asks for it in front of any kind of server to learn whether it is ready, so OpenAI's object has that
    SDK's members as well.
    """
    if not serves(about, name):
        raise UnknownModelError(name)
    readiness = {"name": name, "ready": True}
    return readiness if about.api == "kserve" else _entry(about, name) | readiness


def serves(about: About, name: str) -> bool:
    """Whether a request may name this model."""
    return about.api in _IGNORE_NAMES or name in _names(about)


def _names(about: About) -> list[str]:
    if about.models:
        return list(about.models)
    return [] if about.model is None else [about.model]


def _entry(about: About, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": about.api}


def _response(told: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(told), status, mimetype="application/json")
