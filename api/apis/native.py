"""The proxy's own short form: ``{"input": …}`` in, ``{"embedding": …}`` or ``{"embeddings": …}`` out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marshmallow import Schema

from api.apis.fields import PLAIN, Inputs, embed_key
from api.apis.query import Body, Query
from api.error_forms import error_body

if TYPE_CHECKING:
    from batching.call import Call
    from batching.errors import ProxyError


class NativeInputSchema(Schema):
    """Where the inputs stand in a body."""

    input = Inputs()


class NativeApi:
    """Its errors are also those of paths that belong to no API."""

    prefixes: tuple[str, ...] = ("",)
    suffixes: tuple[str, ...] = ()

    def status(self, error: ProxyError) -> int:
        return error.status

    def error(self, error: ProxyError, identity: str) -> bytes:
        return error_body(error.message, error.error_type, identity)


def query(members: Body) -> Query:
    """Turn the checked members of a body into a query."""
    items, is_list = members.pop("input")
    return Query(embed_key(members) if members else PLAIN, items, _many if is_list else _one)


def _one(call: Call) -> bytes:
    return b'{"embedding":' + call.results[0] + b"}"


def _many(call: Call) -> bytes:
    return b'{"embeddings":[' + b",".join(call.results) + b"]}"
