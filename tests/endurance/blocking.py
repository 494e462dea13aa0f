"""The service with a planted mistake: an answer that is passed on is waited for with the queue's lock held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import app
from upstream.forwarded import Forwarded

if TYPE_CHECKING:
    from flask import Flask

_read = Forwarded.read


def create_app() -> Flask:
    service = app.create_app()
    queue = service.extensions["service"].queue

    def read(answer: Forwarded) -> bytes:
        with queue._lock:
            return _read(answer)

    Forwarded.read = read  # type: ignore[assignment,method-assign]
    return service
