"""Remembers for a while which inputs the upstream refused, and which are under suspicion."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import BatchKey, Item
    from batching.clock import Clock
    from batching.errors import UpstreamRejected

#: Seconds for which a verdict holds. Short: the model behind the address may be replaced by one that takes more.
VERDICT_TTL = 30.0
#: Inputs remembered; the oldest are forgotten first.
MAX_VERDICTS = 4096


class Suspicion(NamedTuple):
    """What is known of an input: the upstream's verdict, or None while it is only suspected."""

    until: float
    verdict: UpstreamRejected | None


class Verdicts:
    """What the upstream refused when it stood alone is refused again without asking, and suspects travel alone.

    Inputs are kept as digests of key and text. Thread-safe.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, Suspicion] = OrderedDict()
        self._lock = threading.Lock()

    def convict(self, key: BatchKey, item: Item, verdict: UpstreamRejected) -> None:
        """Remember that the upstream refused this very input."""
        self._remember(key, item, verdict)

    def suspect(self, key: BatchKey, item: Item) -> None:
        """Remember that this input was in a refused batch and could not be cleared."""
        self._remember(key, item, None)

    def clear(self, key: BatchKey, item: Item) -> None:
        """Forget what was held against this input: the upstream has taken it."""
        if self._known:
            with self._lock:
                self._known.pop(_digest(key, item), None)

    def look_up(self, key: BatchKey, items: Sequence[Item]) -> tuple[UpstreamRejected | None, bool]:
        """Return the verdict on the first guilty input, and whether any is suspected."""
        if not self._known:  # nearly always, and this is on every request's path
            return None, False
        suspected = False
        with self._lock:
            now = self._clock.now()
            while self._known and next(iter(self._known.values())).until <= now:
                self._known.popitem(last=False)
            for item in items:
                known = self._known.get(_digest(key, item))
                if known is None:
                    continue
                if known.verdict is not None:
                    return known.verdict, True
                suspected = True
        return None, suspected

    def _remember(self, key: BatchKey, item: Item, verdict: UpstreamRejected | None) -> None:
        digest = _digest(key, item)
        with self._lock:
            self._known.pop(digest, None)  # the newest stands last, so that the first is the oldest
            self._known[digest] = Suspicion(self._clock.now() + VERDICT_TTL, verdict)
            if len(self._known) > MAX_VERDICTS:
                self._known.popitem(last=False)


def _digest(key: BatchKey, item: Item) -> bytes:
    digest = hashlib.blake2b(key.route.encode(), digest_size=16)
    digest.update(b"\0" + key.options + b"\0" + item)
    return digest.digest()
