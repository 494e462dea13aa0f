"""Which model each upstream serves, compared over all of them: a list of upstreams is to serve one model."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from batching.outcomes import Source
from formats.bounded import Bounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.key import BatchKey

#: Keys for which the length of vectors is remembered, of each upstream: clients may choose keys.
MAX_REMEMBERED_KEYS = 256


class Identities:
    """What the upstreams say of their models, and how long their vectors are. Thread-safe.

    The first upstream that tells decides which model is served, for as long as it is there; one that differs gets no
    batches. Where the first has gone, the next that tells decides.
    """

    def __init__(self) -> None:
        self._models: dict[str, str] = {}
        self._apis: dict[str, str] = {}
        self._lengths: dict[str, Bounded[BatchKey, int]] = {}
        self._lock = threading.Lock()
        #: Upstreams that have not been compared with the others yet; empty where there is only one.
        self.awaited: set[str] = set()
        self.are_several = False

    def __repr__(self) -> str:
        return f"<Identities {self._models}>"

    def expect(self, urls: Sequence[str]) -> None:
        """These are all upstreams: where there are several, each gets batches once it was looked at."""
        self.are_several = len(set(urls)) > 1
        self.awaited = set(urls) if self.are_several else set()

    def looked_at(self, url: str) -> None:
        """The upstream was compared with the others as far as it has told."""
        self.awaited.discard(url)

    def source(self, url: str, dimension: int | None) -> Source:
        """Return which model gives vectors of ``dimension`` numbers at this upstream."""
        return Source(self._models.get(url), dimension)

    def told(self, url: str, model: str | None) -> None:
        """Note what an upstream says of its model; None if it does not tell."""
        with self._lock:
            if self._models.get(url) == model:
                return  # it keeps its place
            self._models.pop(url, None)
            if model is not None:
                self._models[url] = model

    def speaks(self, url: str, api: str) -> None:
        """Note which API an upstream speaks."""
        with self._lock:
            self._apis[url] = api

    def gone(self, url: str) -> None:
        """Forget an upstream that does not answer any more: it may come back with another model or API."""
        with self._lock:
            self._models.pop(url, None)
            self._apis.pop(url, None)
            self._lengths.pop(url, None)

    def learned(self, url: str, key: BatchKey, dimension: int) -> int | None:
        """Note how long this upstream's vectors are for this key; return another upstream's length if that differs."""
        with self._lock:
            elsewhere = self.length_elsewhere(url, key)
            if elsewhere not in {None, dimension}:
                return elsewhere
            self._lengths.setdefault(url, Bounded(MAX_REMEMBERED_KEYS))[key] = dimension
            return None

    def length_elsewhere(self, url: str, key: BatchKey) -> int | None:
        """Return how long the vectors of the other upstreams are for this key; None if it is not known."""
        return next((of[key] for other, of in self._lengths.copy().items() if other != url and key in of), None)

    def difference(self, url: str) -> str | None:
        """Say how this upstream's API or model differs from that of the first that told; None if it does not."""
        with self._lock:
            first = next(iter(self._apis.items()), None)
            own = self._apis.get(url)
            if first is not None and own not in {None, first[1]}:
                return f"it speaks {own!r}, and {first[0]} speaks {first[1]!r}"
            first = next(iter(self._models.items()), None)
            own = self._models.get(url)
        if first is None or own is None or own == first[1]:
            return None
        return f"it serves {own!r}, and {first[0]} serves {first[1]!r}"
