"""One upstream server: address, dialect and transport; a batch in, an answer out, or one of our errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from batching.clock import NEVER
from batching.errors import (
    ProxyError,
    Unsupported,
    UpstreamFailed,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamUnavailable,
)
from batching.key import BatchKey, Task
from batching.observer import Observer
from formats.slices import BadRowsError
from upstream.dialects.dialect import AskAgain
from upstream.failures import failure_of, leads_to
from upstream.health import Health
from upstream.http_reply import Reply
from upstream.identity import Identities
from upstream.lengths import Lengths
from upstream.request import Request
from upstream.requester import Requester

if TYPE_CHECKING:
    from batching.call import Batch, Item
    from batching.clock import Clock
    from batching.outcomes import Answer
    from upstream.dialects.dialect import Dialect, UpstreamInfo
    from upstream.stream import Stream

#: A call that tries whether the server works, by what the model is for: one short text.
TRIALS: dict[str | None, tuple[BatchKey, list[bytes]]] = {
    None: (BatchKey(Task.EMBED), [b'"ping"']),
    "classifier": (BatchKey(Task.CLASSIFY), [b'["ping"]']),
    "reranker": (BatchKey(Task.CLASSIFY), [b'["ping","pong"]']),
    "sparse": (BatchKey(Task.EMBED_SPARSE), [b'"ping"']),
}
#: Requests that one call may take where the dialect learns from the replies how the server is to be asked.
MOST_REQUESTS = 3

#: Bytes of an answer that is passed on; a deadline ends it long before.
MOST_FORWARDED = 1 << 40
#: What a server says that does not know a path, or not by POST.
UNKNOWN_PATH = frozenset({404, 405, 501})

#: Ask the server for a path, by GET or with a body; None where there is no reply in time.
Get = Callable[[str], Reply | None]
Post = Callable[[str, bytes], Reply | None]


class Finding(NamedTuple):
    """What was found out of a server."""

    #: How it is spoken to; None where it does not answer yet, or cannot be used.
    dialect: Dialect | None
    #: One sentence: what it speaks, and what tells so; or why it cannot be used.
    sentence: str
    #: Whether the server did not tell: calls will show whether it is right.
    is_guess: bool = False


#: Finds out which dialect a server speaks. The last argument: whether small calls may be made for it.
Detect = Callable[[Get, Post, bool], Finding]


class AnyEndpoint(Protocol):
    """What the pool and the monitors need of an endpoint; the fakes of the tests have it too."""

    url: str
    timeout: float
    #: What the server says of itself, once it has been asked.
    known: UpstreamInfo | None

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
        self._identities = identities or Identities()
        self._dialect = dialect
        self._detect = detect
        #: Why it cannot be spoken to while its dialect is not known.
        self._unusable = "the upstream has not answered yet"
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
        return "" if self._dialect is None else self._dialect.name

    @property
    def dialect(self) -> Dialect:
        """How the server is spoken to; raises ``UpstreamUnavailable`` while that is not known."""
        if self._dialect is None:
            raise UpstreamUnavailable(self._unusable, retry_after=1, reason="its API is unknown")
        return self._dialect

    def find_out(self, timeout: float, *, may_call: bool = False) -> Finding | None:
        """Ask the server within ``timeout`` seconds which API it speaks, and speak it from now on.

        None where there is nothing to find out. Where nothing is found, what was known before goes on to hold.
        ``may_call``: whether a server that says nothing of itself is sent a few small calls.
        """
        if self._detect is None:
            return None
        end = self._clock.now() + timeout
        requester = self.requester
        found = self._detect(
            lambda path: requester.get(path, end),
            lambda path, body: requester.try_to(Request(path, body), end),
            may_call,
        )
        if found.dialect is not None:
            if self._api_key is not None:
                requester.authorize(found.dialect.credentials(self._api_key))
            self._dialect = found.dialect
        elif found.sentence:
            self._unusable = f"the upstream {found.sentence.removeprefix('it ')}"
        return found

    def fit(self, key: BatchKey, items: Sequence[Item]) -> BatchKey:
        """Return the key under which this server does it; raises ``Unsupported`` if it cannot."""
        return self.dialect.fit(key, items)

    # ---- calls ----------------------------------------------------------------------------------

    def send(self, batch: Batch) -> Answer:
        """Make one call of the batch; raises an ``UpstreamError``.

        The call ends by the time-out. It is not ended by the batch's deadline: a server works on when its client has
        gone, and the place of the call in flight is free only when it has finished.
        """
        key, items = batch.key, batch.items
        try:
            answer = self._ask(key, items, self._clock.now() + self.timeout)
        except BadRowsError as problem:
            answer = self._lengths.mend(key, problem)
        if answer.dimension is None:
            return answer
        self._lengths.check(key, answer.dimension, items)
        return answer._replace(source=self._identities.source(self.url, answer.dimension))

    def _ask(self, key: BatchKey, items: Sequence[Item], end: float) -> Answer:
        """Send the items and read the answer; again where the dialect learns from a reply how to ask."""
        dialect = self.dialect
        for _ in range(MOST_REQUESTS):
            reply = self.requester.call(dialect.request(key, items), end, dialect.reply_limit(key, len(items)))
            try:
                if reply.status == 200:
                    return dialect.answer(key, len(items), reply)
                refusal = dialect.refusal(reply)
            except AskAgain:
                continue
            except UpstreamProtocolError as problem:
                # One input may be why: servers drop its row, or answer 200 with an error of their own.
                reason = problem.reason or "an answer that makes no sense"
                raise UpstreamFailed(problem.message, reason=reason) from problem
            raise failure_of(refusal, reply, len(items))
        raise UpstreamFailed("the upstream takes the request in no form that is known", reason="it refuses each form")

    def forwards(self, path: str) -> bool:
        """Return whether the server may be sent a request for this path as a client wrote it."""
        return self.dialect.forwards(path)

    def forward(self, request: Request, end: float, look: Callable[[], None]) -> Stream:
        """Pass a request on; return the answer, a 200, once its first bytes are here. The stream has to be closed.

        Raises an ``UpstreamError``, by the moment ``end`` at latest; ``Unsupported`` (404) where the server does not
        know the path; and what ``look`` raises, which is called now and then while the thread waits.
        """
        stream = self.requester.stream(request, end, MOST_FORWARDED, look)
        reply = stream.reply
        if reply.status == 200:
            return stream
        stream.close()
        if reply.status in UNKNOWN_PATH:
            raise Unsupported(
                f"the upstream does not have {request.path}: it answers with status {reply.status}", status=404
            )
        raise failure_of(self.dialect.refusal(reply), reply, 1)

    def health(self, timeout: float) -> Health:
        """Ask the server within ``timeout`` seconds whether it can work."""
        end = self._clock.now() + timeout
        health = Health(False, "its API is unknown", is_unknown=True, is_down=False)
        for path in self.dialect.health_paths:
            try:
                reply = self.requester.call(Request(path), end)
            except ProxyError as problem:
                return Health(False, _described(problem))
            if reply.status == 200:
                return Health(True)
            reason = f"GET {path} is answered with status {reply.status}{leads_to(reply)}"
            # A path that is unknown, or guarded, says nothing of the model.
            is_unknown = (reply.status < 500 and reply.status not in {408, 429}) or reply.status == 501
            health = Health(False, reason, is_unknown=is_unknown, is_down=reply.status == 503)
            if not is_unknown:
                break
        return health

    def try_out(self, timeout: float) -> Health:
        """Make one small call within ``timeout`` seconds, to see whether the server works."""
        key, items = TRIALS.get(self.known and self.known.purpose, TRIALS[None])
        try:
            self._ask(self.fit(key, items), items, self._clock.now() + timeout)
        except UpstreamRejected as problem:
            if self.speaks == "openai" and not (self.known and self.known.model_id):
                return Health(True)  # it wants a model, and clients name it
            return Health(False, f"it refuses a plain text with status {problem.status}: {problem.message}")
        except Unsupported:  # what it takes is not known: calls have to tell
            return Health(True)
        except (ProxyError, BadRowsError) as problem:
            return Health(False, _described(problem))
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


def _described(problem: Exception) -> str:
    """Return what the log says of a failed call."""
    reason = getattr(problem, "reason", "")
    return f"{problem} ({reason})" if reason and reason not in str(problem) else str(problem)
