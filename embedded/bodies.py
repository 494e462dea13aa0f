"""Reads a request's JSON body against a schema, and says in TEI's words what is wrong with it."""

import json
from collections.abc import Collection
from typing import Any

import orjson
from flask import request
from marshmallow import Schema, ValidationError

from embedded.errors import InvalidRequestError, MalformedRequestError, MediaTypeError
from embedded.schemas import flatten

_WRONG_BODY = "Failed to deserialize the JSON body into the target type"


def read_json() -> Any:
    """Return the JSON value of the request's body. Raise `MediaTypeError` or `MalformedRequestError`."""
    if not request.is_json:
        raise MediaTypeError("Expected request with `Content-Type: application/json`")
    try:
        return orjson.loads(request.get_data())
    except orjson.JSONDecodeError as error:
        raise MalformedRequestError(f"Failed to parse the request body as JSON: {error}") from error


def read(schema: Schema) -> Any:
    """Return what `schema` makes of the request's body. Raise as `read_json`, or `InvalidRequestError`."""
    return checked(schema, read_json())


def checked(schema: Schema, body: Any) -> Any:
    """Return what `schema` makes of the request's body, which is `body` as JSON. Raise `InvalidRequestError`."""
    if (name := _doubled(request.get_data(), schema.fields)) is not None:
        raise InvalidRequestError(f"{_WRONG_BODY}: duplicate field `{name}`")
    try:
        return schema.load(body)
    except ValidationError as error:
        raise InvalidRequestError(f"{_WRONG_BODY}: {flatten(error)}") from error


def _doubled(body: bytes, names: Collection[str]) -> str | None:
    """Return the first of these members that an object's JSON has twice."""
    if not any(body.count(f'"{name}"'.encode()) > 1 for name in names):
        return None  # the usual case, told without reading the body again
    objects: list[list[tuple[str, Any]]] = []
    json.loads(body, object_pairs_hook=objects.append)
    seen: set[str] = set()
    for name, _ in objects[-1] if objects else ():  # the outermost object is complete last
        if name in seen and name in names:
            return name
        seen.add(name)
    return None
