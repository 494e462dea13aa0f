"""Errors as OpenAI's clients read them: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from api.apis.wrong_fields import WrongFieldsError
from api.error_forms import RequestError, plain_text
from batching.errors import Unsupported, UpstreamRejected

if TYPE_CHECKING:
    from batching.errors import ProxyError

#: What OpenAI calls the statuses that have a name of their own; other 4xx and 5xx share one each.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    424: "server_error",
    429: "rate_limit_error",
}
_CODES = {401: "invalid_api_key", 404: "unknown_url", 429: "rate_limit_exceeded", 504: "timeout"}


class UnknownModelError(RequestError):
    """No model of this name is served (404)."""

    def __init__(self, name: str) -> None:
        super().__init__(404, f"The model `{name}` does not exist")


class OpenAiApi:
    """OpenAI's routes, and all that is asked for below them.

    ``/v1/embeddings`` stands beside ``/v1/`` because another API's ``/v1/embed`` would else be the longest prefix.
    """

    prefixes: tuple[str, ...] = ("/v1", "/v1/", "/v1/embeddings", "/embeddings", "/openai/")
    suffixes: tuple[str, ...] = ()

    def status(self, error: ProxyError) -> int:
        """Return the error's status; invalid input is 400, for some clients repeat a 422."""
        return 400 if error.status == 422 else error.status

    def error(self, error: ProxyError, identity: str) -> bytes:  # noqa: ARG002
        """Return the error's body; the request's identity is in a header, where the SDKs look for it."""
        status = self.status(error)
        fallback = "invalid_request_error" if status < 500 else "server_error"
        told = {
            "message": plain_text(error.message),
            "type": _TYPES.get(status, fallback),
            "param": _param(error),
            "code": _code(error, status),
        }
        return msgspec.json.encode({"error": told})


def _code(error: ProxyError, status: int) -> str | None:
    if _is_about_a_model(error):
        return "model_not_found"
    if status == 429 and error.is_final:
        return "insufficient_quota"
    return _CODES.get(status)


def _is_about_a_model(error: ProxyError) -> bool:
    return isinstance(error, UnknownModelError) or (isinstance(error, UpstreamRejected) and error.status == 404)


def _param(error: ProxyError) -> str | None:
    """Return the member of the body that is at fault; None where it is not one."""
    if isinstance(error, WrongFieldsError) and error.wrong:
        path, _ = error.wrong[0]
        # A name of the client's own is told in quotes.
        return path[1:-1] if path.startswith('"') else path.partition("[")[0]
    if isinstance(error, Unsupported) and error.field is not None:
        return "input" if error.field == "inputs" else plain_text(error.field)
    return None
