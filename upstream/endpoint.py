"""One upstream server: address, dialect and transport; a batch in, an answer out, or one of our errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import requests

from batching.errors import (
    ProxyError,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from batching.observer import Observer
from formats.bounded import Bounded
from upstream.dialects.dialect import RefusalKind
from upstream.request import Request
from upstream.transport import ExchangeAdapter

if TYPE_CHECKING:
    from batching.call import Batch
    from batching.clock import Clock
    from batching.key import BatchKey
    from batching.outcomes import Answer
    from upstream.dialects.dialect import Dialect, UpstreamInfo
    from upstream.http_reply import Reply

#: Keys whose vectors' dimension is remembered, and paths whose heads are: clients may choose both.
MAX_REMEMBERED_KEYS, MAX_REMEMBERED_HEADS = 256, 256


class AnyEndpoint(Protocol):
    """What the pool and the monitors need of an endpoint; the fakes of the tests have it too."""

    url: str
    timeout: float

    def cannot(self, key: BatchKey) -> str | None: ...
    def send(self, batch: Batch) -> Answer: ...
    def is_healthy(self, timeout: float) -> bool: ...
    def info(self, timeout: float) -> UpstreamInfo | None: ...


class Endpoint:
    """A pooled ``requests`` session for one upstream server, which is spoken to in one dialect.

    Nothing of a client's request goes upstream but its items and options: no header, no cookie, no
    credential. Cookies are not kept, redirects not followed, proxies and netrc of the environment not looked at.
    """

    def __init__(
        self,
        url: str,
        dialect: Dialect,
        clock: Clock,
        *,
        connections: int,
        timeout: float,
        api_key: str | None = None,
        observer: Observer | None = None,
    ) -> None:
        """``url`` without a trailing slash; ``connections`` kept open; ``timeout`` (s) of a whole call."""
        self.url = url
        self.timeout = timeout
        self._dialect = dialect
        self._clock = clock
        self._observer = observer or Observer()
        self._dimensions: Bounded[BatchKey, int] = Bounded(MAX_REMEMBERED_KEYS)
        self._heads: Bounded[tuple[str, str], bytes] = Bounded(MAX_REMEMBERED_HEADS)
        self._session = requests.Session()
        self._session.trust_env = False
        self._adapter = ExchangeAdapter(pool_connections=1, pool_maxsize=connections, now=clock.now)
        self._session.mount(url, self._adapter)
        self._session.headers.clear()
        self._session.headers.update(
            {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "auto-batching-proxy"}
        )
        if api_key is not None:
            self._session.headers["Authorization"] = f"Bearer {api_key}"
        self._adapter.connect_to(self._session.prepare_request(requests.Request("GET", url)))

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}, {type(self._dialect).__name__}>"

    def cannot(self, key: BatchKey) -> str | None:
        """Say why this server cannot do what the key asks for; None if it can."""
        return self._dialect.cannot(key)

    def send(self, batch: Batch) -> Answer:
        """Make one call of the batch; raises an ``UpstreamError``.

        The call ends by the time-out or the batch's deadline, whichever is first.
        """
        key, count = batch.key, len(batch.items)
        end = min(self._clock.now() + self.timeout, batch.deadline)
        reply = self._call(self._dialect.request(key, batch.items), end, self._dialect.reply_limit(key, count))
        if reply.status != 200:
            raise self._refused(reply, count)
        answer = self._dialect.answer(key, count, reply)
        if answer.dimension is not None:
            self._check_dimension(key, answer.dimension)
        return answer

    def is_healthy(self, timeout: float) -> bool:
        """Whether the server says within ``timeout`` seconds that it can work."""
        reply = self._get(self._dialect.health_path, self._clock.now() + timeout)
        return reply is not None and reply.status == 200

    def info(self, timeout: float) -> UpstreamInfo | None:
        """Read the server's own limits within ``timeout`` seconds; None if it does not tell."""
        end = self._clock.now() + timeout
        return self._dialect.describe(lambda path: self._get(path, end))

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def _get(self, path: str, end: float) -> Reply | None:
        try:
            return self._call(Request(path), end)
        except ProxyError:
            return None

    def _call(self, request: Request, end: float, max_bytes: int | None = None) -> Reply:
        """Make one HTTP call that ends by the moment ``end``.

        With ``max_bytes`` the body of a 200 is whole and no longer than that, or an error is raised.
        """
        if end <= self._clock.now():
            raise UpstreamTimeout("no time was left to ask the upstream")
        path, body = request
        head = self._heads.get((request.method, path)) or self._head(request.method, path)
        message = head + b"\r\n" if body is None else b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        return self._adapter.exchange(message, end, max_bytes, self._stale)

    def _head(self, method: str, path: str) -> bytes:
        """Return (and keep) the head of a request for this path as the session prepares it, but for its length."""
        headers = {"Content-Type": "application/json"} if method == "POST" else None
        request = self._session.prepare_request(requests.Request(method, self.url + path, headers=headers))
        request.headers.pop("Content-Length", None)
        host = urlsplit(request.url or "").netloc.rpartition("@")[2]
        lines = [f"{method} {request.path_url} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        head = self._heads[method, path] = "".join(line + "\r\n" for line in lines).encode("latin-1")
        return head

    def _stale(self) -> None:
        self._observer.on_stale_connection(self.url)

    def _refused(self, reply: Reply, count: int) -> UpstreamError:
        """Turn a reply other than 200 into the error that the batch's clients get."""
        refusal = self._dialect.refusal(reply)
        if refusal.kind is RefusalKind.INPUTS:
            status, error_type = reply.status, refusal.error_type
            if count > 1:
                # The text may quote any of the inputs, and they may belong to different clients.
                general = f"the upstream refused this batch of {count} inputs"
                return UpstreamRejected(general, status=status, error_type=error_type, words=refusal.text)
            message = refusal.text or "the upstream refused this input"
            return UpstreamRejected(message, status=status, error_type=error_type)
        asked = _seconds(reply.headers.get("retry-after"))
        if refusal.kind is RefusalKind.BUSY:
            return UpstreamOverloaded("the upstream is overloaded", retry_after=asked or 1, pause=asked or 0.0)
        if refusal.kind is RefusalKind.NOT_READY:
            return UpstreamUnavailable("the upstream is not ready", retry_after=asked or 1, pause=asked or 0.0)
        return UpstreamError(f"the upstream answered with status {reply.status}")

    def _check_dimension(self, key: BatchKey, dimension: int) -> None:
        known = self._dimensions.get(key)
        if known == dimension:
            return
        if known is not None:
            # Another model behind the same address? The next answer decides: forget, do not lock up.
            self._dimensions.pop(key, None)  # another thread may have come to the same conclusion
            raise UpstreamProtocolError(f"the upstream's vectors changed from {known} to {dimension} dimensions")
        self._dimensions[key] = dimension


def _seconds(value: str | None) -> float | None:
    """Read a ``Retry-After`` in seconds; the date form and nonsense count as absent."""
    # Headers are Latin-1, where some superscripts are "digits" that `int` does not read.
    if value is None or not value.isdecimal() or len(value) >= 16:
        return None
    seconds = float(value)
    return seconds if seconds < 100_000 else None
