"""The engine: gathers calls into batches, sends them upstream and hands each client its own results.

It knows nothing of HTTP servers or Flask. ``docs/design.md`` tells how the parts work together.
"""

from batching.batcher import Batcher, Upstream
from batching.call import Batch, BatchKey, Call, Item
from batching.clock import Clock, SystemClock
from batching.errors import ProxyError
from batching.observer import BatchReport, CallReport, Observer
from batching.queue.batch_queue import BatchQueue, Limits
from batching.timing.adaptive import AdaptiveTiming
from batching.timing.rule import FixedTiming, Timing

__all__ = [
    "AdaptiveTiming",
    "Batch",
    "BatchKey",
    "BatchQueue",
    "BatchReport",
    "Batcher",
    "Call",
    "CallReport",
    "Clock",
    "FixedTiming",
    "Item",
    "Limits",
    "Observer",
    "ProxyError",
    "SystemClock",
    "Timing",
    "Upstream",
]
