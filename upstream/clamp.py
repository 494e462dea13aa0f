"""Keeps the capacity within what the upstreams say of themselves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batching.capacity import Capacity
    from upstream.dialects.dialect import UpstreamInfo

#: Items in flight over all batches, where no upstream tells how many it takes.
UNLIMITED_ITEMS = 1_000_000


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


class Clamp:
    """Remembers what each upstream has told so far, and changes the capacity accordingly. Thread-safe."""

    def __init__(self, capacity: Capacity, *, batch_size: int, batches: int) -> None:
        """``batch_size`` and ``batches`` (in flight over all upstreams) are what the settings say."""
        self._capacity = capacity
        self._batch_size = batch_size
        self._batches = batches
        self._told: dict[str, UpstreamInfo] = {}
        self._lock = threading.Lock()

    def told(self, url: str, info: UpstreamInfo) -> list[str]:
        """Take into account what one upstream says of itself; return what that changes, for the log.

        An upstream that came back with more room gets the settings' batch size again.
        """
        with self._lock:
            self._told[url] = info
            batch_size, items = clamped(self._batch_size, self._told.values())
            before = self._capacity.full_batch_size, self._capacity.items
            changes = []
            if batch_size != before[0]:
                changes.append(f"max_batch_size {before[0]} -> {batch_size}")
            if items != before[1] and items < self._batches * batch_size:
                changes.append(f"items in flight at most {items}")
            self._capacity.change(batch_size=batch_size, items=items)
            return changes
