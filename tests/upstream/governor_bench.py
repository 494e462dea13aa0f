"""Proxies that share a simulated account: each has clients that ask again once answered, and the real governor."""

from __future__ import annotations

import heapq
import itertools
import random
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.rate_limits import Account, Rates
from upstream.busy import Busy
from upstream.governor import Governor
from upstream.rate_headers import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from upstream.rate_headers import RateLimits

#: Calls that each proxy has under way at once, and items that one holds.
ROOM, LARGEST = 4, 64
#: Seconds of a call, on the average.
LATENCY = 0.03


class Proxy:
    """One replica: its governor, and the moments at which its waiting texts arrived."""

    def __init__(self, governor: Governor) -> None:
        self.governor = governor
        self.waiting: list[float] = []
        self.under_way = 0
        self.wakes_at = 0.0


class Bench:
    """Simulated time in which ``replicas`` proxies spend from one account."""

    def __init__(
        self,
        rates: Rates,
        *,
        replicas: int = 1,
        clients: int = 40,
        size: int = 40,
        settings: tuple[int, int] = (0, 0),
        think: float = 0.002,
        seed: int = 1,
    ) -> None:
        """``size``: bytes of a text. ``settings``: calls and tokens a minute that the proxies are told."""
        self.account = Account(rates)
        self.now = 0.0
        self.sizes: list[int] = []
        self.waits: list[float] = []
        #: Moments and tokens of the calls that were admitted.
        self.admitted: list[tuple[float, int]] = []
        self._size, self._think = size, think
        self._chance = random.Random(seed)
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        calls, tokens = settings
        self.proxies = [Proxy(Governor(0.0, calls_per_minute=calls, tokens_per_minute=tokens)) for _ in range(replicas)]
        for number in range(clients):
            proxy = self.proxies[number % replicas]
            self._at(self._chance.random() * 0.1, partial(self._arrive, proxy))

    def run(self, until: float) -> Bench:
        while self._events and self._events[0][0] <= until:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = until
        return self

    @property
    def refused(self) -> int:
        return sum(self.account.refused.values())

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), action))

    def _arrive(self, proxy: Proxy) -> None:
        proxy.waiting.append(self.now)
        self._pump(proxy)

    def _pump(self, proxy: Proxy) -> None:
        while proxy.waiting and proxy.under_way < ROOM:
            opens = proxy.governor.openings(self.now, ROOM - proxy.under_way)
            if not opens.now:
                if proxy.wakes_at <= self.now:
                    proxy.wakes_at = opens.next_at
                    self._at(opens.next_at, lambda: self._pump(proxy))
                return
            if proxy.under_way and len(proxy.waiting) < LARGEST / 2:
                return
            count = min(LARGEST, len(proxy.waiting), max(1, opens.most_bytes // self._size))
            self._send(proxy, [proxy.waiting.pop(0) for _ in range(count)])

    def _send(self, proxy: Proxy, arrived: list[float]) -> None:
        call = next(self._numbers)
        proxy.governor.reserve(call, len(arrived) * self._size, self.now)
        proxy.under_way += 1
        self.sizes.append(len(arrived))
        self._at(self.now + 0.001 * self._chance.random(), lambda: self._reach(proxy, call, arrived))

    def _reach(self, proxy: Proxy, call: int, arrived: list[float]) -> None:
        tokens = len(arrived) * (3 + (self._size - 2) // 4)
        refusal = self.account.ask(tokens, 0, self.now)
        if refusal is None:
            self.admitted.append((self.now, tokens))
        headers = self.account.headers(self.now).decode()
        kind = None if refusal is None else refusal.kind
        told = dict(line.split(": ") for line in headers.splitlines())
        latency = LATENCY * (0.8 + 0.4 * self._chance.random())
        self._at(self.now + latency, lambda: self._back(proxy, call, arrived, tokens, read(told), kind=kind))

    def _back(
        self,
        proxy: Proxy,
        call: int,
        arrived: list[float],
        tokens: int,
        limits: RateLimits | None,
        *,
        kind: str | None,
    ) -> None:
        governor = proxy.governor
        proxy.under_way -= 1
        if limits is not None:
            governor.told(call, limits, self.now)
        if kind is None:
            governor.ended(call, self.now, tokens=tokens)
            for moment in arrived:
                self.waits.append(self.now - moment)
                self._at(self.now + self._think * (0.5 + self._chance.random()), lambda: self._arrive(proxy))
        else:
            figures = None if limits is None else limits.tokens if kind == "tokens" else limits.calls
            governor.refused(call, Busy(kind), (figures and figures.reset) or 0.0, self.now)
            governor.ended(call, self.now, is_well=False)
            proxy.waiting[:0] = arrived
        self._pump(proxy)
