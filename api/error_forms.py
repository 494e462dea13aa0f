"""What a refused request is told: status, type and JSON body. Knows no Flask, so that the worker uses it as well."""

from __future__ import annotations

import json
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
    422: "Validation",
    431: "HeadersTooLarge",
    501: "NotImplemented",
    503: "Unhealthy",
}


#: Characters of a message that a client is told.
MOST_TEXT = 1000
#: Characters of a name of the client's own that a message quotes.
MOST_NAME = 80


class RequestError(ProxyError):
    """The request itself is at fault: its ``status`` and a message that says where."""

    def __init__(self, status: int, message: str, *, error_type: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type or ERROR_TYPES[status]


def error_body(message: str, error_type: str, identity: str) -> bytes:
    """Return the JSON that every error carries. The message is told as ``plain_text``."""
    return msgspec.json.encode({"error": plain_text(message), "error_type": error_type, "request_id": identity})


def plain_text(text: str) -> str:
    """Return the text in one line of at most ``MOST_TEXT`` characters that a terminal shows and does not obey.

    An upstream's words may hold line breaks, escape sequences, marks that turn the direction of writing, and halves of
    surrogate pairs. Spaces of any kind become one each; what else cannot be printed is told as Python escapes it.
    """
    text = text[:MOST_TEXT]
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _shown(each) for each in text)[:MOST_TEXT]


def _shown(character: str) -> str:
    return " " if character.isspace() else character.encode("unicode_escape").decode("ascii")


def quoted(name: str) -> str:
    """Return a name that a client chose as a JSON text of ASCII, cut where it is long."""
    return json.dumps(name[:MOST_NAME])


def retry_after_header(seconds: float) -> str:
    """Return whole seconds, spread over three so that refused clients do not return as one crowd."""
    return str(math.ceil(seconds) + random.randrange(3))  # noqa: S311 - spreading load, not secrets
