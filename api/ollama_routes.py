"""Answers what Ollama's clients ask about the server: its version, its models, and one of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Blueprint, Response, request

from api.body import parse_object, read_body
from api.error_forms import RequestError, plain_text
from api.models import serves

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.apis.about import About

#: Clients compare it with the release that brought what they need. This is one whose ``/api/embed`` has every member
#: that is read here; the proxy's own version would be taken for an Ollama of that number.
VERSION = "0.12.0"

#: Bytes of the body of ``/api/show``, which holds a name.
_MOST_BYTES = 65_536
#: When a model was changed and what it is made of: no upstream tells.
_UNKNOWN_TIME = "1970-01-01T00:00:00Z"
_UNKNOWN_DETAILS = {
    "parent_model": "",
    "format": "",
    "family": "",
    "families": None,
    "parameter_size": "",
    "quantization_level": "",
}


def blueprint(about: Callable[[], About]) -> Blueprint:
    """Return the routes. ``about`` returns what is known of the upstreams now."""
    routes = Blueprint("ollama", __name__)

    @routes.get("/api/version")
    def version() -> Response:
        return _response({"version": VERSION})

    @routes.get("/api/tags")
    def tags() -> Response:
        return _response(model_list(about()))

    @routes.post("/api/show")
    def show() -> Response:
        body = parse_object(read_body(request.environ, _MOST_BYTES, any_type=True))
        return _response(shown(about(), body))

    return routes


def model_list(about: About) -> dict[str, Any]:
    """Return the list of models; empty where no upstream has told of one yet."""
    names = about.models or (() if about.model is None else (about.model,))
    return {"models": [_entry(name) for name in names]}


def shown(about: About, body: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of the model that the body names; raises ``RequestError``."""
    name = body.get("model") or body.get("name")
    if not isinstance(name, str):
        raise RequestError(400, "model is required")
    if not serves(about, name):
        raise RequestError(404, f"model '{plain_text(name)}' not found")
    # Clients tell models that embed from those that chat by the capabilities.
    return {
        "modelfile": "",
        "template": "",
        "details": _UNKNOWN_DETAILS,
        "model_info": {"general.basename": plain_text(name)},
        "capabilities": ["embedding"],
        "modified_at": _UNKNOWN_TIME,
    }


def _entry(name: str) -> dict[str, Any]:
    """Return one model of the list. Its digest is of the name, for only the upstream has the file; no size is known."""
    return {
        "name": name,
        "model": name,
        "modified_at": _UNKNOWN_TIME,
        "size": 0,
        "digest": hashlib.sha256(name.encode()).hexdigest(),
        "details": _UNKNOWN_DETAILS,
    }


def _response(told: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(told), mimetype="application/json")
