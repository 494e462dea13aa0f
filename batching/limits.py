"""The bounds of admission and of a batch that the settings give and that never change."""

from __future__ import annotations

from dataclasses import dataclass

from batching.clock import NEVER


@dataclass(frozen=True, slots=True)
class Limits:
    """What the queue holds at most, and what fits into a batch. What upstreams may change is in ``Capacity``."""

    #: Calls admitted at once, and items waiting.
    max_calls: int
    max_queued_items: int
    #: Bytes of the items of a batch.
    max_batch_bytes: int
    #: Bytes of a batch, counted as items x the longest, for an upstream that pads; 0 where it does not.
    max_padded_bytes: int = 0
    #: Seconds after which a call is not passed over any more for calls of a more suitable length.
    max_wait: float = NEVER
    #: Seconds after which a bulk item comes before interactive ones.
    bulk_max_wait: float = NEVER
    #: The factor by which bulk items may lengthen a call that interactive ones wait for.
    bulk_latency_budget: float = 1.8
    #: Whether equal items in a batch, or in flight, are computed once.
    deduplicate: bool = False
