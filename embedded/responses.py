"""Makes the answers: JSON with TEI's headers, and errors in the form that the path's clients know."""

import orjson
from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException

from embedded.errors import EmbedError

JSON = "application/json"


def reply(body: bytes, headers: dict[str, str] | None = None) -> Response:
    """Return a 200 with this JSON."""
    return Response(body, mimetype=JSON, headers=headers)


def render_embed_error(error: EmbedError) -> Response:
    """Answer what the server itself refuses."""
    return _render(str(error), error.error_type, error.status)


def render_http_error(error: HTTPException) -> Response:
    """Keep the exception's own headers (`Allow` on 405), but never its HTML page."""
    response = _render(error.description or error.name, "Validation", error.code or 500)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def render_crash(error: Exception) -> Response:
    """The model failed on a request it accepted: TEI's Backend error. The details go to the log only."""
    current_app.logger.error("inference failed", exc_info=error)
    return _render("Backend error: inference failed, see the server's log", "Backend", 424)


def _render(message: str, error_type: str, status: int) -> Response:
    if request.path == "/embeddings" or request.path.startswith("/v1/"):
        body = orjson.dumps({"message": message, "code": status, "type": error_type})
    else:
        body = orjson.dumps({"error": message, "error_type": error_type})
    return Response(body, status=status, mimetype=JSON)
