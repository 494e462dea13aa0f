"""Asks for the API key, where one is set, on everything but health and metrics (as TEI does)."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from flask import Flask, request

from api.error_forms import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

#: What may be asked by GET and HEAD without the key.
OPEN_ENDPOINTS = frozenset({"/", "/health", "/health/live", "/health/ready", "/metrics", "/ping"})


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def register(app: Flask, api_key: str | None) -> None:
    """Refuse requests without ``Authorization: Bearer KEY`` with 401; do nothing if no key is set."""
    if api_key is not None:
        app.before_request(_guard(_digest(f"Bearer {api_key}")))


def _guard(expected: bytes) -> Callable[[], None]:
    def check() -> None:
        environ = request.environ
        if environ["PATH_INFO"] in OPEN_ENDPOINTS and request.method in {"GET", "HEAD"}:
            return
        # Digests are of one length and ASCII: the comparison tells nothing by its time, and never raises.
        if not hmac.compare_digest(_digest(environ.get("HTTP_AUTHORIZATION", "")), expected):
            raise RequestError(401, "the API key is missing or wrong: send Authorization: Bearer KEY")

    return check
