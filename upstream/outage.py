"""What calls are told, and how long they wait, while no upstream takes batches. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.capacity import Outage
from batching.clock import NOW
from batching.errors import NoUpstream, UpstreamFailed
from upstream.breaker import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upstream.member import Member

#: Where one upstream is being tried, calls wait so long (s) for it to answer.
PROBE_GRACE = 1.0


def outage_of(members: Sequence[Member], since: float, wait: float, now: float) -> Outage:
    """Describe the time in which all are ejected, which began at ``since``.

    At its beginning calls wait ``wait`` seconds for upstreams that cannot be reached. Where upstreams answer and every
    call fails, or after that time, they wait only for a probe that is under way.
    """
    trying = [each.probed_at for each in members if each.breaker.state is State.HALF_OPEN]
    ends_at = max(trying) + PROBE_GRACE if trying else NOW
    if not all(each.answers_badly for each in members):
        ends_at = max(ends_at, since + wait)
    return Outage(ends_at, no_upstream(members, now), sum(each.in_flight for each in members))


def no_upstream(members: Sequence[Member], now: float) -> NoUpstream:
    """Return what a call is told where all are ejected."""
    soonest = min(each.probe_due for each in members)
    text, status = "no upstream answers at present", 503
    if all(each.answers_badly for each in members):
        error = members[0].last_error
        # Of a failure its kind: the words may quote an input. Of a mistake our own words: it may name an address.
        why = error.reason if isinstance(error, UpstreamFailed) else str(error)
        text, status = f"every call to the upstream fails at present: {why}", 502
    return NoUpstream(text, retry_after=max(1.0, soonest - now), status=status)
