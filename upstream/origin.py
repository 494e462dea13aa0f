"""Where a URL leads: a host, a port, and the TLS context if it is spoken to over TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from upstream.tls import trusting_context

if TYPE_CHECKING:
    import ssl


class Origin(NamedTuple):
    """Where an upstream listens; ``host`` without the brackets of an IPv6 literal, ``tls`` None for plain TCP."""

    host: str
    port: int
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.port}"


def origin_of(url: str, ca_file: str | None = None) -> Origin:
    """Return the origin that a URL leads to. For https this reads the trust store, 40 ms of the processor.

    ``ca_file``: see ``trusting_context``.
    """
    parts = urlsplit(url)
    is_secure = parts.scheme == "https"
    return Origin(
        parts.hostname or "",
        parts.port or (443 if is_secure else 80),
        trusting_context(ca_file) if is_secure else None,
    )
