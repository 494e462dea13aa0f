"""Every way a request can fail inside the engine, each with the status and type its client is told.

::

    handler thread            queue                    batcher thread          upstream
    Overloaded ────────────────┘
    ShuttingDown ──────────────┘
    DeadlineExceeded ──────────┤ ClientGone, Hopeless
                               └─ BatcherDied ──────────────┤
                                                            UpstreamUnavailable, UpstreamTimeout,
                                                            UpstreamOverloaded, UpstreamRejected,
                                                            UpstreamFailed, UpstreamMisconfigured,
                                                            UpstreamGateway, UpstreamProtocolError,
                                                            UpstreamBroke, NoUpstream, Unresolved
    ended calls <── Endings ── Outcomes <── Isolation <── UpstreamPaused (the queue holds; no client sees it)

``status`` is the HTTP status, ``error_type`` the word Text Embeddings Inference (TEI) uses for it,
``outcome`` the label under which metrics count the items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, Self

if TYPE_CHECKING:
    from batching.rank import Flow


class ProxyError(Exception):
    """The root: something went wrong and the client is told what, in JSON."""

    status: int = 500
    error_type: str = "Unhandled"
    outcome: ClassVar[str] = "error"
    #: Whether the same request, sent again soon, meets the same.
    is_final: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """``retry_after``: seconds after which trying again makes sense; None says nothing."""
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after

    def bare(self) -> Self:
        """Return it without traceback and causes, to be kept: those hold on to every frame they went through."""
        self.__traceback__ = self.__cause__ = self.__context__ = None
        return self

    def copy(self) -> ProxyError:
        """Return an equal error that another thread may raise: a raised exception carries one traceback."""
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        twin.args = self.args
        return twin


class Overloaded(ProxyError):
    """Admission refused the call: as many calls or items are already served as the settings allow."""

    status = 429
    error_type = "Overloaded"
    outcome = "shed"

    def __init__(self, message: str, *, retry_after: float | None = None, flow: Flow | None = None) -> None:
        """``flow``: whose cap is reached; None where it is a limit of the service."""
        super().__init__(message, retry_after=retry_after)
        self.flow = flow


class ShuttingDown(ProxyError):
    """The service is stopping and takes no new calls, or could not finish this one in time."""

    status = 503
    error_type = "Unhealthy"
    outcome = "shutdown"


class DeadlineExceeded(ProxyError):
    """The call's deadline passed before its results came."""

    status = 504
    error_type = "Timeout"
    outcome = "timeout"


class Hopeless(DeadlineExceeded):
    """The call could not be answered before its deadline any more, and other calls waited that could."""

    outcome = "hopeless"


class ClientGone(ProxyError):
    """The client hung up while its call was still waiting; no client reads this answer."""

    status = 499
    error_type = "ClientClosedRequest"
    outcome = "abandoned"


class Unsupported(ProxyError):
    """The upstream's kind of server cannot do what the request asks for; no upstream was asked.

    ``field``: the member of the body that asks for it, by its name in TEI's API or of the client's own; None where it
    is the route itself.
    """

    status = 422
    error_type = "Validation"
    outcome = "unsupported"

    def __init__(self, message: str, *, field: str | None = None, status: int = 422) -> None:
        super().__init__(message)
        self.field = field
        self.status = status
        if status == 404:
            self.error_type = "NotFound"


class BatcherDied(ProxyError):
    """The thread that carried the batch died; whether the upstream saw it is unknown."""

    status = 503
    error_type = "Unhealthy"


class Unresolved(ProxyError):
    """The input was in a refused batch and could not be cleared in time: sent again, it travels by itself."""

    status = 503
    error_type = "Unhealthy"
    outcome = "unresolved"


class UpstreamError(ProxyError):
    """The upstream failed while it handled the call (5xx)."""

    status = 502
    error_type = "Backend"
    #: Why the call may be made once more, here or elsewhere; None where that would only cost the upstream more.
    retry_reason: ClassVar[str | None] = None

    def __init__(
        self, message: str, *, retry_after: float | None = None, pause: float | None = None, reason: str = ""
    ) -> None:
        """``pause``: the upstream said that it has too much to do, and asks to be left alone for so many seconds.

        0.0: it named no time. None: it did not say so. ``reason``: for the log, in the words of the library or the
        upstream; clients are not told, since it may name addresses.
        """
        super().__init__(message, retry_after=retry_after)
        self.pause = pause
        self.reason = reason


