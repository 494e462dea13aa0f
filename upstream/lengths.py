"""How long an upstream's vectors are, and which rows of an answer are bad by that."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from batching.errors import UpstreamFailed, UpstreamMisconfigured
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
#: Different inputs whose vectors agree on a length before it is held against others, and before a new one is believed.
CONFIRMED_BY, WITNESSES = 5, 3
#: Seconds without the known length after which ``WITNESSES`` suffice.
AGREED_FOR = 5.0
#: Inputs whose lengths are compared, and the most that earlier answers count for.
MOST_VOTES, MOST_CONFIDENCE = 64, 32


class _Known:
    """The length of one key's vectors as far as it is known, and what speaks against it."""

    __slots__ = ("confidence", "length", "seen_at", "votes")

    def __init__(self, now: float) -> None:
        #: None until ``CONFIRMED_BY`` inputs agree.
        self.length: int | None = None
        #: Inputs that had it, repeated ones included.
        self.confidence = 0
        #: When a call had it last, while there are votes.
        self.seen_at = now
        #: The lengths of different inputs, by their hashes: only while some differ, or none is confirmed.
        self.votes: dict[int, int] = {}

    def vote(self, items: Sequence[Item], length: int) -> None:
        """Note the length of these inputs' vectors; an input that is repeated has one vote."""
        for item in items:
            self.votes.pop(hash(item), None)
            self.votes[hash(item)] = length
        while len(self.votes) > MOST_VOTES:
            self.votes.pop(next(iter(self.votes)))

    def count(self, length: int | None) -> int:
        """Return how many different inputs had this length."""
        return sum(each == length for each in self.votes.values())


class Lengths:
    """Learns the length of one upstream's vectors for each key, by what most inputs have. Thread-safe."""

    def __init__(self, url: str, identities: Identities, clock: Clock) -> None:
        """``identities``: what is known of all upstreams."""
        self._url = url
        self._clock = clock
        self._identities = identities
        self._of: Bounded[BatchKey, _Known] = Bounded(MAX_REMEMBERED_KEYS)
        # Guards the votes; not taken while there are none.
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Lengths of {self._url}: {sorted({each.length or 0 for each in self._of.values()})}>"

    def forget(self) -> None:
        """Forget all: the upstream may come back with another model."""
        self._of.clear()

    def check(self, key: BatchKey, length: int, items: Sequence[Item]) -> None:
        """Take an answer whose rows all have this length.

        Raises ``UpstreamFailed`` where it is not the known one, until most inputs have it, and
        ``UpstreamMisconfigured`` where another upstream's vectors have another. One odd input teaches nothing: until
        several agree, any length is taken.
        """
        known = self._of.get(key)
        if known is not None and known.length == length and not known.votes:  # nearly always
            known.confidence += len(items)
            return
        now = self._clock.now()
        with self._lock:
            if known is None:
                known = self._of[key] = _Known(now)
            if not known.votes:
                known.seen_at = now
            known.vote(items, length)
            if known.length == length:
                known.confidence += len(items)
            is_believed = self._is_believed(known, length, now)
        if known.length is not None and not is_believed:
            message = f"the upstream gave a vector of {length} numbers instead of {known.length}"
            raise UpstreamFailed(message, reason=message)
        elsewhere = self._identities.length_elsewhere(self._url, key)
        if is_believed:
            elsewhere = self._identities.learned(self._url, key, length)
        if elsewhere not in {None, length}:
            reason = f"its vectors have {length} numbers, and those of another upstream {elsewhere}"
            raise UpstreamMisconfigured("the upstreams serve different models", reason=reason)
        if is_believed:
            known.length = length

    def _is_believed(self, known: _Known, length: int, now: float) -> bool:
        """Whether this is the length, after these votes. With the lock held."""
        own = known.count(length)
        if known.length is None:
            if own < CONFIRMED_BY or 2 * own <= len(known.votes):
                return False
        elif known.length != length:
            against = known.count(known.length) + min(known.confidence, MOST_CONFIDENCE)
            is_gone = now - known.seen_at >= AGREED_FOR and own >= WITNESSES
            if 3 * own <= 2 * len(known.votes) or not (is_gone or own > max(against, CONFIRMED_BY - 1)):
                return False
            known.confidence = 0
        known.confidence = max(known.confidence, own)
        if own == len(known.votes):  # there is nothing to compare any more
            known.votes.clear()
        known.seen_at = now
        return True

    def mend(self, key: BatchKey, problem: BadRowsError) -> Answer:
        """Return an answer of which some rows are bad; raises ``UpstreamFailed`` where all are.

        Rows of another length than is known, or than most have, are bad as well.
        """
        lengths = problem.dimensions
        known = self._of.get(key)
        right = (known and known.length) or self._identities.length_elsewhere(self._url, key)
        if right not in lengths.values():
            right = Counter(lengths.values()).most_common(1)[0][0] if lengths else 0
        bad = dict(problem.why)
        bad.update({at: f"a vector of {length} numbers" for at, length in lengths.items() if length != right})
        if len(bad) == len(problem.rows):
            raise UpstreamFailed(f"the upstream gave no vector: {next(iter(bad.values()))}", reason="no vectors")
        return Answer([b"" if row is None or at in bad else row for at, row in enumerate(problem.rows)], right, bad)
