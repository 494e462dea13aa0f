"""One upstream server: address, dialect and transport; a batch in, an answer out, or one of our errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from batching.clock import NEVER
from batching.errors import (
    ProxyError,
    Unsupported,
    UpstreamFailed,
    UpstreamMisconfigured,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamUnavailable,
)
from batching.observer import Observer
from formats.slices import BadRowsError
from upstream.dialects.dialect import AskAgain
from upstream.failures import UNKNOWN_PATH, failure_of, lacks, leads_to
from upstream.health import TRIALS, Health, described, mistake
from upstream.identity import Identities
from upstream.lengths import Lengths
from upstream.rate_headers import NAMES, read
from upstream.request import Request
from upstream.requester import Requester
from upstream.spoken import Spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batching.call import Batch, Item
    from batching.clock import Clock
    from batching.key import BatchKey
    from batching.outcomes import Answer
    from upstream.dialects.dialect import Dialect, UpstreamInfo
    from upstream.http_reply import Reply
    from upstream.rate_headers import RateLimits
    from upstream.spoken import Detect, Finding
    from upstream.stream import Stream

#: Requests that one call may take where the dialect learns from the replies how the server is to be asked.
MOST_REQUESTS = 3
#: Bytes of an answer that is passed on; a deadline ends it long before.
MOST_FORWARDED = 1 << 40


class AnyEndpoint(Protocol):
    """What the pool and the monitors need of an endpoint; the fakes of the tests have it too."""

    url: str
    timeout: float
    #: What the server says of itself, once it has been asked.
    known: UpstreamInfo | None
    #: Told what the reply to a batch says of the account's limits.
    on_limits: Callable[[Batch, RateLimits], None] | None

    @property
    def speaks(self) -> str:
        """The dialect's name; empty while it is not known."""
        ...

    def find_out(self, timeout: float, *, may_call: bool = False) -> Finding | None: ...
    def fit(self, key: BatchKey, items: Sequence[Item]) -> BatchKey: ...
    def send(self, batch: Batch) -> Answer: ...
    def forwards(self, path: str) -> bool: ...
    def forward(self, request: Request, end: float, look: Callable[[], None]) -> Stream: ...
    def health(self, timeout: float) -> Health: ...
    def try_out(self, timeout: float) -> Health: ...
    def info(self, timeout: float) -> UpstreamInfo | None: ...
    def went_away(self) -> None: ...


