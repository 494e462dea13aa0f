"""The service with a leak on purpose: memory and, now and then, a descriptor for every request."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import app

if TYPE_CHECKING:
    from flask import Flask

_kept: list[bytes] = []
_requests = itertools.count()


def _leak() -> None:
    _kept.append(os.urandom(1024))
    if next(_requests) % 1000 == 0:
        os.dup(0)


def create_app() -> Flask:
    service = app.create_app()
    service.before_request(_leak)
    return service
