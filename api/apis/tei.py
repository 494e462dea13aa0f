"""Text Embeddings Inference's form: ``{"inputs": …}`` in, ``[[…], …]`` out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marshmallow import Schema

from api.apis.fields import PLAIN, Inputs, embed_key, too_many
from api.apis.query import Body, Bounds, Query
from api.error_forms import error_body

if TYPE_CHECKING:
    from batching.call import Call
    from batching.errors import ProxyError


class TeiInputsSchema(Schema):
    """Where the inputs stand in a body."""

    inputs = Inputs()


class TeiApi:
    """TEI's routes; our errors have TEI's form and a ``request_id`` beside it."""

    prefixes: tuple[str, ...] = ("/embed",)

    def error(self, error: ProxyError, identity: str) -> bytes:
        return error_body(error.message, error.error_type, identity)


def query(members: Body, bounds: Bounds) -> Query:
    """Turn the checked members of a body into a query."""
    items, _ = members.pop("inputs")
    if len(items) > bounds.items:
        raise too_many(items, bounds.items)
    return Query(embed_key(members) if members else PLAIN, items, _vectors)


def _vectors(call: Call) -> bytes:
    return b"[" + b",".join(call.results) + b"]"
