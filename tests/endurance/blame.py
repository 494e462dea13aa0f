"""One client's bad texts, seen in any way, cost the other clients nothing: no error, no ejection, hardly any time.

Eight steady clients with clean texts, alone and then beside bad texts: one that a client repeats, twenty new ones a
second, twenty new ones at once.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
from typing import TYPE_CHECKING

from tests.endurance.client import Client, Crowd, Tally, Wish, one_text
from tests.endurance.stage import Report, Upstream, metric, quantile, service
from tests.endurance.upstream import POISON

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.support.service import Service

WAYS = ("422", "500", "424", "null", "nan", "short")
CLIENTS = 8
#: New bad texts a second.
RATE = 20


async def beside(running: Service, seconds: float, trouble: Callable[[], Awaitable[object]] | None) -> Tally:
    """Return what became of the steady clients' requests while ``trouble`` goes on."""
    crowd = Crowd(running.port, CLIENTS, one_text, timed=True)
    task = None if trouble is None else asyncio.ensure_future(trouble())
    crowd.start()
    await asyncio.sleep(seconds)
    tally = await crowd.stop()
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return tally


def repeated(running: Service) -> Callable[[], Awaitable[None]]:
    async def go_on() -> None:
        client = Client(running.port, Tally())
        while True:
            await client.ask(Wish([f"{POISON} for ever"]))
            await asyncio.sleep(0.001)

    return go_on


def ever_new(running: Service, rate: int) -> Callable[[], Awaitable[None]]:
    """Send ``rate`` new bad texts a second, evenly spaced, each as soon as its time has come."""

    async def go_on() -> None:
        clients = itertools.cycle([Client(running.port, Tally()) for _ in range(2 * rate)])
        asked: set[asyncio.Task[str]] = set()
        while True:
            task = asyncio.ensure_future(next(clients).ask(Wish([f"{POISON} {next(_numbers)}"])))
            asked.add(task)
            task.add_done_callback(asked.discard)
            await asyncio.sleep(1 / rate)

    return go_on


def burst(running: Service, rate: int) -> Callable[[], Awaitable[None]]:
    """Send ``rate`` new bad texts at once, every second."""

    async def go_on() -> None:
        clients = [Client(running.port, Tally()) for _ in range(rate)]
        while True:
            await asyncio.gather(*(each.ask(Wish([f"{POISON} {next(_numbers)}"])) for each in clients))
            await asyncio.sleep(1.0)

    return go_on


_numbers = itertools.count()


def p99(tally: Tally) -> float:
    assert tally.timed is not None
    return quantile([took for _, took, _ in tally.timed], 0.99)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance blame", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--ways", default=",".join(WAYS), help="how bad texts are seen")
    parser.add_argument("--fixed-ms", type=float, default=20.0)
    parser.add_argument("--serial", action="store_true", help="the upstream makes one call after the other")
    options = parser.parse_args(argv)
    report = Report("blame")
    for way in options.ways.split(","):
        with (
            Upstream(fixed=options.fixed_ms, per_item=0.5, serial=options.serial, shows=way) as upstream,
            service(inference_url=upstream.url) as running,
        ):
            asyncio.run(beside(running, 1.0, None))
            alone = asyncio.run(beside(running, options.seconds, None))
            for name, trouble, most in (
                ("repeated", repeated(running), 2.0),
                (f"{RATE} new a second", ever_new(running, RATE), 4.0),
                (f"{RATE} new at once", burst(running, RATE), None),
            ):
                tally = asyncio.run(beside(running, options.seconds, trouble))
                errors = tally.begun - tally.outcomes["200"]
                report.demand(f"{way}, {name}: clean and not 200", f"{errors} of {tally.begun}", "0", errors == 0)
                ratio = p99(tally) / p99(alone)
                if most is None:
                    report.note(f"{way}, {name}: p99 of alone", ratio)
                else:
                    report.demand(f"{way}, {name}: p99 of alone", ratio, f"{most:g} at most", ratio <= most)
            ejections = metric(running, "autobatch_upstream_ejections_total")
            isolation = metric(running, "autobatch_isolation_calls_total")
            calls = metric(running, "autobatch_upstream_calls_total")
        report.demand(f"{way}: ejections", ejections, "0", ejections == 0)
        report.note(f"{way}: isolation calls of upstream calls", f"{isolation:.0f} of {calls:.0f}")
    return report.close()
