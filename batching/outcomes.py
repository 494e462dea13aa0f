"""What an upstream call gives, and what became of each item of a batch."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batching.errors import ProxyError

#: The JSON of one result, the upstream's own bytes.
Result = bytes


class Source(NamedTuple):
    """Which model gave a result, as far as it is known."""

    #: What the upstream says of itself; None where it does not tell.
    model: str | None = None
    #: Numbers in each vector; None where the results are no vectors.
    dimension: int | None = None

    def differs_from(self, other: Source) -> bool:
        """Whether the two are known to be different models."""
        return any(mine != its and mine is not None and its is not None for mine, its in zip(self, other, strict=True))

    def completed_by(self, other: Source) -> Source:
        """Return all that the two know, which do not differ."""
        return Source(
            self.model if other.model is None else other.model,
            self.dimension if other.dimension is None else other.dimension,
        )


UNKNOWN = Source()
_NO_ROWS: Mapping[int, str] = MappingProxyType({})


class Answer(NamedTuple):
    """What one upstream call gave. The other way a call can end is an ``UpstreamError``."""

    #: One for each item, in order; empty where the upstream gave none.
    results: list[Result]
    #: Numbers in each vector; None where the results are no vectors.
    dimension: int | None = None
    #: For the positions of items without a result, why there is none. Some item always has one.
    bad: Mapping[int, str] = _NO_ROWS
    source: Source = UNKNOWN
    #: Tokens of all items together; None where the upstream does not count them.
    tokens: int | None = None


class Again(NamedTuple):
    """The item goes back to the front of the queue and rides in a later batch."""

    #: What the client is told where the item cannot go back: there is no time, or its call has been put back before.
    error: ProxyError
    #: Why the upstream call is made again; a call is put back for such a reason once. None: the item was not judged,
    #: and may go back as often as its deadline allows.
    retry_reason: str | None = None
    #: Whether the item travels by itself then.
    alone: bool = False


class Outcomes(NamedTuple):
    """What became of a batch: for each item, in order, its result, its error, or ``Again``."""

    of: Sequence[Result | ProxyError | Again]
    #: How the upstream call for the whole batch ended; None: with a result for each item.
    error: ProxyError | None = None
    #: Items that the upstream refused, and items of which it is known whether it would.
    rejected: int = 0
    judged: int = 0
    #: Which model gave the results. One call never takes results of two.
    source: Source = UNKNOWN

    @classmethod
    def results(cls, results: list[Result], source: Source = UNKNOWN) -> Self:
        """Each item has its result."""
        return cls(results, None, 0, len(results), source)

    @classmethod
    def failed(cls, error: ProxyError, count: int) -> Self:
        """All ``count`` items share one error, which says nothing about any of them."""
        return cls([error] * count, error)

    @classmethod
    def again(cls, error: ProxyError, count: int, retry_reason: str | None) -> Self:
        """All ``count`` items go back to the queue."""
        return cls([Again(error, retry_reason)] * count, error)
