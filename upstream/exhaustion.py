"""What calls are told while no upstream has calls left, or any quota. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.capacity import Outage
from batching.clock import NOW
from batching.errors import UpstreamError, UpstreamOverloaded
from upstream.outage import PROBE_GRACE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upstream.member import Member


def quota_outage(members: Sequence[Member], now: float) -> Outage | None:
    """Describe the time in which no upstream that works has any quota left; None where one has.

    Calls are answered at once in the words of the upstream that has some again first, and wait only for a call that is
    trying one.
    """
    well = [each for each in members if each.breaker.is_closed]
    if not well or any(each.rations.quota is None for each in well):
        return None
    spent = [(each.rations.quota.until, each.rations.quota) for each in well if each.rations.quota is not None]
    is_tried = any(each.in_flight and until <= now for each, (until, _) in zip(well, spent, strict=True))
    _, soonest = min(spent, key=lambda each: each[0])
    return Outage(now + PROBE_GRACE if is_tried else NOW, soonest, sum(each.in_flight for each in members))


def held_back(member: Member, now: float) -> UpstreamError:
    """Return what a call is told that this upstream may not have yet, where the call cannot wait."""
    if member.rations.quota is not None:
        return member.rations.quota.copy()
    pause = max(1.0, member.opens_at(now) - now)
    return UpstreamOverloaded("the upstream has asked for a pause", retry_after=pause)
