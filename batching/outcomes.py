"""What an upstream call gives, and what became of each item of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.errors import ProxyError

#: The JSON of one result, the upstream's own bytes.
Result = bytes


class Answer(NamedTuple):
    """What one upstream call gave. The other way a call can end is an ``UpstreamError``."""

    #: One for each item, in order.
    results: list[Result]
    #: Numbers in each vector; None where the results are no vectors.
    dimension: int | None = None


class Again(NamedTuple):
    """The item goes back to the front of the queue and rides in a later batch."""

    #: What the client is told where the item cannot go back: there is no time, or its call has been put back before.
    error: ProxyError
    #: Why the upstream call is made again; a call is put back for such a reason once. None: the item was not judged,
    #: and may go back as often as its deadline allows.
    retry_reason: str | None = None


class Outcomes(NamedTuple):
    """What became of a batch: for each item, in order, its result, its error, or ``Again``."""

    of: Sequence[Result | ProxyError | Again]
    #: How the upstream call for the whole batch ended; None: with a result for each item.
    error: ProxyError | None = None
    #: Items that the upstream refused, and items of which it is known whether it would.
    rejected: int = 0
    judged: int = 0

    @classmethod
    def results(cls, results: list[Result]) -> Self:
        """Each item has its result."""
        return cls(results, None, 0, len(results))

    @classmethod
    def failed(cls, error: ProxyError, count: int) -> Self:
        """All ``count`` items share one error, which says nothing about any of them."""
        return cls([error] * count, error)

    @classmethod
    def again(cls, error: ProxyError, count: int, retry_reason: str | None) -> Self:
        """All ``count`` items go back to the queue."""
        return cls([Again(error, retry_reason)] * count, error)
