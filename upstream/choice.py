"""Which upstream gets the next call: decisions over the members, without a lock or a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upstream.member import Member


def usable(members: Sequence[Member]) -> Sequence[Member]:
    """Return the upstreams that may have batches: those that answer their health check, while one does."""
    if all(each.is_up for each in members):  # nearly always
        return members
    up = [each for each in members if each.is_up]
    return up if any(each.breaker.is_closed for each in up) else members


def due_for_probe(members: Sequence[Member], avoid: Member | None, now: float) -> Member | None:
    """Return an upstream whose probe is due, other than ``avoid``; None if there is none."""
    return next((each for each in usable(members) if each is not avoid and each.wants_probe(now)), None)


def least_busy(members: Sequence[Member], avoid: Member | None, now: float) -> Member | None:
    """Return the upstream for an ordinary call; None where all are ejected.

    It has asked for no pause and has calls left, is not ``avoid``, answers its health check, has room and least to do:
    in this order. Of those equally busy it is the one asked least, which spreads the load also where it is low.
    """
    if len(members) == 1:  # nearly always; a comparison would take a microsecond
        return members[0] if members[0].breaker.is_closed else None
    return min(
        (each for each in members if each.breaker.is_closed),
        key=lambda each: (
            not each.may_have_call(now),
            each is avoid,
            not each.is_up,
            each.in_flight >= each.most_in_flight,
            each.in_flight,
            each.calls,
        ),
        default=None,
    )


def elsewhere(members: Sequence[Member], first: Member, now: float) -> Member | None:
    """Return another upstream than ``first`` that gets calls as usual; None if there is none."""
    return min(
        (
            each
            for each in members
            if each is not first and each.breaker.is_closed and each.is_up and each.may_have_call(now)
        ),
        key=lambda each: (each.in_flight >= each.most_in_flight, each.in_flight, each.calls),
        default=None,
    )