class InputsInDoubt(UpstreamError):
    """The upstream answered in a way that one of the inputs may have caused: a batch is searched for that input.

    ``message`` may be told to any client; ``words``, the upstream's own, may quote any of the inputs, and are told only
    to the client to whom all of them belong.
    """

    words: str = ""

    def in_full(self) -> ProxyError:
        """Return the same failure in the upstream's own words."""
        twin = self.copy()
        if self.words:
            twin.message, twin.args = self.words, (self.words,)
        return twin


class UpstreamFailed(InputsInDoubt):
    """The upstream failed while it worked on the inputs (500, 424, null instead of a vector)."""

    outcome = "failed"
    retry_reason = "failed"

    def __init__(self, message: str, *, status: int = 502, words: str = "", reason: str = "") -> None:
        super().__init__(message, reason=reason)
        self.status = status
        self.words = words


class UpstreamMisconfigured(UpstreamError):
    """The upstream's answer shows a mistake of configuration: a wrong address, key or API (401 to 405, redirects)."""

    retry_reason = "misconfigured"


class UpstreamGateway(UpstreamError):
    """Something between here and the upstream answered in its place that it cannot reach it (502, 504)."""

    retry_reason = "gateway"

    def __init__(self, message: str, *, status: int = 502, reason: str = "") -> None:
        super().__init__(message, reason=reason)
        self.status = status
        if status == 504:
            self.error_type = "Timeout"


class UpstreamBroke(UpstreamError):
    """The connection broke before the answer was complete."""

    retry_reason = "broken"


class UpstreamUnavailable(UpstreamError):
    """The upstream cannot be reached, or says that it is not ready."""

    status = 503
    error_type = "Unhealthy"
    retry_reason = "unavailable"


class UpstreamPaused(UpstreamError):
    """The upstreams that may be asked have asked for a pause: the batch goes back to the queue, which holds it."""

    def __init__(self, answer: UpstreamError, retry_of: str | None = None) -> None:
        """``answer``: told to a client whose call cannot go back. ``retry_of``: why the call is made again, if so."""
        super().__init__(answer.message, retry_after=answer.retry_after)
        self.answer = answer
        self.retry_of = retry_of


class NoUpstream(UpstreamError):
    """Every upstream has failed so often that it is left alone for a while."""

    status = 503
    error_type = "Unhealthy"

    def __init__(self, message: str, *, retry_after: float | None = None, status: int = 503) -> None:
        """``status``: 502 where an upstream answers, but every call fails."""
        super().__init__(message, retry_after=retry_after)
        if status != 503:
            self.status, self.error_type = status, UpstreamError.error_type


class UpstreamOverloaded(UpstreamError):
    """The upstream answered 429: it has more work than it takes."""

    status = 429
    error_type = "Overloaded"
    retry_reason = "overloaded"


class UpstreamTimeout(UpstreamError):
    """The upstream did not finish its answer in the time it was given."""

    status = 504
    error_type = "Timeout"
    outcome = "timeout"
    retry_reason = "timeout"


class SizeFigures(Protocol):
    """What a refusal for size says of one call's limits; None where it names no figure."""

    @property
    def of_items(self) -> bool:
        """Whether it is about the number of items; else it is about their tokens or bytes together."""

    @property
    def most_items(self) -> int | None:
        """Items that one call may have."""

    @property
    def most_tokens(self) -> int | None:
        """Tokens that one call may have."""

    @property
    def had_tokens(self) -> int | None:
        """Tokens that this call had, as the server counted them."""


class UpstreamRejected(InputsInDoubt):
    """The upstream refused the inputs (400, 413, 422); its status, and its type if known, are kept."""

    outcome = "rejected"
    #: Whether batches are composed smaller now because of this refusal, so that the same one does not leave again.
    is_cut = False

    def __init__(
        self,
        message: str,
        *,
        status: int,
        error_type: str = "Validation",
        words: str = "",
        concerns_size: bool | None = None,
        size: SizeFigures | None = None,
        concerns_length: bool = False,
    ) -> None:
        """``concerns_size``: whether it may be the sum of the inputs that is too large; None: if the status is 413.

        ``size``: what it says of the limits then. ``concerns_length``: whether one of the inputs is too long by itself.
        """
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.words = words
        self.concerns_size = status == 413 if concerns_size is None else concerns_size
        self.size = size
        self.concerns_length = concerns_length


class UpstreamProtocolError(UpstreamError):
    """The upstream's answer makes no sense (not JSON, wrong count, not vectors): no client gets a part of it."""
