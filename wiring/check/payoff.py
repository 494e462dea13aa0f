"""Judges measured calls: the line a + b·n, what batching gains, and which settings would do better. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config import Settings

#: From this factor on, batching is said to pay; below the second, to cost.
PAYS, COSTS = 1.15, 0.87
#: The part of the best rate of full calls that is as good as all of it.
NEARLY = 0.95
#: A call twice as large that brings so much more of each second is worth being allowed.
WORTH = 1.08
#: Seconds. A call of one text that takes longer is named as what clients wait for.
SLOW = 1.0


#: Seconds. What HTTP adds to a request's way, what it and a client on the same machine work on it, and what one core of
#: the service works on it in all. Measured, by `benchmarks.load` on two cores.
HOP, WORK, CORE = 0.0003, 0.00016, 0.00016


class Line(NamedTuple):
    """What a call of n texts takes: ``fixed`` + ``per_item`` · n, in seconds."""

    fixed: float
    per_item: float

    def of(self, items: float) -> float:
        """Return the seconds of a call of so many texts."""
        return self.fixed + self.per_item * items


class Pair(NamedTuple):
    """Requests a second of so many clients that wait for each answer: straight to the upstreams, and batched."""

    clients: int
    direct: float
    batched: float
    #: Texts of a call on the average, where they were batched.
    batch_size: float

    @property
    def gain(self) -> float:
        """Requests that batching brings for one without."""
        return self.batched / self.direct if self.direct else 0.0


def fit(times: Mapping[int, float]) -> Line:
    """Return the line through the seconds of calls by their texts; neither part is negative.

    Weighted least squares: a deviation counts by its part of the call's time, so small calls count like large ones.
    """
    weights = {items: 1.0 / seconds**2 for items, seconds in times.items()}
    total = sum(weights.values())
    mean = sum(weights[items] * items for items in times) / total
    level = sum(weights[items] * seconds for items, seconds in times.items()) / total
    spread = sum(weights[items] * (items - mean) ** 2 for items in times)
    if not spread:
        return Line(level, 0.0)
    slope = sum(weights[items] * (items - mean) * (seconds - level) for items, seconds in times.items()) / spread
    slope = min(max(slope, 0.0), level / mean)
    return Line(level - slope * mean, slope)


def over_http(rate: float, clients: int, batch_size: float) -> float:
    """Return the requests a second of clients that get ``rate`` from the engine itself.

    Where all of them share one call, nothing is computed while their answers and requests are on the way. Where some
    wait while the others' call is served, that costs nothing until the service's core is full.
    """
    if not rate:
        return 0.0
    on_the_way = clients * WORK if clients <= 1.1 * batch_size else 0.0
    return min(clients / (clients / rate + HOP + on_the_way), 1 / CORE)


def verdict(pairs: Sequence[Pair]) -> str:
    """Say in one sentence whether batching pays, and for how many clients most."""
    best = max(pairs, key=lambda pair: pair.gain)
    if best.gain >= PAYS:
        return f"Batching pays: {best.gain:.1f} times the requests at {best.clients} clients."
    if best.gain >= COSTS:
        return "Batching neither gains nor costs throughput: this upstream does as many texts that come one by one."
    return f"Batching costs here: {best.gain:.2f} times the requests at best."


def advice(
    settings: Settings, times: Mapping[int, float], line: Line, pairs: Sequence[Pair], cap: int | None
) -> list[str]:
    """Return what would do better, a sentence each. ``cap``: texts of a call that the upstream takes; None: any."""
    told = []
    most = settings.max_batch_size
    if cap is not None and cap < most:
        told.append(
            f"max_batch_size = {cap}: the upstream takes no more in a call; the proxy cuts calls to that anyway."
        )
        most = cap
    if times:
        told += _on_sizes(times, line, most, cap)
    lone = next((pair for pair in pairs if pair.clients == 1), None)
    if settings.batch_timing == "fixed" and lone is not None and lone.gain < COSTS:
        told.append(
            f"batch_timing = adaptive: by fixed timing one client waits {settings.max_wait * 1000:.0f} ms for company "
            f"each time, and gets {lone.gain:.2f} of what it gets without the proxy."
        )
    most_clients = max((pair.clients for pair in pairs), default=0)
    if settings.max_concurrent_requests < most_clients:
        told.append(
            f"max_concurrent_requests = {4 * most_clients}: with {settings.max_concurrent_requests} some of "
            f"{most_clients} clients are refused with 429."
        )
    return told


def _on_sizes(times: Mapping[int, float], line: Line, most: int, cap: int | None) -> list[str]:
    rates = {items: items / seconds for items, seconds in times.items() if items <= most}
    best = max(rates.values())
    enough = min(items for items, rate in rates.items() if rate >= NEARLY * best)
    double = 2 * most / line.of(2 * most)
    told = []
    if enough <= most // 2:
        told.append(
            f"max_batch_size = {enough}: calls of {enough} texts bring {rates[enough]:.0f} a second, and {best:.0f} is "
            "the best; shorter calls make everyone wait less."
        )
    elif double >= WORTH * most / line.of(most) and (cap is None or cap >= 2 * most):
        told.append(
            f"max_batch_size = {2 * most}: by the line such calls bring {double:.0f} texts a second instead of "
            f"{most / line.of(most):.0f}, and take {line.of(2 * most) * 1000:.0f} ms."
        )
    if times[min(times)] > SLOW:
        told.append(
            f"A call of {min(times)} takes {times[min(times)]:.1f} s at this upstream: each answer takes at least that."
        )
    return told
