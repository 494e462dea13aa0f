"""What a dialect is, and what it reads out of a server's replies."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batching.call import Item
    from batching.key import BatchKey
    from batching.outcomes import Answer
    from upstream.http_reply import Reply
    from upstream.request import Request


class UpstreamInfo(NamedTuple):
    """What a server says of its own limits; None where it says nothing."""

    model_id: str | None
    #: Items of one request, and items that it takes at once over all requests.
    max_client_batch_size: int | None
    max_concurrent_requests: int | None
    #: What tells two models of one name apart.
    revision: str | None = None


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


class Refusal(NamedTuple):
    """What a reply other than 200 means.

    ``text``: the server's own words as one plain line, empty where it has none; they may quote inputs.
    """

    kind: RefusalKind
    text: str = ""
    error_type: str = "Validation"
    #: Whether the batch may be too large as a whole, and no single input to blame.
    concerns_size: bool = False


class Dialect(Protocol):
    """How one kind of server is spoken to. No socket, no clock, no thread; one object for each endpoint."""

    #: What answers 200 while the server can work.
    health_path: str

    def cannot(self, key: BatchKey) -> str | None:
        """Say why this kind of server cannot do what the key asks for (the client's 422); None if it can."""
        ...

    def request(self, key: BatchKey, items: Sequence[Item]) -> Request:
        """Return path and body of one call."""
        ...

    def reply_limit(self, key: BatchKey, count: int) -> int:
        """Return how many bytes the answer for ``count`` items may have."""
        ...

    def answer(self, key: BatchKey, count: int, reply: Reply) -> Answer:
        """Take a 200 apart into exactly ``count`` results.

        Raises ``BadRowsError`` where there is a row for each item and some are no vectors, and
        ``UpstreamProtocolError`` for anything else.
        """
        ...

    def refusal(self, reply: Reply) -> Refusal:
        """Read any other status."""
        ...

    def describe(self, get: Callable[[str], Reply | None]) -> UpstreamInfo | None:
        """Ask the server about itself when it has come up; None if it does not tell.

        ``get`` requests a path; it returns None if there is no reply in time.
        """
        ...
