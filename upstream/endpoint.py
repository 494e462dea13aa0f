"""Speaks to one TEI-compatible upstream: a batch in, one raw vector per item out, or one of our errors."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import msgspec
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
from formats.slices import split_vectors
from upstream.http_reply import MAX_TEXT_BYTES
from upstream.transport import ExchangeAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batching.call import Batch, BatchKey
    from upstream.http_reply import Reply

#: Bytes that one item's vector may take in a reply: 16,384 numbers of 32 characters.
MAX_REPLY_BYTES_PER_ITEM = 16_384 * 32
#: Characters of an upstream's error text that are passed on.
MAX_RELAYED_TEXT = 500
#: What an upstream's error type has to look like to be passed on.
_ERROR_TYPE = re.compile(r"[A-Za-z]{1,40}").fullmatch
#: What reading a JSON text may raise: its strings are decoded, and may not be UTF-8.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
#: Keys whose dimension is remembered.
MAX_REMEMBERED_KEYS = 256


class UpstreamInfo(NamedTuple):
    """What an upstream says of its own limits (TEI's ``GET /info``); None where it says nothing."""

    model_id: str | None
    max_client_batch_size: int | None
    max_concurrent_requests: int | None


class UpstreamClient:
    """A pooled ``requests`` session for one upstream.

    Nothing of a client's request goes upstream but its items and options: no header, no cookie, no
    credential. Cookies are not kept, redirects not followed, proxies and netrc of the environment not looked at.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        timeout: float,
        api_key: str | None = None,
        on_stale_connection: Callable[[str], None] | None = None,
    ) -> None:
        """``url`` without a trailing slash; ``connections`` kept open; ``timeout`` (s) of a whole call."""
        self.url = url
        self.timeout = timeout
        self._on_stale_connection = on_stale_connection
        self._dimensions: dict[BatchKey, int] = {}
        self._heads: dict[tuple[str, str], bytes] = {}
        self._session = requests.Session()
        self._session.trust_env = False
        self._adapter = ExchangeAdapter(pool_connections=1, pool_maxsize=connections)
        self._session.mount(url, self._adapter)
        self._session.headers.clear()
        self._session.headers.update(
            {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "auto-batching-proxy"}
        )
        if api_key is not None:
            self._session.headers["Authorization"] = f"Bearer {api_key}"
        self._adapter.connect_to(self._session.prepare_request(requests.Request("GET", url)))

    def send(self, batch: Batch) -> list[bytes]:
        """Post the batch; return the JSON of one vector per item, in order, as the upstream wrote it.

        Raises an ``UpstreamError``. The call ends by the time-out or the batch's deadline, whichever is first.
        """
        count = len(batch.items)
        body = b'{"inputs":[' + b",".join(batch.items) + b"]" + batch.key.options + b"}"
        end = min(time.monotonic() + self.timeout, batch.deadline)
        status, headers, reply = self._call(
            "POST", batch.key.route, body, end, MAX_TEXT_BYTES + count * MAX_REPLY_BYTES_PER_ITEM
        )
        if status != 200:
            raise _refusal(status, headers, reply, count)
        vectors, dimension = split_vectors(reply, count)
        self._check_dimension(batch.key, dimension)
        return vectors

    def is_healthy(self, timeout: float) -> bool:
        """Whether ``GET /health`` answers 200 within ``timeout`` seconds."""
        try:
            return self._call("GET", "/health", None, time.monotonic() + timeout)[0] == 200
        except ProxyError:
            return False

    def info(self, timeout: float) -> UpstreamInfo | None:
        """Read the upstream's own limits within ``timeout`` seconds; None if it does not tell."""
        try:
            status, _, reply = self._call("GET", "/info", None, time.monotonic() + timeout)
            said = msgspec.json.decode(reply) if status == 200 else None
        except (ProxyError, *UNREADABLE):
            return None
        if not isinstance(said, dict):
            return None
        model = said.get("model_id")
        return UpstreamInfo(
            model if isinstance(model, str) else None,
            _positive(said.get("max_client_batch_size")),
            _positive(said.get("max_concurrent_requests")),
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def _call(self, method: str, route: str, body: bytes | None, end: float, max_bytes: int | None = None) -> Reply:
        """Make one HTTP call that ends by the monotonic moment ``end``.

        With ``max_bytes`` the body of a 200 is whole and no longer than that, or an error is raised.
        """
        if end <= time.monotonic():
            raise UpstreamTimeout("no time was left to ask the upstream")
        head = self._heads.get((method, route)) or self._head(method, route)
        request = head + b"\r\n" if body is None else b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        return self._adapter.exchange(request, end, max_bytes, self._stale)

    def _head(self, method: str, route: str) -> bytes:
        """Return (and keep) the head of a request for this route as the session prepares it, but for its length."""
        headers = {"Content-Type": "application/json"} if method == "POST" else None
        request = self._session.prepare_request(requests.Request(method, self.url + route, headers=headers))
        request.headers.pop("Content-Length", None)
        host = urlsplit(request.url or "").netloc.rpartition("@")[2]
        lines = [f"{method} {request.path_url} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        head = self._heads[method, route] = "".join(line + "\r\n" for line in lines).encode("latin-1")
        return head

    def _stale(self) -> None:
        if self._on_stale_connection is not None:
            self._on_stale_connection(self.url)

    def _check_dimension(self, key: BatchKey, dimension: int) -> None:
        known = self._dimensions.get(key)
        if known == dimension:
            return
        if len(self._dimensions) >= MAX_REMEMBERED_KEYS:
            self._dimensions.clear()
        if known is not None:
            # Another model behind the same address? The next answer decides: forget, do not lock up.
            self._dimensions.pop(key, None)  # another thread may have come to the same conclusion
            raise UpstreamProtocolError(f"the upstream's vectors changed from {known} to {dimension} dimensions")
        self._dimensions[key] = dimension


def _refusal(status: int, headers: Mapping[str, str], reply: bytes, count: int) -> ProxyError:
    """Turn an answer other than 200 into the error that the batch's clients get."""
    retry_after = _seconds(headers.get("retry-after"))
    if status in {400, 413, 422}:
        text, error_type = _said(reply)
        if count > 1:
            # The text may quote any of the inputs, and they may belong to different clients.
            return UpstreamRejected(
                f"the upstream refused this batch of {count} inputs", status=status, error_type=error_type, words=text
            )
        return UpstreamRejected(text or "the upstream refused this input", status=status, error_type=error_type)
    if status in {429, 503}:
        kind, text = (
            (UpstreamOverloaded, "the upstream is overloaded")
            if status == 429
            else (UpstreamUnavailable, "the upstream is not ready")
        )
        busy = kind(text, retry_after=retry_after or 1)
        busy.too_much, busy.pause = True, retry_after or 0.0
        return busy
    return UpstreamError(f"the upstream answered with status {status}")


def _said(reply: bytes) -> tuple[str, str]:
    """Return the text and type of an upstream's error body, empty and ``Validation`` where it has none."""
    try:
        said = msgspec.json.decode(reply)
    except UNREADABLE:
        return "", "Validation"
    if not isinstance(said, dict):
        return "", "Validation"
    text, error_type = said.get("error"), said.get("error_type")
    return (
        text[:MAX_RELAYED_TEXT] if isinstance(text, str) else "",
        error_type if isinstance(error_type, str) and _ERROR_TYPE(error_type) else "Validation",
    )


def _seconds(value: str | None) -> float | None:
    """Read a ``Retry-After`` in seconds; the date form and nonsense count as absent."""
    seconds = _whole_number(value)
    return float(seconds) if seconds is not None and seconds < 100_000 else None


def _whole_number(value: str | None) -> int | None:
    # Headers are Latin-1, where some superscripts are "digits" that `int` does not read.
    return int(value) if value is not None and value.isdecimal() and len(value) < 16 else None


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
