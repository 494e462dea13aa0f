"""No request gets another's vector or a second answer, and each gets an outcome."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING

from tests.endurance.client import FORGOTTEN, LOST, REFUSED, Crowd, Wish, every
from tests.endurance.stage import Report, Upstream, reload, service

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

#: Requests within which the planted mistake has to be seen.
SOON = 1000


def wish(chance: random.Random, number: int) -> Wish:
    """Mostly one text; some have little time, and some clients go away before their answer."""
    count = chance.randint(2, 5) if chance.random() < 0.1 else 1
    texts = [f"request {number} text {position}" for position in range(count)]
    kind = chance.random()
    if kind < 0.02:
        return Wish(texts, hang_up=chance.random() * 0.05)
    if kind < 0.04:
        return Wish(texts, f"X-Request-Timeout-Ms: {chance.randint(1, 60)}\r\n")
    return Wish(texts)


async def load(options: argparse.Namespace, port: int, running: object) -> Crowd:
    requests = SOON if options.plant else options.requests
    crowd = Crowd(port, options.clients, wish, requests=requests)
    crowd.start()
    if not options.plant:
        await every(options.reload_every, lambda: reload(running), lambda: crowd.over)  # type: ignore[arg-type]
    await crowd.finish()
    return crowd


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance integrity", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--reload-every", type=float, default=20.0, help="seconds between two SIGHUPs")
    parser.add_argument("--plant", action="store_true", help="plant a mistake, which has to be found")
    options = parser.parse_args(argv)
    report = Report("integrity" + (" with a planted mistake" if options.plant else ""))
    variant = "planted" if options.plant else None
    with (
        Upstream(fixed=2, random=8, stalls=0.002, stall=1500) as upstream,
        service(variant=variant, inference_url=upstream.url, upstream_timeout_ms=500) as running,
    ):
        began = time.monotonic()
        tally = asyncio.run(load(options, running.port, running)).tally
        took = time.monotonic() - began
    report.note("requests", tally.begun)
    report.note("requests a second", tally.begun / took)
    for outcome, count in sorted(tally.outcomes.items()):
        report.note(f"  {outcome}", count)
    report.note("sent again on a new connection", tally.retried)
    if options.plant:
        report.note("mixed up", tally.mixed_up)
        found = 0 < tally.first_mixed_up <= SOON
        report.demand("found after requests", tally.first_mixed_up, f"1 to {SOON}", found)
        return report.close()
    report.demand("mixed up", tally.mixed_up, "0", tally.mixed_up == 0)
    report.demand("answers without a request", tally.unasked, "0", tally.unasked == 0)
    forgotten = tally.without_outcome + sum(tally.outcomes[each] for each in (LOST, REFUSED))
    report.demand("without exactly one outcome", forgotten, "0", forgotten == 0)
    strange = sorted(set(tally.outcomes) - {"200", "499", "504", "hung up", LOST, REFUSED, FORGOTTEN})
    report.demand("other outcomes", strange or "none", "none", not strange)
    return report.close()
