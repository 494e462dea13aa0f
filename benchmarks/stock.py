"""A Flask handler that returns a constant: the reference for processor time.

Served by a stock `gunicorn --worker-class gthread`; `EMBED_DIMENSIONS` sets the size of the reply.
"""

from __future__ import annotations

import os

from flask import Flask, Response

from benchmarks.vectors import HashVectors


def create_app() -> Flask:
    """An app whose POST /embed answers one and the same vector."""
    app = Flask(__name__)
    dimensions = int(os.environ.get("EMBED_DIMENSIONS", "384"))
    reply = b"[" + HashVectors(dimensions).vector("constant") + b"]"

    @app.post("/embed")
    def embed() -> Response:
        return Response(reply, mimetype="application/json")

    @app.get("/health")
    def health() -> Response:
        return Response(b"{}", mimetype="application/json")

    return app
