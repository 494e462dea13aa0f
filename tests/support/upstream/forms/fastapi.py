"""What FastAPI and uvicorn answer by themselves, whatever the server on them."""

from __future__ import annotations

from typing import Any

from tests.support.upstream.forms.form import Reply, Trouble, compact

UVICORN = ("server: uvicorn",)
#: Seconds after which uvicorn closes an idle connection, unless it is told otherwise.
UVICORN_IDLE = 5.0

#: An exception that no handler caught. The connection ends without notice.
UNCAUGHT = Reply(500, b"Internal Server Error", ("Content-Type: text/plain; charset=utf-8", *UVICORN), closes=True)

ROUTER = {
    Trouble.UNKNOWN_PATH: Reply(404, b'{"detail":"Not Found"}', UVICORN),
    Trouble.WRONG_METHOD: Reply(405, b'{"detail":"Method Not Allowed"}', (*UVICORN, "allow: POST")),
}


def json_reply(status: int, value: Any) -> Reply:
    return Reply(status, compact(value), UVICORN)


def invalid(*problems: tuple[str, list[str | int], str, Any]) -> Reply:
    """Return pydantic's 422 for problems of a type, a place and a message, each with the input that it echoes."""
    names = ("type", "loc", "msg", "input")
    return json_reply(422, {"detail": [dict(zip(names, problem, strict=True)) for problem in problems]})


def malformed(at: int, why: str) -> Reply:
    """Return the 422 for a body that is no JSON."""
    detail = {
        "type": "json_invalid",
        "loc": ["body", at],
        "msg": "JSON decode error",
        "input": {},
        "ctx": {"error": why},
    }
    return json_reply(422, {"detail": [detail]})
