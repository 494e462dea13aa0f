"""The headers by which an upstream's log and traces name the request that a client has sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from api.request_id import request_id

if TYPE_CHECKING:
    from collections.abc import Mapping

#: W3C Trace Context, 3.2: version, trace, span and flags in lower case. Version ff and zeros alone mean nothing.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
).fullmatch


def trace_headers(environ: dict[str, Any]) -> bytes:
    """Return the lines, each with its CRLF, that a request takes upstream beside the service's own headers.

    The request's identity, which is the client's own if it is harmless; and ``traceparent`` if it is valid.
    """
    return b"X-Request-Id: %b\r\n%b" % (request_id(environ).encode("ascii"), traceparent(environ))


def traceparent(environ: Mapping[str, Any]) -> bytes:
    """Return the line of a valid ``traceparent``, with its CRLF; nothing where there is none."""
    asked: str | None = environ.get("HTTP_TRACEPARENT")
    if asked is None or _TRACEPARENT(asked) is None:
        return b""
    return b"traceparent: %b\r\n" % asked.encode("ascii")
