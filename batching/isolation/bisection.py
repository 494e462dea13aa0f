"""Finds the bad inputs of a refused batch: which group to ask about next, and what the answers say.

Decisions only: the caller asks the upstream and tells ``Bisection`` the answers. It is binary splitting for group
testing (Hwang 1972, "A method for detecting all defective members in a population by group testing"): a search finds
the first bad input and clears the inputs before it. Of the inputs behind it nothing has been learned; they go back to
the queue, to be tested with others again. Inputs that cannot go back are asked about too, the largest group first, so
that after few calls few are left in doubt.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Group(NamedTuple):
    """The inputs ``start`` to ``stop`` of the batch."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


def most_calls(size: int) -> int:
    """Return how many calls a refused batch of ``size`` inputs may cost at most, beyond the one that was refused."""
    return 2 * math.ceil(math.log2(size)) + 4


class Bisection:
    """The search through one refused batch. Ask ``next``, then say ``clean``, ``refused`` or stop asking."""

    def __init__(self, size: int, *, blames_one: bool, may_return: Callable[[Group], bool]) -> None:
        """``blames_one``: whether an input is to blame, so that one of two halves is bad; else both may be clean.

        ``may_return``: whether a group of which nothing has been learned can be tested with others again.
        """
        self._blames_one = blames_one
        self._may_return = may_return
        self._untested: list[tuple[int, Group]] = []
        #: The other half of a split group whose first half has not been judged yet, by that half.
        self._siblings: dict[Group, Group] = {}
        #: Groups not tested: a bad input was found elsewhere, so they go back to the queue.
        self.returned: list[Group] = []
        self._split(Group(0, size))

    def next(self) -> Group | None:
        """Return the group to ask about; None when every input has been judged or returned."""
        return heapq.heappop(self._untested)[1] if self._untested else None

    def clean(self, group: Group) -> None:
        """The upstream took the group: if an input is to blame, it is in the other half."""
        other = self._siblings.pop(group, None)
        if other is None:
            return
        if self._blames_one and other.size > 1:
            self._split(other)
        else:
            self._push(other)

    def refused(self, group: Group) -> None:
        """The upstream refused the group. One input by itself is bad; a larger group is searched."""
        if (other := self._siblings.pop(group, None)) is not None:
            if self._blames_one and self._may_return(other):
                self.returned.append(other)
            else:
                self._push(other)
        if group.size > 1:
            self._split(group)

    def unresolved(self) -> list[Group]:
        """Return the groups that were neither tested nor returned."""
        return sorted([group for _, group in self._untested] + list(self._siblings.values()))

    def _split(self, group: Group) -> None:
        middle = group.start + (group.size + 1) // 2
        first, second = Group(group.start, middle), Group(middle, group.stop)
        self._siblings[first] = second
        self._push(first)

    def _push(self, group: Group) -> None:
        heapq.heappush(self._untested, (-group.size, group))