class Endpoint:
    """One upstream server, which is spoken to in one dialect: the one that is given, or found out by asking."""

    def __init__(
        self,
        url: str,
        dialect: Dialect | None,
        clock: Clock,
        *,
        connections: int,
        timeout: float,
        api_key: str | None = None,
        observer: Observer | None = None,
        identities: Identities | None = None,
        idle: float = NEVER,
        ca_file: str | None = None,
        detect: Detect | None = None,
    ) -> None:
        """``url`` without a trailing slash; ``connections`` kept open; ``timeout`` (s) of a whole call.

        ``identities``: shared with the endpoints of the other upstreams. ``idle``: seconds after which an idle
        connection is not used again. ``ca_file``: certificates that are trusted beside the system's. ``detect``: asked
        for the dialect where none is given.
        """
        self.url = url
        self.timeout = timeout
        self.known: UpstreamInfo | None = None
        self.on_limits: Callable[[Batch, RateLimits], None] | None = None
        self._identities = identities or Identities()
        self._spoken = Spoken(dialect, detect, self._prepare)
        self._api_key = api_key
        self._clock = clock
        self._observer = observer or Observer()
        self._lengths = Lengths(url, self._identities, clock)
        self.requester = Requester(
            url, clock, connections=connections, idle=idle, ca_file=ca_file, on_stale=self._stale
        )
        if api_key is not None:
            bearer = {"Authorization": f"Bearer {api_key}"}
            self.requester.authorize(bearer if dialect is None else dialect.credentials(api_key))

    def __repr__(self) -> str:
        return f"<Endpoint {self.url}, {self.speaks or 'not found out yet'}>"

    # ---- the dialect ----------------------------------------------------------------------------

    @property
    def speaks(self) -> str:
        """The dialect's name; empty while it is not known."""
        return self._spoken.name

    @property
    def dialect(self) -> Dialect:
        """How the server is spoken to; raises ``UpstreamUnavailable`` while that is not known."""
        return self._spoken.dialect

    def find_out(self, timeout: float, *, may_call: bool = False) -> Finding | None:
        """Ask the server within ``timeout`` seconds which API it speaks, and speak it from now on.

        None where there is nothing to find out. Where nothing is found, what was known before goes on to hold.
        ``may_call``: whether a server that says nothing of itself is sent a few small calls.
        """
        end, requester = self._clock.now() + timeout, self.requester
        return self._spoken.find_out(
            lambda path: requester.get(path, end),
            lambda path, body: requester.try_to(Request(path, body), end),
            may_call=may_call,
        )

    def _prepare(self, dialect: Dialect) -> None:
        """Send the key as this dialect does, and forget what was learned in another one."""
        if self._api_key is not None:
            self.requester.authorize(dialect.credentials(self._api_key))
        self._lengths.forget()

    def fit(self, key: BatchKey, items: Sequence[Item]) -> BatchKey:
        """Return the key under which this server does it; raises ``Unsupported`` if it cannot."""
        return (self._spoken.current or self._spoken.dialect).fit(key, items)

    # ---- calls ----------------------------------------------------------------------------------

    def send(self, batch: Batch) -> Answer:
        """Make one call of the batch; raises an ``UpstreamError``.

        The call ends by the time-out. It is not ended by the batch's deadline: a server works on when its client has
        gone, and the place of the call in flight is free only when it has finished.
        """
        key, items = batch.key, batch.items
        self._check_turn()
        if self._spoken.has_changed:
            key = self.fit(key, items)
        try:
            answer = self._ask(key, items, self._clock.now() + self.timeout, batch)
        except BadRowsError as problem:
            answer = self._lengths.mend(key, problem)
        if answer.dimension is None:
            return answer
        self._lengths.check(key, answer.dimension, items)
        return answer._replace(source=self._identities.source(self.url, answer.dimension))

    def _check_turn(self) -> None:
        """Raise ``UpstreamUnavailable`` while it is not known whether its model is that of the other upstreams."""
        if self._identities.awaited and self.url in self._identities.awaited:
            raise UpstreamUnavailable("the upstream has not been looked at yet", retry_after=1, reason="it is new")

    def _ask(self, key: BatchKey, items: Sequence[Item], end: float, batch: Batch | None = None) -> Answer:
        """Send the items and read the answer; again where the dialect learns from a reply how to ask."""
        dialect = self.dialect
        for _ in range(MOST_REQUESTS):
            request = dialect.request(key, items)
            reply = self.requester.call(request, end, dialect.reply_limit(key, len(items)))
            if not NAMES.isdisjoint(reply.headers):
                self._hear(batch, reply)
            try:
                if reply.status == 200:
                    answer = dialect.answer(key, len(items), reply)
                    self._spoken.is_guess = False
                    return answer
                refusal = dialect.refusal(reply)
            except AskAgain:
                continue
            except UpstreamProtocolError as problem:
                # One input may be why: servers drop its row, or answer 200 with an error of their own.
                reason = problem.reason or "an answer that makes no sense"
                self._spoken.check(reply, None)
                raise UpstreamFailed(problem.message, reason=reason) from problem
            self._spoken.check(reply, refusal)
            if batch is not None and reply.status in UNKNOWN_PATH and key.task is not self._trial[0].task:
                raise lacks(request.path, reply.status, refusal.text)
            raise failure_of(refusal, reply, len(items))
        raise UpstreamFailed("the upstream takes the request in no form that is known", reason="it refuses each form")

    def _hear(self, batch: Batch | None, reply: Reply) -> None:
        if batch is not None and self.on_limits is not None and (limits := read(reply.headers)) is not None:
            self.on_limits(batch, limits)

    def forwards(self, path: str) -> bool:
        """Return whether the server may be sent a request for this path as a client wrote it."""
        return self.dialect.forwards(path)

    def forward(self, request: Request, end: float, look: Callable[[], None]) -> Stream:
        """Pass a request on; return the answer, a 200, once its first bytes are here. The stream has to be closed.

        Raises an ``UpstreamError``, by the moment ``end`` at latest; ``Unsupported`` (404) where the server does not
        know the path; and what ``look`` raises, which is called now and then while the thread waits.
        """
        self._check_turn()
        stream = self.requester.stream(request, end, MOST_FORWARDED, look)
        reply = stream.reply
        if reply.status == 200:
            return stream
        stream.close()
        if reply.status in UNKNOWN_PATH:
            raise lacks(request.path, reply.status)
        raise failure_of(self.dialect.refusal(reply), reply, 1)

    def health(self, timeout: float) -> Health:
        """Ask the server within ``timeout`` seconds whether it can work."""
        end = self._clock.now() + timeout
        health = Health(False, "its API is unknown", is_unknown=True, is_down=False)
        for path in self.dialect.health_paths:
            try:
                reply = self.requester.call(Request(path), end)
            except ProxyError as problem:
                return Health(False, described(problem))
            if reply.status == 200:
                return Health(True)
            reason = f"GET {path} is answered with status {reply.status}{leads_to(reply)}"
            # A path that is unknown, or guarded, says nothing of the model.
            is_unknown = (reply.status < 500 and reply.status not in {408, 429}) or reply.status == 501
            health = Health(False, reason, is_unknown=is_unknown, is_down=reply.status == 503)
            if not is_unknown:
                break
        return health

    @property
    def _trial(self) -> tuple[BatchKey, list[Item]]:
        return TRIALS.get(self.known and self.known.purpose, TRIALS[None])

    def try_out(self, timeout: float) -> Health:
        """Make one small call within ``timeout`` seconds, to see whether the server works."""
        key, items = self._trial
        try:
            self._ask(self.fit(key, items), items, self._clock.now() + timeout)
        except UpstreamRejected as problem:
            if self.speaks == "openai" and not (self.known and self.known.model_id):
                return Health(True)  # it wants a model, and clients name it
            refused = f"it refuses a plain text with status {problem.status}: {problem.message}"
            return Health(False, refused, is_answered=True)
        except Unsupported:  # what it takes is not known: calls have to tell
            return Health(True)
        except UpstreamMisconfigured as problem:
            return Health(False, mistake(problem), is_answered=True)
        except (ProxyError, BadRowsError) as problem:
            return Health(False, described(problem), is_answered=isinstance(problem, UpstreamFailed))
        return Health(True)

    # ---- what it says of itself -----------------------------------------------------------------

    def info(self, timeout: float) -> UpstreamInfo | None:
        """Read the server's own limits within ``timeout`` seconds; None if it does not tell."""
        end = self._clock.now() + timeout
        self.known = said = self.dialect.describe(lambda path: self.requester.get(path, end))
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
        self.requester.close()

    def _stale(self) -> None:
        self._observer.on_stale_connection(self.url)
