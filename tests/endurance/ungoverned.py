"""The service without its governor: it reads no header of limits, and takes every 429 for too many calls at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import app
from batching.errors import UpstreamOverloaded
from upstream import endpoint, failures

if TYPE_CHECKING:
    from upstream.http_reply import Reply


def _overloaded(reply: Reply, asked: float | None) -> UpstreamOverloaded:
    return UpstreamOverloaded("the upstream is overloaded", retry_after=asked or 1, pause=asked or 0.0)


vars(endpoint)["NAMES"] = frozenset()
vars(failures)["error_of"] = _overloaded

create_app = app.create_app
