"""The engine: gathers calls into batches, sends them upstream and hands each client its own results.

It knows neither HTTP nor JSON, and loads no library for them. ``docs/design.md`` tells how the parts work together.
"""

from batching.batcher import Batcher
from batching.call import Batch, Call, Item
from batching.capacity import Capacity
from batching.clock import Clock, SystemClock
from batching.errors import ProxyError
from batching.key import BatchKey, Options, Task
from batching.limits import Limits
from batching.observer import BatchReport, CallReport, Observer, Observers, RequestReport
from batching.outcomes import Answer, Outcomes, Result
from batching.queue.batch_queue import BatchQueue
from batching.sender import Sender
from batching.timing.adaptive import AdaptiveTiming
from batching.timing.rule import FixedTiming, Timing

__all__ = [
    "AdaptiveTiming",
    "Answer",
    "Batch",
    "BatchKey",
    "BatchQueue",
    "BatchReport",
    "Batcher",
    "Call",
    "CallReport",
    "Capacity",
    "Clock",
    "FixedTiming",
    "Item",
    "Limits",
    "Observer",
    "Observers",
    "Options",
    "Outcomes",
    "ProxyError",
    "RequestReport",
    "Result",
    "Sender",
    "SystemClock",
    "Task",
    "Timing",
]
