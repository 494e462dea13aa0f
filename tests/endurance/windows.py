"""Windows of a run: what came back between two moments, and how a figure of several rounds is told."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.endurance.stage import metric, quantile, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.endurance.client import Crowd
    from tests.support.service import Service


class Latency(NamedTuple):
    """Median and 99th percentile of the answers of one window, in milliseconds."""

    p50: float
    p99: float


def latency(crowd: Crowd, begin: float, end: float) -> Latency:
    """Return how long the requests took that were sent and answered between two moments of the monotonic clock."""
    timed = crowd.tally.timed or []
    took = [seconds for sent, seconds, _ in timed if begin <= sent and sent + seconds <= end]
    return Latency(1e3 * quantile(took, 0.5), 1e3 * quantile(took, 0.99))


async def rate(seconds: float, count: Callable[[], float]) -> float:
    """Return by how much a count grows in a second, over so many of them."""
    before, began = await asyncio.to_thread(count), time.monotonic()
    await asyncio.sleep(seconds)
    after, ended = await asyncio.to_thread(count), time.monotonic()
    return (after - before) / (ended - began)


async def until_quiet(running: Service) -> None:
    """Wait until nothing is in the service any more."""
    assert await wait_for(lambda: not metric(running, "autobatch_calls_in_progress"))


def median(values: Sequence[float]) -> float:
    """Return the median of the rounds: one in which the machine did something else says little."""
    return statistics.median(values)
