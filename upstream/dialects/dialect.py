"""What a dialect is, and what it reads out of a server's replies."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batching.call import Item
    from batching.key import BatchKey
    from batching.outcomes import Answer
    from upstream.http_reply import Reply
    from upstream.request import Request


class UpstreamInfo(NamedTuple):
    """What a server says of itself and of its own limits, or what is known of its kind; None where nothing is."""

    model_id: str | None
    #: Items of one request, and items that it takes at once over all requests.
    max_client_batch_size: int | None
    max_concurrent_requests: int | None
    #: What tells two models of one name apart.
    revision: str | None = None
    #: Tokens of one request's items together.
    max_batch_tokens: int | None = None
    #: What the model is for: ``embedding``, ``sparse``, ``classifier`` or ``reranker``.
    purpose: str | None = None
    #: The names of the models that may be asked for.
    models: tuple[str, ...] = ()
    #: TEI's ``/info`` as it was answered.
    raw: bytes | None = None


class RefusalKind(Enum):
    """Why a server did not answer 200."""

    #: It does not accept one of the inputs, or so many of them.
    INPUTS = "inputs"
    #: It has more work than it takes.
    BUSY = "busy"
    #: It cannot work yet, or not at present.
    NOT_READY = "not ready"
    #: It failed in a way that one of the inputs may have caused.
    SUSPICIOUS = "suspicious"
    #: A mistake of addresses, keys or APIs.
    MISCONFIGURED = "misconfigured"
    #: Something between has failed, or given up.
    GATEWAY = "gateway"
    #: It did not answer 200, and no error either (204, 206).
    FAILED = "failed"


class SizeLimit(NamedTuple):
    """What a refusal for size says of one call's limits; None where it names no figure."""

    #: Whether it is about the number of items; else it is about their tokens or bytes together.
    of_items: bool
    most_items: int | None = None
    most_tokens: int | None = None
    #: Tokens that this call had, as the server counted them.
    had_tokens: int | None = None


class Refusal(NamedTuple):
    """What a reply other than 200 means.

    ``text``: the server's own words as one plain line, empty where it has none; they may quote inputs.
    """

    kind: RefusalKind
    text: str = ""
    error_type: str = "Validation"
    #: Whether the batch may be too large as a whole, and no single input to blame; with what that says of the limits.
    concerns_size: bool = False
    size: SizeLimit | None = None
    #: Whether an input of the call is too long by itself.
    concerns_length: bool = False


class AskAgain(Exception):
    """The dialect has learned how this server is to be asked: ``request`` now returns another one, to be sent once."""


class Dialect(Protocol):
    """How one kind of server is spoken to. No socket, no clock, no thread; one object for each endpoint."""

    #: ``tei``, ``openai``, ``kserve`` or ``plain``.
    name: str
    #: What answers 200 while the server can work: the first of these that the server knows decides.
    health_paths: Sequence[str]

    def fit(self, key: BatchKey, items: Sequence[Item]) -> BatchKey:
        """Return the key under which this kind of server does it, without what changes nothing for it.

        Raises ``Unsupported`` if it cannot. Called on each request's thread.
        """
        ...

    def request(self, key: BatchKey, items: Sequence[Item]) -> Request:
        """Return path and body of one call. ``key``: one that ``fit`` has returned."""
        ...

    def reply_limit(self, key: BatchKey, count: int) -> int:
        """Return how many bytes the answer for ``count`` items may have."""
        ...

    def answer(self, key: BatchKey, count: int, reply: Reply) -> Answer:
        """Take a 200 apart into exactly ``count`` results.

        Raises ``BadRowsError`` where there is a row for each item and some are no vectors,
        ``UpstreamProtocolError`` for anything else, and ``AskAgain``.
        """
        ...

    def refusal(self, reply: Reply) -> Refusal:
        """Read any other status. Raises ``AskAgain``."""
        ...

    def describe(self, get: Callable[[str], Reply | None]) -> UpstreamInfo | None:
        """Ask the server about itself when it has come up; None if it does not tell.

        ``get`` requests a path; it returns None if there is no reply in time. May remember what ``request`` needs.
        """
        ...

    def credentials(self, api_key: str) -> Mapping[str, str]:
        """Return the headers that carry the key."""
        ...

    def forwards(self, path: str) -> bool:
        """Whether the server may be sent a request for this path as a client wrote it."""
        ...
