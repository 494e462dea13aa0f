"""The headers by which a browser lets a page of another origin read the answers (CORS). Knows no Flask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    Pairs = tuple[tuple[str, str], ...]

#: What the answer to a browser's question before its request carries as well. Names stand beside the ``*`` because it
#: does not cover Authorization, and some browsers do not know it. The browser asks again after ten minutes.
_HEADERS = (
    "Authorization, Api-Key, X-Api-Key, Content-Type, Traceparent, Tracestate, X-Request-Id, X-Request-Timeout-Ms, "
    "X-Priority, X-Max-Wait-Ms, X-Fairness-Id, *"
)
PREFLIGHT: Pairs = (
    ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
    ("Access-Control-Allow-Headers", _HEADERS),
    ("Access-Control-Max-Age", "600"),
)
#: Where an app's ``extensions`` hold its ``CorsHeaders``, for answers that are made without the app.
EXTENSION = "cors_headers"
#: What a page may read beside the few headers that it always may.
_EXPOSED = (
    "Retry-After, Retry-After-Ms, X-Batch-Class, X-Batch-Reason, X-Batch-Shared, X-Batch-Size, X-Compute-Characters, "
    "X-Compute-Time, X-Compute-Tokens, X-Compute-Type, X-Inference-Time, X-Queue-Time, X-RateLimit-Limit-Requests, "
    "X-RateLimit-Remaining-Requests, X-Request-Id, X-Should-Retry, X-Tokenization-Time, X-Total-Time"
)


class CorsHeaders:
    """The pairs for each origin. Cookies and other credentials of the browser are not used, so none are allowed.

    The value of a pair stands in the settings or in this module, never in a request.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        """``origins``: as browsers write them, like ``https://app.example.com``; ``*`` stands for all."""
        if "*" in origins:
            self._known: dict[str | None, Pairs] = {}
            self._others = _reading("*")
        else:
            vary = (("Vary", "Origin"),)
            self._known = {origin: _reading(origin) + vary for origin in origins}
            self._others = vary
        lone = origins[0] if len(origins) == 1 else None
        #: For an answer to a request whose head was not read: the browser compares the origin by itself.
        self.unread: Pairs = self._known.get(lone, self._others)

    def of(self, origin: str | None) -> Pairs:
        """Return what every answer to a request of this ``Origin`` carries; None: it has none."""
        return self._known.get(origin, self._others)


def _reading(origin: str) -> Pairs:
    return ("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", _EXPOSED)
