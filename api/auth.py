"""Asks for the API key, where one is set, on everything but health, metrics and documents (as TEI does)."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from flask import Flask, request

from api.error_forms import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

#: What may be asked by GET and HEAD without the key, and where all such paths begin.
OPEN_ENDPOINTS = frozenset(
    {"/", "/docs", "/health", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/ping"}
)
OPEN_FOLDER = "/docs/"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def register(app: Flask, api_key: str | None) -> None:
    """Refuse requests without the key with 401; do nothing if no key is set.

    The key stands in ``Authorization: Bearer KEY``, ``api-key: KEY`` or ``x-api-key: KEY``; one of them is enough.
    """
    if api_key is not None:
        app.before_request(_guard(api_key))


def _guard(api_key: str) -> Callable[[], None]:
    bearer, alone = _digest(f"Bearer {api_key}"), _digest(api_key)
    #: By the name that WSGI gives the header.
    expected = (("HTTP_AUTHORIZATION", bearer), ("HTTP_API_KEY", alone), ("HTTP_X_API_KEY", alone))

    def check() -> None:
        environ = request.environ
        for name, right in expected:
            given = environ.get(name)
            # Digests are of one length and ASCII: the comparison tells nothing by its time, and never raises.
            if given is not None and hmac.compare_digest(_digest(given), right):
                return
        if not (_is_open(environ["PATH_INFO"]) and request.method in {"GET", "HEAD"}):
            raise RequestError(
                401, "the API key is missing or wrong: send Authorization: Bearer KEY, api-key: KEY or x-api-key: KEY"
            )

    return check


def _is_open(path: str) -> bool:
    return path in OPEN_ENDPOINTS or path.startswith(OPEN_FOLDER)
