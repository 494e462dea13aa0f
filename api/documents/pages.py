"""Serves ``/openapi.json``, and Swagger UI under ``/docs`` without asking any other host for its files."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

from flask import Blueprint, Response, redirect
from flask_swagger_ui import get_swaggerui_blueprint

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug import Response as BaseResponse

PATH = "/openapi.json"


def register(app: Flask, version: str) -> None:
    """Add the routes. The document is made when it is asked for first."""
    routes = Blueprint("documents", __name__)

    @cache
    def text() -> bytes:
        from api.documents.document import document  # noqa: PLC0415 - its libraries are not loaded for nothing

        return json.dumps(document(version)).encode()

    @routes.get(PATH)
    def openapi() -> Response:
        return Response(text(), mimetype="application/json")

    @routes.get("/docs")
    def docs() -> BaseResponse:
        return redirect("docs/")

    app.register_blueprint(routes)
    config = {
        "app_name": "Auto-Batching Proxy",
        "oauth2RedirectUrl": "",  # else the client's Host header would stand in the page
        "tryItOutEnabled": True,
        "displayRequestDuration": True,
        "validatorUrl": None,
    }
    app.register_blueprint(get_swaggerui_blueprint("/docs", "../openapi.json", config=config))
