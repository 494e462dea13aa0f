"""What failures and successes say together: whether one input explains the failures, or the upstream must."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batching.call import Item

#: Sets of inputs that are kept: more than any threshold that is compared with their number.
MOST_SETS = 16
#: Seconds before and after a verdict within which the upstream has to accept other inputs for the verdict to count.
WITNESSED_WITHIN = 2.0
#: Seconds for which successes are remembered: longer than any verdict holds.
MEMORY = 64


class DistinctFailures:
    """Counts failures in a row that no common input explains. Not thread-safe.

    Calls that fail with the text x among their inputs may all fail because of x. So a failure counts only if its inputs
    are disjoint from those of every failure counted before: the count is a lower bound of how many inputs must be bad
    if inputs are the cause (a packing of disjoint sets, which bounds the smallest hitting set from below). A part of a
    failed call that fails by itself takes the place of the whole, for it says more.
    """

    def __init__(self) -> None:
        self._sets: list[frozenset[int]] = []
        #: Failures that had nothing to do with inputs, for none had been sent.
        self._others = 0
        #: Failed calls since the last success, whatever their inputs.
        self.calls = 0

    def __repr__(self) -> str:
        return f"<DistinctFailures {self.count}>"

    @property
    def count(self) -> int:
        """How many different causes the failures since the last success need at least, if inputs are the cause."""
        return len(self._sets) + self._others

    def count_with(self, inputs: Iterable[Item]) -> int:
        """Return what ``count`` would be after a failed call with these inputs."""
        failed = frozenset(map(hash, inputs))
        return self.count + all(known.isdisjoint(failed) for known in self._sets)

    def add(self, inputs: Iterable[Item]) -> None:
        """Count a failed call with these inputs."""
        self.calls += 1
        failed = frozenset(map(hash, inputs))
        shared = [at for at, known in enumerate(self._sets) if not known.isdisjoint(failed)]
        if not shared:
            if len(self._sets) < MOST_SETS:
                self._sets.append(failed)
        elif len(shared) == 1 and failed < self._sets[shared[0]]:
            self._sets[shared[0]] = failed

    def add_other(self) -> None:
        """Count a failure that came before any input was sent."""
        self.calls += 1
        self._others = min(self._others + 1, MOST_SETS)

    def clear(self) -> None:
        """A call succeeded."""
        if self.calls:
            self._sets.clear()
            self._others = self.calls = 0


class Record:
    """What the upstream calls of late came to: when some succeeded, and how many have failed since.

    Thread-safe: each change is one operation, and a failure that is lost to a race is one too few.
    """

    def __init__(self) -> None:
        self._seconds: deque[int] = deque(maxlen=MEMORY)
        #: Calls that failed since the last one that succeeded.
        self.failures = 0

    def __repr__(self) -> str:
        last = self._seconds[-1] if self._seconds else None
        return f"<Record: last success in second {last}, {self.failures} failures since>"

    def succeeded(self, now: float) -> None:
        """Note that a call succeeded at the moment ``now``."""
        self.failures = 0
        second = int(now)
        if not self._seconds or self._seconds[-1] != second:
            self._seconds.append(second)

    def failed(self) -> None:
        """Note that a call failed in a way that one of its inputs may have caused."""
        self.failures += 1

    def succeeded_near(self, moment: float) -> bool:
        """Whether a call succeeded within ``WITNESSED_WITHIN`` seconds before or after ``moment`` (to the second)."""
        first, last = int(moment - WITNESSED_WITHIN), int(moment + WITNESSED_WITHIN)
        return any(first <= second <= last for second in self._seconds.copy())
