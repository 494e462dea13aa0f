"""A simulated hosted upstream: servers behind an account with rate limits, and the real governor that paces its calls.

The account judges a call as it leaves. Pacing is the production code below the pool, which has threads: what leaves is
reserved, each reply tells what is left, and the queue's slots follow from that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batching.capacity import Slots
from batching.clock import NOW
from batching.outcomes import Outcomes
from benchmarks.rate_limits import Account
from benchmarks.simulate import NETWORK, Servers
from upstream.busy import Busy, RateLimited
from upstream.governor import Governor
from upstream.rate_headers import read
from upstream.rations import Rations

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching.call import Batch
    from batching.capacity import Capacity
    from benchmarks.rate_limits import Rates, Refusal
    from benchmarks.simulate import Upstream, World
    from upstream.rate_headers import RateLimits

#: Bytes of a text that the server counts as one token, beyond what each text costs.
_BYTES_PER_TOKEN, _TOKENS_PER_TEXT = 4, 3


class AccountOf(NamedTuple):
    """A hosted upstream's account, and what the proxy knows of it."""

    rates: Rates
    #: Calls and tokens a minute by the settings; 0: none.
    told: tuple[int, int] = (0, 0)
    #: Whether the governor paces the calls; else clients get the upstream's 429.
    is_paced: bool = True
    #: Items of one call at most.
    batch_size: int = 512


class Hosted:
    """The upstream of one simulated proxy. ``settle`` is called with each batch that is back, and what became of it."""

    def __init__(
        self,
        upstream: Upstream,
        world: World,
        capacity: Capacity,
        of: AccountOf,
        settle: Callable[[Batch, Outcomes], None],
    ) -> None:
        self.account = Account(of.rates)
        self._world = world
        self._capacity = capacity
        self._room = capacity.batches(0.0)
        self._settle = settle
        self._is_paced = of.is_paced
        self._servers = Servers(upstream, world, 1, self._answered)
        self._rations = Rations()
        if any(of.told):
            self._rations.govern(Governor(0.0, calls_per_minute=of.told[0], tokens_per_minute=of.told[1]))
        #: The calls under way, with the tokens of each and what the account told when it judged it.
        self._under_way: dict[Batch, tuple[int, RateLimits | None]] = {}

    def send(self, batch: Batch) -> None:
        """Let a batch leave now."""
        now = self._world.now()
        tokens = sum(_TOKENS_PER_TEXT + (len(item) - 2) // _BYTES_PER_TOKEN for item in batch.items)
        refusal = self.account.ask(tokens, len(self._under_way), now)
        headers = dict(line.split(": ") for line in self.account.headers(now).decode().splitlines())
        self._under_way[batch] = tokens, read(headers)
        self._rations.leaves(batch, now)
        self._adapt(now)
        if refusal is None:
            self._servers.send(batch)
        else:
            self._world.at(now + 2 * NETWORK, self._refused, batch, refusal)

    def _answered(self, batch: Batch) -> None:
        self._end(batch, None)
        self._settle(batch, Outcomes.results([b"[]"] * len(batch.items)))

    def _refused(self, batch: Batch, refusal: Refusal) -> None:
        told = dict(line.split(": ") for line in refusal.headers.decode().splitlines())
        pause = float(told.get("retry-after-ms", 0.0)) / 1000
        error = RateLimited(Busy(refusal.kind), retry_after=pause or None, pause=pause)
        self._end(batch, error)
        count = len(batch.items)
        self._settle(batch, Outcomes.again(error, count, None) if self._is_paced else Outcomes.failed(error, count))

    def _end(self, batch: Batch, error: RateLimited | None) -> None:
        """Let the governor learn from a reply."""
        now = self._world.now()
        tokens, limits = self._under_way.pop(batch)
        if not self._is_paced:
            return
        if limits is not None:
            self._rations.told(batch, limits, now)
        self._rations.ended(batch, error, batch.taken_at, now, tokens=tokens if error is None else None)
        self._adapt(now)

    def _adapt(self, now: float) -> None:
        """Let the queue give out what the limits leave, as the pool does."""
        if self._rations.are_limited:
            in_flight = len(self._under_way)
            room = max(self._room - in_flight, 0)
            slots = [Slots(NOW, in_flight), *self._rations.slots(NOW, room, in_flight, now)]
            self._capacity.change(slots=slots, batch_bytes=self._rations.most_bytes(room, now))
