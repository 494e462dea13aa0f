"""The engine: gathers calls into batches, sends them upstream and hands each client its own results.

It knows nothing of HTTP servers or Flask. ``docs/design.md`` tells how the parts work together.
"""

from batching.adaptive import AdaptiveTiming
from batching.batch_queue import BatchQueue, Limits
from batching.batcher import Batcher, Upstream
from batching.call import Batch, BatchKey, Call, Item
from batching.clock import Clock, SystemClock
from batching.errors import ProxyError
from batching.monitor import Clamp, Fleet, UpstreamMonitor
from batching.observer import BatchReport, CallReport, Observer
from batching.pool import UpstreamPool
from batching.timing import FixedTiming, Timing
from batching.upstream import UpstreamClient, UpstreamInfo

__all__ = [
    "AdaptiveTiming",
    "Batch",
    "BatchKey",
    "BatchQueue",
    "BatchReport",
    "Batcher",
    "Call",
    "CallReport",
    "Clamp",
    "Clock",
    "FixedTiming",
    "Fleet",
    "Item",
    "Limits",
    "Observer",
    "ProxyError",
    "SystemClock",
    "Timing",
    "Upstream",
    "UpstreamClient",
    "UpstreamInfo",
    "UpstreamMonitor",
    "UpstreamPool",
]
