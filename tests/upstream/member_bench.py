"""A member of a pool, and calls that begin and end at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching import Batch
from batching.call import Part
from batching.errors import UpstreamError, UpstreamFailed
from tests.support.fakes import KEY, FakeUpstream, call_of
from upstream.member import Member

if TYPE_CHECKING:
    from batching.capacity import Slots

THREW = UpstreamFailed("500")
#: Batches that it takes at once.
MOST = 4


def batch_of(*texts: str) -> Batch:
    batch = Batch(KEY, "full", 0.0)
    batch.add(Part(call_of(*texts), 0, len(texts)))
    return batch


class MemberBench:
    """A member, and calls that begin and end at it, each with an input of its own unless texts are given."""

    def __init__(self, *, has_others: bool = False, timeout: float = 30.0) -> None:
        upstream = FakeUpstream()
        upstream.timeout = timeout
        self.member = Member(upstream, MOST, has_others=has_others)
        self._number = 0

    def end(self, error: UpstreamError | None, *texts: str, began: float = 0.0, now: float = 0.0) -> bool:
        """Let a call end; return whether that ejects the upstream."""
        self._number += 1
        self.member.in_flight += 1
        return self.member.ended(batch_of(*texts or (f"text {self._number}",)), error, began, now)

    def witness(self, error: UpstreamError, *texts: str) -> Batch | None:
        self._number += 1
        return self.member.witness(batch_of(*texts or (f"text {self._number}",)), error, 0.0)

    def fail(self, times: int, error: UpstreamError = THREW) -> None:
        for _ in range(times):
            self.end(error)

    @property
    def slots(self) -> list[Slots]:
        return list(self.member.slots(0.0))
