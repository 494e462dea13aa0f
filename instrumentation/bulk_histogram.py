"""A Prometheus histogram that takes the values of a whole batch at once."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence


class BulkHistogram(Histogram):
    """Counts as ``Histogram`` does, with one lock for each bucket that gets values instead of two for each value.

    A batch has up to ``max_batch_size`` values, most of them in one bucket; one by one they took a third of the time
    in which a batch is settled. ``tests/instrumentation/test_bulk_histogram.py`` compares it with its base class, whose
    fields it uses.
    """

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe these values."""
        bounds = self._upper_bounds
        self._sum.inc(sum(amounts))
        for bucket, count in Counter([bisect_left(bounds, amount) for amount in amounts]).items():
            self._buckets[bucket].inc(count)
