"""Answers ``GET /info`` as Text Embeddings Inference does: the upstream's own words, with this service's limits."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Blueprint, Response

from api.error_forms import RequestError, plain_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.apis.about import About

#: Kinds of servers whose models give vectors, as far as they are asked here.
_EMBED = frozenset({"openai", "plain"})
#: What TEI 1.9 tells, in its order; all is null where an upstream of another kind does not tell.
_MEMBERS = (
    *("model_id", "model_sha", "model_dtype", "served_model_name", "model_type", "max_concurrent_requests"),
    *("max_input_length", "max_batch_tokens", "max_batch_requests", "max_client_batch_size", "auto_truncate"),
    *("tokenization_workers", "version", "sha", "docker_label"),
)


def blueprint(about: Callable[[], About], max_concurrent_requests: int) -> Blueprint:
    """Return the route. ``about`` returns what is known of the upstreams now.

    It answers 503 while a TEI is behind that has not told of itself yet.
    """
    routes = Blueprint("info", __name__)

    @routes.get("/info")
    def info() -> Response:
        return Response(info_body(about(), max_concurrent_requests), mimetype="application/json")

    return routes


@lru_cache(maxsize=8)
def info_body(about: About, max_concurrent_requests: int) -> bytes:
    """Return the body: clients cut their lists by its limits, so these are the service's own. Raises ``RequestError``.

    ``about.info``, where there is one, is a JSON object.
    """
    told = _told(about)
    told["max_client_batch_size"] = about.max_items
    told["max_concurrent_requests"] = max_concurrent_requests
    return msgspec.json.encode(told)


def _told(about: About) -> dict[str, Any]:
    if about.info is not None:
        told: dict[str, Any] = msgspec.json.decode(about.info.decode("utf-8-sig", "replace"))
        return told
    if about.api == "tei":
        raise RequestError(503, "no upstream has told of its model yet")
    model = None if about.model is None else plain_text(about.model)
    kind = {"embedding": {"pooling": None}} if about.api in _EMBED else None
    return {**dict.fromkeys(_MEMBERS), "model_id": model, "served_model_name": model, "model_type": kind}
