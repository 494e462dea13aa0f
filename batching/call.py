"""One client's request on its way through the engine, and the batches it travels in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batching.errors import ProxyError

#: The JSON of one input, exactly as it will stand in the upstream's request.
Item = bytes


#: The reason of a call that searches a refused batch for the guilty input.
ISOLATION = "isolation"


class BatchKey(NamedTuple):
    """What items must have in common to share a batch: the route and every option that changes the result."""

    route: str
    #: The options as JSON members behind the items (``b',"normalize":false'``), in a canonical order.
    options: bytes = b""
    #: Whether each item is to travel by itself: one of them is suspected of having spoilt a batch.
    alone: bool = False

    @property
    def apart(self) -> BatchKey:
        """The same for items that travel alone."""
        return self._replace(alone=True)

    @property
    def together(self) -> BatchKey:
        """The same for items that travel with others."""
        return self._replace(alone=False) if self.alone else self


class Call:
    """One client's request: its items in order, one event, one deadline.

    The queue's lock guards every field but the event. A call ends exactly once, by ``results``,
    or by ``error``; whatever comes later finds ``done`` set and is discarded.
    """

    __slots__ = (
        "arrived",
        "batch_size",
        "deadline",
        "done",
        "error",
        "event",
        "follower",
        "inference_time",
        "is_gone",
        "items",
        "key",
        "missing",
        "queue_delay",
        "reason",
        "results",
        "taken",
    )

    def __init__(
        self,
        items: Sequence[Item],
        key: BatchKey,
        deadline: float,
        is_gone: Callable[[], bool] | None = None,
    ) -> None:
        """``deadline``: a moment on the engine's clock. ``is_gone``: whether the client has hung up."""
        if not items:
            raise ValueError("a call has at least one item")
        self.items = items
        self.key = key
        self.deadline = deadline
        self.is_gone = is_gone
        self.event = threading.Event()
        self.arrived = 0.0
        #: Items already handed to a batch; the rest still wait in the queue.
        self.taken = 0
        #: Items whose results have not come yet.
        self.missing = len(items)
        self.results: list[bytes] = []
        self.error: ProxyError | None = None
        self.done = False
        #: Whose waiter this call's waiter wakes in turn (``relay``).
        self.follower: Call | None = None
        # About the batch that ended the call, for the response headers.
        self.batch_size = 0
        self.reason = ""
        self.queue_delay = 0.0
        self.inference_time = 0.0


class Part(NamedTuple):
    """Consecutive items of one call inside a batch: ``call.items[start:stop]``."""

    call: Call
    start: int
    stop: int


class Batch:
    """Items of one key that travel upstream together, in the order of their parts."""

    __slots__ = ("deadline", "items", "key", "owner", "parts", "reason", "smooth", "taken_at")

    def __init__(self, key: BatchKey, reason: str, taken_at: float) -> None:
        self.key = key
        self.reason = reason
        self.taken_at = taken_at
        self.items: list[Item] = []
        self.parts: list[Part] = []
        #: The latest deadline of its calls: after that nobody waits for an answer.
        self.deadline = taken_at
        #: Whether it took as long as the upstream needs: no, once it has been held or sent again.
        self.smooth = True
        #: Identity of the thread that carries it.
        self.owner = threading.get_ident()

    def add(self, call: Call, stop: int) -> None:
        """Append the call's items up to ``stop``."""
        start = call.taken
        self.parts.append(Part(call, start, stop))
        self.items.extend(call.items[start:stop])
        self.deadline = max(self.deadline, call.deadline)

    def part(self, start: int, stop: int) -> Batch:
        """Return a batch of only these items. It carries nobody's calls: the whole does."""
        part = Batch(self.key, ISOLATION, self.taken_at)
        part.items = self.items[start:stop]
        part.deadline = self.deadline
        return part
