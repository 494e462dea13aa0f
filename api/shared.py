"""One value that is costly to make, shared by all who ask for it at about the same time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

#: Values of different keys that are kept. All are let go together.
MOST_KEYS = 8


class Made(NamedTuple, Generic[T]):
    """What came of making a value: the value, or why there is none; and when it was begun (monotonic seconds)."""

    value: T | None
    problem: Exception | None
    began: float

    def get(self) -> T:
        """Return the value or raise the problem."""
        if self.problem is not None:
            raise self.problem
        return self.value  # type: ignore[return-value]


class Shared(Generic[T]):
    """Makes values ``rate`` times a second at most, ``burst`` at once after a while without; one thread at a time.

    Who asks meanwhile gets the last one, which is ``1 / rate`` seconds old at most, or the one that is being made.
    A failure to make one is shared like a value. Any thread.
    """

    def __init__(self, *, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        #: How many may be made now, as of the moment beside it.
        self._left, self._looked = float(burst), clock()
        self._made: dict[Hashable, Made[T]] = {}
        self._making = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value for a key, made by ``make`` if none is young enough; raises what ``make`` raises."""
        asked = self._clock()
        if (made := self._made.get(key)) is not None and self._is_young(made, asked):
            return made.get()
        with self._making:
            made = self._made.get(key)
            # Another thread may have begun to make one since this one asked.
            if made is None or (made.began < asked and not self._is_young(made, asked)):
                made = self._make(key, make)
        return made.get()

    def _is_young(self, made: Made[T], now: float) -> bool:
        """Return whether it is to do: it is younger than the time for one, and no other may be made now."""
        return now - made.began < 1 / self._rate and self._may_make(now) < 1

    def _may_make(self, now: float) -> float:
        return min(float(self._burst), self._left + (now - self._looked) * self._rate)

    def _make(self, key: Hashable, make: Callable[[], T]) -> Made[T]:
        now = self._clock()
        self._left, self._looked = max(0.0, self._may_make(now) - 1), now
        try:
            made = Made(make(), None, now)
        except Exception as problem:  # noqa: BLE001 - shared, and raised by each get
            made = Made(None, problem, now)
        if key not in self._made and len(self._made) >= MOST_KEYS:
            self._made.clear()
        self._made[key] = made
        return made
