"""How long an upstream's vectors are, and which rows of an answer are bad by that."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from batching.errors import UpstreamFailed, UpstreamMisconfigured
from batching.isolation.evidence import DistinctFailures
from batching.outcomes import Answer
from formats.bounded import Bounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Item
    from batching.clock import Clock
    from batching.key import BatchKey
    from formats.slices import BadRowsError
    from upstream.identity import Identities

#: Keys for which the length is remembered: clients may choose them.
MAX_REMEMBERED_KEYS = 256
#: Calls with different inputs that have to agree on a new length, and the seconds from the first of them on, with none
#: of the old length between.
WITNESSES, AGREED_FOR = 3, 5.0


class Lengths:
    """Learns the length of one upstream's vectors for each key. Any thread: a lost race asks for one more witness."""

    def __init__(self, url: str, identities: Identities, clock: Clock) -> None:
        """``identities``: what is known of all upstreams."""
        self._url = url
        self._clock = clock
        self._identities = identities
        self._known: Bounded[BatchKey, int] = Bounded(MAX_REMEMBERED_KEYS)
        #: Lengths that are not the known one, with the calls that had them and when they began to.
        self._others: Bounded[BatchKey, tuple[int, DistinctFailures, float]] = Bounded(MAX_REMEMBERED_KEYS)

    def __repr__(self) -> str:
        return f"<Lengths of {self._url}: {sorted(set(self._known.values()))}>"

    def forget(self) -> None:
        """Forget all: the upstream may come back with another model."""
        self._known.clear()
        self._others.clear()

    def check(self, key: BatchKey, length: int, items: Sequence[Item]) -> None:
        """Take an answer whose rows all have this length.

        Raises ``UpstreamFailed`` where it is not the known one, until different inputs agree that it has changed, and
        ``UpstreamMisconfigured`` where another upstream's vectors have another.
        """
        if self._known.get(key) == length:
            if self._others:
                self._others.pop(key, None)
            return
        known = self._known.get(key)
        if known is not None and not self._agree(key, length, items):
            message = f"the upstream gave a vector of {length} numbers instead of {known}"
            raise UpstreamFailed(message, reason=message)
        if (elsewhere := self._identities.learned(self._url, key, length)) is not None:
            reason = f"its vectors have {length} numbers, and those of another upstream {elsewhere}"
            raise UpstreamMisconfigured("the upstreams serve different models", reason=reason)
        self._others.pop(key, None)
        self._known[key] = length

    def mend(self, key: BatchKey, problem: BadRowsError) -> Answer:
        """Return an answer of which some rows are bad; raises ``UpstreamFailed`` where all are.

        Rows of another length than is known, or than most have, are bad as well.
        """
        lengths = problem.dimensions
        right = self._known.get(key) or self._identities.length_elsewhere(self._url, key)
        if right not in lengths.values():
            right = Counter(lengths.values()).most_common(1)[0][0] if lengths else 0
        bad = dict(problem.why)
        bad.update({at: f"a vector of {length} numbers" for at, length in lengths.items() if length != right})
        if len(bad) == len(problem.rows):
            raise UpstreamFailed(f"the upstream gave no vector: {next(iter(bad.values()))}", reason="no vectors")
        return Answer([b"" if row is None or at in bad else row for at, row in enumerate(problem.rows)], right, bad)

    def _agree(self, key: BatchKey, length: int, items: Sequence[Item]) -> bool:
        """Whether enough calls, with different inputs, had this length since the last that had the known one."""
        now = self._clock.now()
        before = self._others.get(key)
        _, calls, since = before if before is not None and before[0] == length else (length, DistinctFailures(), now)
        calls.add(items)
        self._others[key] = length, calls, since
        return calls.count >= WITNESSES and now - since >= AGREED_FOR
