"""One upstream server: address, dialect and transport; a batch in, an answer out, or one of our errors."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import requests

from batching.clock import NEVER
from batching.errors import (
    ProxyError,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from batching.key import BatchKey, Task
from batching.observer import Observer
from formats.bounded import Bounded
from formats.slices import BadRowsError
from upstream.dialects.dialect import RefusalKind
from upstream.health import Health
from upstream.identity import Identities
from upstream.lengths import Lengths
from upstream.request import Request
from upstream.retry_after import seconds
from upstream.transport import ExchangeAdapter

if TYPE_CHECKING:
    from batching.call import Batch
    from batching.clock import Clock
    from batching.outcomes import Answer
    from upstream.dialects.dialect import Dialect, UpstreamInfo
    from upstream.http_reply import Reply

#: A call that tries whether the server works: one short text.
TRIAL_KEY, TRIAL_ITEMS = BatchKey(Task.EMBED), [b'"ping"']
#: Paths whose heads are remembered: clients may choose them.
MAX_REMEMBERED_HEADS = 256


class AnyEndpoint(Protocol):
    """What the pool and the monitors need of an endpoint; the fakes of the tests have it too."""

    url: str
    timeout: float

    def cannot(self, key: BatchKey) -> str | None: ...
    def send(self, batch: Batch) -> Answer: ...
    def health(self, timeout: float) -> Health: ...
    def try_out(self, timeout: float) -> Health: ...
    def info(self, timeout: float) -> UpstreamInfo | None: ...
    def went_away(self) -> None: ...


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
        identities: Identities | None = None,
        idle: float = NEVER,
    ) -> None:
        """``url`` without a trailing slash; ``connections`` kept open; ``timeout`` (s) of a whole call.

        ``identities``: shared with the endpoints of the other upstreams. ``idle``: seconds after which an idle
        connection is not used again.
        """
        self.url = url
        self.timeout = timeout
        self._identities = identities or Identities()
        self._dialect = dialect
        self._clock = clock
        self._observer = observer or Observer()
        self._lengths = Lengths(url, self._identities, clock)
        self._heads: Bounded[tuple[str, str], bytes] = Bounded(MAX_REMEMBERED_HEADS)
        self._session = requests.Session()
        self._session.trust_env = False
        self._adapter = ExchangeAdapter(pool_connections=1, pool_maxsize=connections, now=clock.now, idle=idle)
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

        The call ends by the time-out. It is not ended by the batch's deadline: a server works on when its client has
        gone, and the place of the call in flight is free only when it has finished.
        """
        key, items = batch.key, batch.items
        end = self._clock.now() + self.timeout
        reply = self._call(self._dialect.request(key, items), end, self._dialect.reply_limit(key, len(items)))
        if reply.status != 200:
            raise self._refused(reply, len(items))
        try:
            answer = self._dialect.answer(key, len(items), reply)
        except BadRowsError as problem:
            answer = self._lengths.mend(key, problem)
        except UpstreamProtocolError as problem:
            # One input may be why: servers drop its row, or answer 200 with an error of their own.
            raise UpstreamFailed(problem.message, reason="an answer that makes no sense") from problem
        if answer.dimension is None:
            return answer
        self._lengths.check(key, answer.dimension, items)
        return answer._replace(source=self._identities.source(self.url, answer.dimension))

    def health(self, timeout: float) -> Health:
        """Ask the server within ``timeout`` seconds whether it can work."""
        path = self._dialect.health_path
        try:
            reply = self._call(Request(path), self._clock.now() + timeout)
        except ProxyError as problem:
            return Health(False, _described(problem))
        if reply.status == 200:
            return Health(True)
        reason = f"GET {path} is answered with status {reply.status}{_leads_to(reply)}"
        # A path that is unknown, or guarded, says nothing of the model.
        is_unknown = (reply.status < 500 and reply.status not in {408, 429}) or reply.status == 501
        return Health(False, reason, is_unknown=is_unknown, is_down=reply.status == 503)

    def try_out(self, timeout: float) -> Health:
        """Make one small call within ``timeout`` seconds, to see whether the server works."""
        try:
            reply = self._call(
                self._dialect.request(TRIAL_KEY, TRIAL_ITEMS),
                self._clock.now() + timeout,
                self._dialect.reply_limit(TRIAL_KEY, 1),
            )
            if reply.status != 200:
                raise self._refused(reply, 1)
            self._dialect.answer(TRIAL_KEY, 1, reply)
        except UpstreamRejected as problem:
            return Health(False, f"it refuses a plain text with status {problem.status}: {problem.message}")
        except (ProxyError, BadRowsError) as problem:
            return Health(False, _described(problem))
        return Health(True)

    def info(self, timeout: float) -> UpstreamInfo | None:
        """Read the server's own limits within ``timeout`` seconds; None if it does not tell."""
        end = self._clock.now() + timeout
        said = self._dialect.describe(lambda path: self._get(path, end))
        if said is not None:
            model = said.model_id
            self._identities.told(self.url, f"{model} ({said.revision})" if model and said.revision else model)
        return said

    def went_away(self) -> None:
        """Forget which model the server has: it may come back with another."""
        self._lengths.forget()
        self._identities.gone(self.url)

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
        status, reason = reply.status, f"status {reply.status}"
        if refusal.kind is RefusalKind.INPUTS:
            # The text may quote any of the inputs, and they may belong to different clients.
            general = "this input" if count == 1 else f"this batch of {count} inputs"
            message = refusal.text if count == 1 and refusal.text else f"the upstream refused {general}"
            words = refusal.text if count > 1 else ""
            return UpstreamRejected(
                message,
                status=status,
                error_type=refusal.error_type,
                words=words,
                concerns_size=refusal.concerns_size,
            )
        asked = seconds(reply.headers, time.time)
        if refusal.kind is RefusalKind.BUSY:
            return UpstreamOverloaded("the upstream is overloaded", retry_after=asked or 1, pause=asked or 0.0)
        if refusal.kind is RefusalKind.NOT_READY:
            text = "the upstream is not ready"
            return UpstreamUnavailable(text, retry_after=asked or 1, pause=asked or 0.0, reason=reason)
        answered = f"the upstream answered with status {status}"
        if refusal.kind is RefusalKind.SUSPICIOUS:
            words = f"{answered}: {refusal.text}" if refusal.text else ""
            message = words if count == 1 and words else answered
            return UpstreamFailed(message, status=424 if status == 424 else 502, words=words, reason=reason)
        if refusal.kind is RefusalKind.MISCONFIGURED:
            text = f": {refusal.text}" if refusal.text else ""
            return UpstreamMisconfigured(answered, reason=reason + _leads_to(reply) + text)
        if refusal.kind is RefusalKind.GATEWAY:
            return UpstreamGateway(answered, status=504 if status == 504 else 502, reason=reason)
        return UpstreamError(answered, reason=reason)


def _described(problem: Exception) -> str:
    """Return what the log says of a failed call."""
    reason = getattr(problem, "reason", "")
    return f"{problem} ({reason})" if reason and reason not in str(problem) else str(problem)


def _leads_to(reply: Reply) -> str:
    """Return where a redirect leads to, for the log."""
    location = reply.headers.get("location", "")
    return f", which leads to {location[:200]!r}" if location and 300 <= reply.status < 400 else ""
