"""The one verb down the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from batching.call import Batch
    from batching.outcomes import Answer


class Sender(Protocol):
    """Makes one upstream call of a batch: the pool of upstreams, one endpoint, and the fakes of the tests."""

    def send(self, batch: Batch) -> Answer:
        """Return one result for each item, in order; raises a ``ProxyError``."""
        ...
