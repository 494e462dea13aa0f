"""Remembers from which length on inputs were refused as too long, so that a longer one spoils no batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from formats.bounded import Bounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Item
    from batching.clock import Clock
    from batching.key import BatchKey

#: Seconds for which a length is remembered. Longer than a verdict: it refuses nothing, and only lets inputs ride alone.
LENGTH_TTL = 300.0
#: Keys for which a length is remembered; clients choose keys.
MAX_KEYS = 64

_NONE: frozenset[int] = frozenset()


class _Length(NamedTuple):
    """Bytes of JSON from which on an input of the key rides alone, and until when that holds."""

    size: int
    until: float
    #: Bytes of the longest input that was accepted by itself since.
    accepted: int = 0


class LongInputs:
    """The shortest input of each key that was refused for its length, in bytes: a guess at the upstream's limit.

    Tokens are not bytes, so an input that is as long is not refused: it travels by itself. Where it is accepted, the
    length is raised beyond it, and a shorter input that is refused lowers it no more: it had more tokens for its bytes
    than others have. Thread-safe: each change replaces one entry.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Empty nearly always, which is looked at on every request's path.
        self.known: Bounded[BatchKey, _Length] = Bounded(MAX_KEYS)

    def __repr__(self) -> str:
        return f"<LongInputs {sorted(each.size for each in self.known.values())}>"

    def refused(self, key: BatchKey, item: Item) -> None:
        """Learn that an input was refused as too long."""
        size, known = len(item), self.known.get(key)
        now = self._clock.now()
        if known is None or known.until <= now:
            self.known[key] = _Length(size, now + LENGTH_TTL)
        elif size > known.accepted:
            self.known[key] = known._replace(size=min(size, known.size), until=now + LENGTH_TTL)

    def accepted(self, key: BatchKey, item: Item) -> None:
        """Learn that an input that travelled by itself was accepted."""
        known = self.known.get(key)
        if known is not None and len(item) >= known.size:
            self.known[key] = known._replace(size=len(item) + 1, accepted=len(item))

    def are_long(self, key: BatchKey, items: Sequence[Item]) -> frozenset[int]:
        """Return the positions of the inputs that are to travel by themselves."""
        known = self.known.get(key)
        if known is None:
            return _NONE
        if known.until <= self._clock.now():
            self.known.pop(key, None)
            return _NONE
        size = known.size
        return frozenset(position for position, item in enumerate(items) if len(item) >= size)
