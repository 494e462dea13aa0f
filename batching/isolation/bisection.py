"""Finds the guilty inputs of a refused batch: which group to ask about next, and what the answers say.

Decisions only: whoever asks the upstream tells ``Bisection`` the answers. It is binary splitting for group testing
(Hwang 1972, "A method for detecting all defective members in a population by group testing"): a search finds the first
guilty input and clears those before it. Of those behind it nothing has been learned; they are returned, to be tested
with others again. Those that cannot return are asked about too, the largest group first, so that after few calls few
are left in doubt.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


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
    each batch: a batch of n is refused with probability 1 - (1 - share)^n, to find its first guilty input takes log2 n
    calls, and every other time one more, for the verdict on an input that was convicted by elimination.
    """
    size = most
    while size > 1 and (1.0 - (1.0 - guilty_share) ** size) * (math.log2(size) + 0.5) > 1.0:
        size = (size + 1) // 2
    return size


class Bisection:
    """The search through one refused batch. Ask ``next``, then say ``clean``, ``refused`` or stop asking."""

    def __init__(self, size: int, *, blames_one: bool, may_return: Callable[[Group], bool]) -> None:
        """``blames_one``: whether an input is to blame, so that of two halves one is guilty; else both may be clean.

        ``may_return``: whether a group of which nothing has been learned can be tested with others again.
        """
        self._blames_one = blames_one
        self._may_return = may_return
        self._untested: list[tuple[int, Group]] = []
        #: The other half of a split group whose first half has not been judged yet, by that half.
        self._siblings: dict[Group, Group] = {}
        #: Groups that are as good as never asked about: another one explains the refusal.
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
        """The upstream refused the group. One input alone is guilty; a larger group is searched."""
        if (other := self._siblings.pop(group, None)) is not None:
            if self._blames_one and self._may_return(other):
                self.returned.append(other)
            else:
                self._push(other)
        if group.size > 1:
            self._split(group)

    def unresolved(self) -> list[Group]:
        """Return the groups that nobody has asked about and that were not returned."""
        return sorted([group for _, group in self._untested] + list(self._siblings.values()))

    def _split(self, group: Group) -> None:
        middle = group.start + (group.size + 1) // 2
        first, second = Group(group.start, middle), Group(middle, group.stop)
        self._siblings[first] = second
        self._push(first)

    def _push(self, group: Group) -> None:
        heapq.heappush(self._untested, (-group.size, group))
