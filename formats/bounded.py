"""A mapping of bounded size that forgets its oldest entry first."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(dict[K, V], Generic[K, V]):
    """A dictionary that holds ``most`` entries: where clients choose the keys, their number has to end.

    Looking up is a plain dictionary's. Setting is thread-safe.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._lock = threading.Lock()

    def __setitem__(self, key: K, value: V) -> None:
        with self._lock:
            if key not in self and len(self) >= self._most:
                del self[next(iter(self))]
            super().__setitem__(key, value)
