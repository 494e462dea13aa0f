"""A server of OpenAI's API in front of its dialect, without a socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from batching import BatchKey, Options, Task
from tests.support.fakes import KEY, items_of
from upstream.http_reply import Reply

if TYPE_CHECKING:
    from upstream.dialects.dialect import Refusal
    from upstream.dialects.openai import OpenAiDialect

BASE = "http://server"


def reply_of(body: bytes = b"", status: int = 200) -> Reply:
    return Reply(status, {}, body)


def embed(model: str | None = None, **options: Any) -> BatchKey:
    return BatchKey(Task.EMBED, Options(**options), model)


def asked_by(dialect: OpenAiDialect, key: BatchKey = KEY) -> dict[str, object]:
    """Return the members of the body that one text becomes."""
    body: dict[str, object] = json.loads(dialect.request(key, items_of("a")).body or b"")
    return body


def described(dialect: OpenAiDialect, pages: dict[str, list[str]] | None = None) -> list[str]:
    """Let it describe a server that lists these models on these paths; return the paths that it has asked for."""
    asked: list[str] = []

    def get(path: str) -> Reply:
        asked.append(path)
        names = (pages or {}).get(path)
        data = [{"id": name} for name in names or ()]
        return reply_of(json.dumps({"data": data}).encode(), 404 if names is None else 200)

    dialect.describe(get)
    return asked


def refuse(dialect: OpenAiDialect, body: bytes, status: int = 400, key: BatchKey = KEY) -> Refusal:
    """Send one request that is refused; raises ``AskAgain``."""
    dialect.request(key, items_of("a"))
    return dialect.refusal(reply_of(body, status))
