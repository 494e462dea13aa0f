"""What goes into a batch for an upstream that pads: inputs of similar length, for each costs as much as the longest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batching.call import Call


def by_likeness(calls: Iterable[Call], overdue: float) -> list[Call]:
    """Order waiting calls, oldest first, for a batch that has not room for all of them.

    The oldest goes in any case, then the calls that arrived at ``overdue`` or before, then those whose longest input is
    of a length most like the oldest's. A call that was passed over for the time until it is overdue goes first.
    """
    head, *others = calls
    length = _length(head)
    return [head, *sorted(others, key=lambda call: -1 if call.arrived <= overdue else abs(_length(call) - length))]


def by_age(calls: Iterable[Call]) -> list[Call]:
    """Put what is left back into the order of arrival."""
    return sorted(calls, key=lambda call: call.arrived)


def _length(call: Call) -> int:
    return max(map(len, call.items))
