"""Keeps the capacity within what the upstreams say of themselves, and within what their refusals show."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from batching.capacity import UNLIMITED_BYTES
from batching.clock import NEVER
from batching.errors import UpstreamRejected
from upstream.caps import Caps, is_believable
from upstream.dialects.sizes import BYTES_PER_TOKEN, is_echo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batching.call import Batch
    from batching.capacity import Capacity
    from batching.errors import UpstreamError
    from upstream.dialects.dialect import UpstreamInfo

log = logging.getLogger(__name__)

#: Items in flight over all batches, where no upstream tells how many it takes.
UNLIMITED_ITEMS = 1_000_000
#: Changes that are remembered, so that each is logged once as a warning.
MOST_LOGGED = 256
#: Bits of the bytes that tokens allow which are looked at: not every change is worth a new batch size.
PRECISION = 5
#: What is known of an upstream whose calls were never too large.
_NO_CAPS = Caps()


def clamped(batch_size: int, infos: Iterable[UpstreamInfo]) -> tuple[int, int]:
    """Return the items of a batch and the items in flight that suit all upstreams.

    A batch must suit each of them, and items in flight are their permits together. ``batch_size``: what the settings
    allow, which upstreams can only lower.
    """
    permits = 0
    for info in infos:
        own = info.max_concurrent_requests or UNLIMITED_ITEMS
        batch_size = min(batch_size, info.max_client_batch_size or batch_size, own)
        permits = min(permits + own, UNLIMITED_ITEMS)
    return batch_size, permits or UNLIMITED_ITEMS


def most_bytes(tokens: Iterable[int | None]) -> int:
    """Return the bytes of a batch that suit all these bounds on its tokens; None and 0 are no bound."""
    return min((each * BYTES_PER_TOKEN for each in tokens if each), default=UNLIMITED_BYTES)


class Clamp:
    """Remembers what each upstream tells and shows of its limits, and changes the capacity accordingly. Thread-safe."""

    def __init__(
        self,
        capacity: Capacity,
        *,
        batch_size: int,
        batches: int,
        batch_tokens: int = 0,
        batch_bytes: int = UNLIMITED_BYTES,
    ) -> None:
        """What the settings say: items of a batch, batches in flight over all upstreams, tokens and bytes of a batch.

        ``batch_tokens``: estimated by bytes; 0: no bound.
        """
        self._capacity = capacity
        self._batch_size = batch_size
        self._batches = batches
        self._batch_tokens = batch_tokens
        self._batch_bytes = batch_bytes
        self._told: dict[str, UpstreamInfo] = {}
        self._caps: dict[str, Caps] = {}
        #: Bytes of the next call to each upstream that its tokens allow.
        self._paced: dict[str, int] = {}
        #: When a cap that was guessed is to be raised; read without the lock.
        self.rises_at = NEVER
        self._logged: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        capacity.change(batch_bytes=most_bytes([batch_tokens]))

    def told(self, url: str, info: UpstreamInfo) -> list[str]:
        """Take into account what one upstream says of itself as it comes up; return what that changes, for the log.

        An upstream that came back with more room gets the settings' batch size again.
        """
        with self._lock:
            self._told[url] = info
            self._caps.pop(url, None)
            return self._adapt()

    def went_away(self, url: str) -> None:
        """Forget what the refusals of an upstream have shown: it may come back as another version."""
        with self._lock:
            if self._caps.pop(url, None) is not None:
                self._adapt()

    def pace(self, url: str, most: int) -> None:
        """Compose no larger batches than an upstream has tokens for: ``most`` bytes, which are rounded down."""
        if most < UNLIMITED_BYTES:
            most -= most % (1 << max(most.bit_length() - PRECISION, 0))
        if self._paced.get(url, UNLIMITED_BYTES) != most:
            with self._lock:
                self._paced[url] = most
                self._adapt()

    def learn(self, url: str, batch: Batch, error: UpstreamError | None, now: float) -> None:
        """Learn from a call that ended at the moment ``now``.

        A refusal for the size of the whole call lowers the capacity at once, and ``error.is_cut`` says so. Words that
        a client may have chosen are not believed.
        """
        if isinstance(error, UpstreamRejected):
            self._refused(url, batch, error, now)
        elif now >= self.rises_at:
            self._rise(now)

    def _refused(self, url: str, batch: Batch, error: UpstreamRejected, now: float) -> None:
        size, count = error.size, len(batch.items)
        if size is None and not error.concerns_length:
            return
        if is_echo(error.words or error.message, batch.items):
            error.concerns_length = False
        elif size is not None and count > 1 and is_believable(count, size):
            total = sum(map(len, batch.items))
            with self._lock:
                self._caps[url] = self._caps.get(url, _NO_CAPS).refused(count, total, size, now)
                changes = self._adapt()
                changes = [each for each in changes if self._is_new(url, each)]
            error.is_cut = True
            for change in changes:
                log.warning("upstream %s refused a call of %d inputs as too large: %s", url, count, change)

    def _rise(self, now: float) -> None:
        with self._lock:
            for url, caps in self._caps.items():
                self._caps[url] = caps.risen(now, self._batch_size, self._batch_bytes)
            changes = self._adapt()
        for change in changes:
            log.debug("no call was too large of late: %s", change)

    def _adapt(self) -> list[str]:
        """Put what is known into the capacity; return what that changes. With the lock held."""
        infos, caps = self._told.values(), self._caps.values()
        batch_size, items = clamped(self._batch_size, infos)
        batch_size = min([batch_size, *(each.items for each in caps)])
        told_tokens = [self._batch_tokens, *(info.max_batch_tokens for info in infos)]
        batch_bytes = min([most_bytes(told_tokens), *(each.size for each in caps), *self._paced.values()])
        self.rises_at = min((each.rises_at for each in caps), default=NEVER)
        capacity = self._capacity
        before = capacity.full_batch_size, capacity.items, capacity.batch_bytes
        changes = []
        if batch_size != before[0]:
            changes.append(f"max_batch_size {before[0]} -> {batch_size}")
        if items != before[1] and items < self._batches * batch_size:
            changes.append(f"items in flight at most {items}")
        if batch_bytes != before[2]:
            most = "no bound of the upstreams'" if batch_bytes == UNLIMITED_BYTES else f"at most {batch_bytes}"
            changes.append(f"bytes of a batch: {most}")
        capacity.change(batch_size=batch_size, items=items, batch_bytes=batch_bytes)
        return changes

    def _is_new(self, url: str, change: str) -> bool:
        """Whether this was not logged before; note that it is logged now. With the lock held."""
        if (url, change) in self._logged:
            return False
        if len(self._logged) >= MOST_LOGGED:
            self._logged.clear()
        self._logged.add((url, change))
        return True
