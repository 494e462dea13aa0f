"""What a refused request is told: status, type and JSON body. Knows no Flask, so that the worker uses it as well."""

from __future__ import annotations

import math
import random

import msgspec

from batching.errors import ProxyError

#: The ``error_type`` of failures that have no TEI name.
ERROR_TYPES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    411: "LengthRequired",
    413: "PayloadTooLarge",
    414: "UriTooLong",
    415: "UnsupportedMediaType",
    417: "ExpectationFailed",
    431: "HeadersTooLarge",
    501: "NotImplemented",
    503: "Unhealthy",
}


class RequestError(ProxyError):
    """The request itself is at fault: its ``status`` and a message that says where."""

    def __init__(self, status: int, message: str, *, error_type: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type or ERROR_TYPES[status]


def error_body(message: str, error_type: str, identity: str) -> bytes:
    """Return the JSON that every error carries."""
    return msgspec.json.encode({"error": message, "error_type": error_type, "request_id": identity})


def retry_after_header(seconds: float) -> str:
    """Return whole seconds, spread over three so that refused clients do not return as one crowd."""
    return str(math.ceil(seconds) + random.randrange(3))  # noqa: S311 - spreading load, not secrets
