"""Who asks, and how urgently: the class and the flow of a call."""

from __future__ import annotations

from typing import NamedTuple


class Flow:
    """The calls of one client or group of clients, which share the upstreams with other flows by weight.

    The queue's lock guards ``calls``.
    """

    __slots__ = ("calls", "most_calls", "name", "weight")

    def __init__(self, name: str, *, weight: int = 1, most_calls: int | None = None) -> None:
        """``weight``: its part beside those of other flows. ``most_calls``: calls admitted at once; None: no cap."""
        self.name = name
        self.weight = weight
        self.most_calls = most_calls
        #: Calls that were admitted and have not ended.
        self.calls = 0

    def __repr__(self) -> str:
        cap = "" if self.most_calls is None else f" of {self.most_calls}"
        return f"<Flow {self.name}: weight {self.weight}, {self.calls}{cap} calls>"


class Rank(NamedTuple):
    """How a call stands beside others."""

    #: Whether it waits for what interactive calls leave; else it is interactive.
    is_bulk: bool = False
    #: None: the one flow of all calls that have none of their own.
    flow: Flow | None = None
    #: Seconds that it may be held back for a fuller batch; None: as long as the rule holds calls back.
    max_wait: float | None = None


#: An interactive call of no flow of its own.
ORDINARY = Rank()
