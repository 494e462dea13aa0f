"""Finds the guilty inputs of a refused batch: which group to ask about next, and what the answers say.

Decisions only: whoever asks the upstream tells ``Bisection`` the answers. It is binary splitting for group
testing (Hwang 1972, "A method for detecting all defective members in a population by group testing"), with
the largest group first, so that after few calls few inputs are left in doubt.
"""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple


class Group(NamedTuple):
    """The inputs ``start`` to ``stop`` of the batch, and whether one of them is known to be guilty."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


def most_calls(size: int) -> int:
    """Return how many calls a refused batch of ``size`` inputs may cost at most, beyond the one that was refused."""
    return 2 * math.ceil(math.log2(size)) + 4


def group_size(guilty_share: float, most: int) -> int:
    """Return the batch size that suits inputs of which this share is guilty: ``most`` where hardly any is.

    Among the halves of ``most`` it is the largest whose isolation is expected to cost less than one extra call for
    each batch: a refused batch of n costs some 2·log2 n calls, and is refused with probability 1 - (1 - share)^n.
    """
    size = most
    while size > 1 and (1.0 - (1.0 - guilty_share) ** size) * 2 * math.log2(size) > 1.0:
        size = (size + 1) // 2
    return size


class Bisection:
    """The search through one refused batch. Ask ``next``, then say ``clean``, ``refused`` or stop asking."""

    def __init__(self, size: int) -> None:
        self._untested: list[tuple[int, Group]] = []
        #: The other half of a split group whose first half has not been judged yet, by that half.
        self._siblings: dict[Group, Group] = {}
        self._split(Group(0, size))

    def next(self) -> Group | None:
        """Return the group to ask about; None when every input has been judged."""
        return heapq.heappop(self._untested)[1] if self._untested else None

    def clean(self, group: Group, *, implies_other: bool) -> None:
        """The upstream took the group. ``implies_other``: then its refused whole owes its refusal to the other half."""
        other = self._siblings.pop(group, None)
        if other is None:
            return
        if implies_other and other.size > 1:
            self._split(other)
        else:
            self._push(other)

    def refused(self, group: Group) -> None:
        """The upstream refused the group. One input alone is guilty; a larger group is searched."""
        if (other := self._siblings.pop(group, None)) is not None:
            self._push(other)
        if group.size > 1:
            self._split(group)

    def unresolved(self) -> list[Group]:
        """Return the groups that nobody has asked about."""
        return sorted([group for _, group in self._untested] + list(self._siblings.values()))

    def _split(self, group: Group) -> None:
        middle = group.start + (group.size + 1) // 2
        first, second = Group(group.start, middle), Group(middle, group.stop)
        self._siblings[first] = second
        self._push(first)

    def _push(self, group: Group) -> None:
        heapq.heappush(self._untested, (-group.size, group))
