"""Sends HTTP requests to one upstream: its address, its headers and its pooled ``requests`` session."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import requests

from batching.clock import NEVER
from batching.errors import ProxyError, UpstreamTimeout
from formats.bounded import Bounded
from upstream.dialects.openai_paths import without_route
from upstream.request import Request
from upstream.transport import ExchangeAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batching.clock import Clock
    from upstream.http_reply import Reply
    from upstream.stream import Stream

#: Paths whose heads are remembered: clients may choose them.
MAX_REMEMBERED_HEADS = 256
#: Bytes of what a server says of itself: a gateway may list a thousand models.
MAX_TOLD_BYTES = 1_000_000


class Requester:
    """A pooled session for one upstream, and the heads of its requests as the session prepares them.

    Nothing of a client's request goes upstream but its items and options, and what ``Request.headers`` holds: no other
    header, no cookie, no credential. Cookies are not kept, redirects not followed, proxies and netrc of the environment
    not looked at.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        connections: int,
        idle: float = NEVER,
        ca_file: str | None = None,
        on_stale: Callable[[], None] = lambda: None,
    ) -> None:
        """``url`` without a trailing slash; it may have a query, which goes with each path.

        ``connections`` are kept open; one that was idle for ``idle`` seconds is not used again. ``ca_file``: a file of
        certificates that are trusted beside the system's.
        """
        url = without_route(url)  # all paths are below the base, in any API
        parts = urlsplit(url)
        self._base, self._query = urlunsplit(parts._replace(query="", fragment="")).rstrip("/"), parts.query
        self._clock = clock
        self._on_stale = on_stale
        self._heads: Bounded[tuple[str, str], bytes] = Bounded(MAX_REMEMBERED_HEADS)
        self._session = requests.Session()
        self._session.trust_env = False
        self.adapter = ExchangeAdapter(pool_connections=1, pool_maxsize=connections, now=clock.now, idle=idle)
        self._session.mount(self._base, self.adapter)
        self._session.headers.clear()
        self._session.headers.update(
            {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "auto-batching-proxy"}
        )
        self._credentials: Mapping[str, str] = {}
        self.adapter.connect_to(self._session.prepare_request(requests.Request("GET", url)), ca_file)

    def authorize(self, credentials: Mapping[str, str]) -> None:
        """Send these headers with each request from now on, instead of those before."""
        for name in self._credentials:
            self._session.headers.pop(name, None)
        self._credentials = credentials
        self._session.headers.update(credentials)
        self._heads.clear()

    def call(self, request: Request, end: float, max_bytes: int | None = None) -> Reply:
        """Make one HTTP call that ends by the moment ``end``; raises an ``UpstreamError``.

        With ``max_bytes`` the body of a 200 is whole and no longer than that, or an error is raised.
        """
        if end <= self._clock.now():
            raise UpstreamTimeout("no time was left to ask the upstream")
        return self.adapter.exchange(self.message(request), end, max_bytes, self._on_stale)

    def stream(self, request: Request, end: float, max_bytes: int, look: Callable[[], None]) -> Stream:
        """Begin a call whose answer is read in pieces; see ``ExchangeAdapter.stream``."""
        if end <= self._clock.now():
            raise UpstreamTimeout("no time was left to ask the upstream")
        return self.adapter.stream(self.message(request), end, max_bytes, self._on_stale, look)

    def get(self, path: str, end: float) -> Reply | None:
        """Ask for a path by GET; None where there is no reply by the moment ``end``."""
        return self.try_to(Request(path), end)

    def try_to(self, request: Request, end: float) -> Reply | None:
        """Make a call whose answer says something of the server; None where there is no reply by ``end``."""
        try:
            return self.call(request, end, MAX_TOLD_BYTES)
        except ProxyError:
            return None

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def message(self, request: Request) -> bytes:
        """Return the bytes of a request."""
        path, body, headers = request
        head = self._heads.get((request.method, path)) or self._head(request.method, path)
        if body is None:
            return b"%b%b\r\n" % (head, headers)
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, headers, len(body), body)

    def _head(self, method: str, path: str) -> bytes:
        """Return (and keep) the head of a request for this path as the session prepares it, but for its length."""
        headers = {"Content-Type": "application/json"} if method == "POST" else None
        url = self._base + path
        if self._query:
            url += f"{'&' if '?' in path else '?'}{self._query}"
        request = self._session.prepare_request(requests.Request(method, url, headers=headers))
        request.headers.pop("Content-Length", None)
        host = urlsplit(request.url or "").netloc.rpartition("@")[2]
        lines = [f"{method} {request.path_url} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        head = self._heads[method, path] = "".join(line + "\r\n" for line in lines).encode("latin-1")
        return head
