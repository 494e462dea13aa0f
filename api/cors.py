"""Puts the CORS headers on every answer, and answers browsers that ask before their request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, Response, request

from api.cors_headers import EXTENSION, PREFLIGHT, CorsHeaders
from api.finished import FinishedResponse

if TYPE_CHECKING:
    from collections.abc import Sequence


def register(app: Flask, origins: Sequence[str]) -> None:
    """Let pages of these origins read the answers; do nothing if there are none.

    A browser's question bears no key, so this is registered before what asks for one.
    """
    if not origins:
        return
    cors = app.extensions[EXTENSION] = CorsHeaders(origins)

    def answer_preflight() -> Response | None:
        if request.method != "OPTIONS" or "HTTP_ORIGIN" not in request.environ:
            return None
        response = Response()
        del response.headers["Content-Type"]
        response.headers.extend(PREFLIGHT)
        return response

    def let_read(response: Response) -> Response:
        pairs = cors.of(request.environ.get("HTTP_ORIGIN"))
        if isinstance(response, FinishedResponse):
            response.add(pairs)
        else:
            response.headers.extend(pairs)
        return response

    app.before_request(answer_preflight)
    app.after_request(let_read)
