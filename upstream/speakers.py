"""Knows which API the upstreams speak: fits keys to it, and waits where none has answered yet."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from batching.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Item
    from batching.clock import Clock
    from batching.key import BatchKey
    from upstream.dialects.dialect import UpstreamInfo
    from upstream.endpoint import AnyEndpoint


class Speakers:
    """The endpoints of all upstreams, which serve the same model by the same API. Any thread."""

    def __init__(self, endpoints: Sequence[AnyEndpoint], clock: Clock, wait: float) -> None:
        """``wait``: seconds for which threads wait for an endpoint whose dialect is known, from when there is none."""
        self._endpoints = endpoints
        self._clock = clock
        self._wait = wait
        self._one: AnyEndpoint | None = None
        self._has_one = threading.Event()
        #: Since when none is known.
        self._since = clock.now()
        self.look()

    def __repr__(self) -> str:
        return f"<Speakers {[each.speaks or 'unknown' for each in self._endpoints]}>"

    def look(self) -> None:
        """Note which endpoint knows its dialect: it may have been found out."""
        knew = self._one is not None
        self._one = next((each for each in self._endpoints if each.speaks), None)
        if knew and self._one is None:
            self._since = self._clock.now()
        if self._one is not None:
            self._has_one.set()
        else:
            self._has_one.clear()

    def one(self, deadline: float) -> AnyEndpoint:
        """Return an endpoint whose dialect is known, once there is one or the wait for it is over.

        Raises ``DeadlineExceeded`` where the ``deadline`` (a moment on the clock) comes before.
        """
        if self._one is None:
            now = self._clock.now()
            ends_at = min(self._since + self._wait, deadline)
            if ends_at > now:
                self._clock.wait_for(self._has_one, ends_at - now)
            if self._one is None and self._clock.now() >= deadline:
                raise DeadlineExceeded("the upstream had not answered when the deadline passed")
        return self._one or self._endpoints[0]

    def fit(self, key: BatchKey, items: Sequence[Item], deadline: float) -> BatchKey:
        """Return the key under which the upstreams do it.

        Raises ``Unsupported`` if they cannot, ``UpstreamUnavailable`` where none has answered after the wait, and
        ``DeadlineExceeded`` where the ``deadline`` comes before.
        """
        return (self._one or self.one(deadline)).fit(key, items)

    @property
    def known(self) -> tuple[str, UpstreamInfo | None]:
        """The API that they speak, empty if it is not known, and what the first that told says of itself."""
        told = next((each.known for each in self._endpoints if each.speaks and each.known is not None), None)
        return (self._one.speaks if self._one is not None else ""), told
