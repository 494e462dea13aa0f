"""Notices a member of clients' own that is different in each request, and so keeps them from sharing a batch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Different values of a member after which its requests hardly share batches: one for each item of a usual batch.
MOST_VALUES = 32
#: Names that are watched at once, and names that are told of in all.
MOST_NAMES = 64


class MemberWatch:
    """Counts the different values of each member that no API knows. Thread-safe; bounded, whatever clients send.

    Of a value only its hash is kept. Where more names come than are watched, the one that was seen first is forgotten.
    """

    def __init__(self, most_values: int = MOST_VALUES, most_names: int = MOST_NAMES) -> None:
        self._most_values = most_values
        self._most_names = most_names
        self._values: dict[str, set[int]] = {}
        self._told: set[str] = set()
        self._lock = threading.Lock()

    def see(self, members: Iterable[tuple[str, bytes]]) -> list[str]:
        """Note the members of a request; return those names that have just had more values than ``most_values``.

        A name is returned once. ``members``: names and values, as ``Options.more`` has them.
        """
        if len(self._told) >= self._most_names:
            return []
        with self._lock:
            return [name for name, value in members if name not in self._told and self._is_one_more(name, value)]

    def _is_one_more(self, name: str, value: bytes) -> bool:
        """Note a value; return whether it is the one that is too many. The lock is held."""
        values = self._values.get(name)
        if values is None:
            if len(self._values) >= self._most_names:
                del self._values[next(iter(self._values))]
            values = self._values[name] = set()
        values.add(hash(value))
        if len(values) <= self._most_values:
            return False
        del self._values[name]
        self._told.add(name)
        return True
