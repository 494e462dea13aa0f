"""Reads a request's body within its limits, and as JSON that leaves nothing open to interpretation."""

from __future__ import annotations

import json
import math
from typing import Any

from api.error_forms import RequestError


class TooSlowError(Exception):
    """The client did not send its request in time. The server's input stream raises it."""

    def __init__(self) -> None:
        super().__init__("the request did not arrive in time")


class BrokenBodyError(Exception):
    """The body ended early or its chunks are malformed. The server's input stream raises it."""


def read_json_object(environ: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return the JSON object in the body of a WSGI request; raises ``RequestError`` for all else.

    The JSON is UTF-8 without a byte-order mark and has no duplicate names, no NaN and no infinities. ``limit``: the
    most bytes a body may have, whether its length is announced or it comes in chunks.
    """
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip(" \t").lower()
    if media_type != "application/json":
        raise RequestError(415, "the body must be JSON, sent with Content-Type: application/json")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise RequestError(415, "the body must not be compressed: send it without Content-Encoding")
    return parse_object(_read(environ, limit))


def _read(environ: dict[str, Any], limit: int) -> bytes:
    """Read the whole body; raises ``RequestError``.

    Status 411 without a body, 413 beyond the limit, 400 if the body is broken or shorter than announced, 408 if it
    comes too slowly.
    """
    announced = environ.get("CONTENT_LENGTH")
    stream = environ["wsgi.input"]
    if announced:
        wanted = int(announced)
        if wanted > limit:
            raise RequestError(413, f"the body of {wanted} bytes exceeds the limit of {limit}")
    elif environ.get("HTTP_TRANSFER_ENCODING"):
        wanted = limit + 1
    else:
        raise RequestError(411, "the request has no body: send Content-Length or chunks")
    try:
        body: bytes = stream.read(wanted)
    except TooSlowError as problem:
        raise RequestError(408, str(problem)) from problem
    except (BrokenBodyError, OSError) as problem:
        raise RequestError(400, "the body ended early or its chunks are malformed") from problem
    if announced and len(body) < wanted:
        raise RequestError(400, f"the body ended after {len(body)} of {wanted} bytes")
    if len(body) > limit:
        raise RequestError(413, f"the body exceeds the limit of {limit} bytes")
    return body


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(400, f"{_quoted(twice)} stands twice in one JSON object")
    return members


def _quoted(name: str) -> str:
    return json.dumps(name[:80])


def _no_constant(name: str) -> Any:
    raise RequestError(400, f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise RequestError(400, f"the number {digits[:40]} is too large")
    return number


_decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_no_constant, parse_float=_finite)


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse strict JSON whose top is an object; raises ``RequestError`` with status 400 for all else."""
    try:
        value = _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError as problem:
        raise RequestError(400, f"the body is not UTF-8: byte {problem.start} is invalid") from problem
    except RecursionError as problem:
        raise RequestError(400, "the JSON is nested too deeply") from problem
    except ValueError as problem:
        raise RequestError(400, f"the body is not valid JSON: {problem}") from problem
    if not isinstance(value, dict):
        raise RequestError(400, 'the JSON must be an object, like {"inputs": "text"}')
    return value
