"""Remembers for a while which inputs the upstream refused or failed on, and which are under suspicion."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from batching.errors import UpstreamRejected
from batching.isolation.long_inputs import LongInputs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from batching.call import Item
    from batching.clock import Clock
    from batching.errors import InputsInDoubt
    from batching.isolation.evidence import Record
    from batching.key import BatchKey

#: Seconds for which a refusal holds. Short: the model behind the address may be replaced by one that takes more.
VERDICT_TTL = 30.0
#: Seconds for which a failure holds. Shorter: a server may fail on an input once, and not again.
FAILURE_TTL = 5.0
#: Inputs remembered; the oldest are forgotten first.
MAX_VERDICTS = 4096

_NONE: frozenset[int] = frozenset()


class _Known(NamedTuple):
    """What is known of an input: the upstream's answer to it, or None while the input is only suspected."""

    until: float
    made: float
    verdict: InputsInDoubt | None


class Verdicts:
    """An input that the upstream refused by itself is refused again without asking, and a suspect travels by itself.

    A verdict counts only if the upstream accepted other inputs at about that time: an upstream that refuses everything
    says nothing about an input. Inputs are kept as digests of key and text. Thread-safe.
    """

    def __init__(self, clock: Clock, record: Record) -> None:
        """``record``: of the upstream calls."""
        self._clock = clock
        self._record = record
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._long = LongInputs(clock)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Verdicts on {len(self._known)} inputs{f', {self._long}' if self._long.known else ''}>"

    def refused(self, key: BatchKey, item: Item, refusal: InputsInDoubt) -> None:
        """Remember that the upstream refused this very input."""
        self._remember(key, item, refusal, VERDICT_TTL)
        if isinstance(refusal, UpstreamRejected) and refusal.concerns_length:
            self._long.refused(key, item)

    def failed(self, key: BatchKey, item: Item, failure: InputsInDoubt) -> None:
        """Remember that the upstream failed on this very input."""
        self._remember(key, item, failure, FAILURE_TTL)

    def suspect(self, key: BatchKey, item: Item) -> None:
        """Remember that this input was in a refused batch and could not be cleared."""
        self._remember(key, item, None, VERDICT_TTL)

    def clear(self, key: BatchKey, item: Item) -> None:
        """Forget what was held against this input: the upstream has taken it by itself."""
        if self._long.known:
            self._long.accepted(key, item)
        if self._known:
            with self._lock:
                self._known.pop(_digest(key, item), None)

    def taken(self, key: BatchKey, items: Iterable[Item]) -> None:
        """Forget the verdicts on these inputs: the upstream has taken them. Suspects have to be taken by themselves."""
        if self._known:  # seldom, and this follows each batch
            digests = [_digest(key, item) for item in items]
            with self._lock:
                for digest in digests:
                    if (known := self._known.get(digest)) is not None and known.verdict is not None:
                        del self._known[digest]

    def forget(self) -> None:
        """Forget everything: the upstream was spoken to in a wrong way, or is another."""
        with self._lock:
            self._known.clear()
        self._long.known.clear()

    def look_up(self, key: BatchKey, items: Sequence[Item]) -> tuple[InputsInDoubt | None, frozenset[int]]:
        """Return the verdict on the first input that is known to be bad, and the positions of those that ride alone.

        These are under suspicion, or as long as one that was refused for its length.
        """
        if not self._known and not self._long.known:  # nearly always, and this is on every request's path
            return None, _NONE
        long = self._long.are_long(key, items)
        suspects = set()
        with self._lock:
            now = self._clock.now()
            while self._known and next(iter(self._known.values())).until <= now:
                self._known.popitem(last=False)
            if not self._known:
                return None, long
            for position, item in enumerate(items):
                known = self._known.get(_digest(key, item))
                if known is None or known.until <= now:
                    continue
                if known.verdict is None:
                    suspects.add(position)
                elif self._record.succeeded_near(known.made):
                    return known.verdict, _NONE
        return None, long | suspects

    def is_long(self, key: BatchKey, item: Item) -> bool:
        """Whether an input rides alone for its length, be it under suspicion or not."""
        return bool(self._long.known) and bool(self._long.are_long(key, [item]))

    def _remember(self, key: BatchKey, item: Item, verdict: InputsInDoubt | None, ttl: float) -> None:
        digest = _digest(key, item)
        now = self._clock.now()
        with self._lock:
            self._known.pop(digest, None)  # the newest stands last, so that the first is the oldest
            self._known[digest] = _Known(now + ttl, now, verdict)
            if len(self._known) > MAX_VERDICTS:
                self._known.popitem(last=False)


def _digest(key: BatchKey, item: Item) -> bytes:
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16)
    digest.update(b"\0" + item)
    return digest.digest()
