"""Poison under load: requests with it are refused, all others get their vectors, and hardly later.

First one poison text among 31 clean ones; then clients of which some send poison, in turn with clients that do not.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

from tests.endurance.client import Crowd, Wish
from tests.endurance.stage import Report, Upstream, metric, service
from tests.endurance.upstream import POISON
from tests.support.service import embed_request

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Callable, Sequence

    from tests.support.service import Service


def one_among_31(report: Report) -> None:
    settings: dict[str, Any] = {"batch_timing": "fixed", "max_wait_time_ms": 2000}
    with Upstream(fixed=5) as upstream, service(inference_url=upstream.url, **settings) as running:
        texts = [f"text {number}" for number in range(31)]
        texts.insert(13, f"{POISON} text")
        answers = running.crowd([embed_request(text) for text in texts])
        statuses = [answer.status if answer else 0 for answer in answers]
        calls = metric(running, "autobatch_upstream_calls_total")
    report.demand("of 32, clean and answered", statuses.count(200), "31", statuses.count(200) == 31)
    report.demand("poison and refused", statuses.count(422), "1", statuses.count(422) == 1)
    report.demand("upstream calls", calls, "14 at most", calls <= 14)


def wishes(share: float, kinds: int) -> Callable[[random.Random, int], Wish]:
    # The chances are the same in each run: without this its poison would be known from the run before.
    run = time.monotonic()

    def wish(chance: random.Random, number: int) -> Wish:
        if chance.random() < share:
            return Wish([f"{POISON} {chance.randrange(kinds) if kinds else f'{run} {chance.random()}'}"])
        return Wish([f"text {number} {chance.random()}"])

    return wish


async def run(running: Service, options: argparse.Namespace, share: float) -> Counter[str]:
    crowd = Crowd(running.port, options.clients, wishes(share, options.kinds))
    crowd.start()
    await asyncio.sleep(1.0)
    before = crowd.tally.outcomes.copy()
    await asyncio.sleep(options.seconds)
    after = crowd.tally.outcomes.copy()
    await crowd.stop()
    assert not crowd.tally.mixed_up
    return after - before


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance poison", description=__doc__)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--kinds", type=int, default=0, help="different poison texts; 0: each is a new one")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--fixed-ms", type=float, default=5.0)
    parser.add_argument("--per-item-ms", type=float, default=0.5)
    parser.add_argument("--in-flight", type=int, default=8, help="batches in flight; the upstream works on all at once")
    options = parser.parse_args(argv)
    report = Report("poison")
    one_among_31(report)
    clean, mixed = [], []
    with (
        Upstream(fixed=options.fixed_ms, per_item=options.per_item_ms) as upstream,
        service(inference_url=upstream.url, max_inflight_batches=options.in_flight) as running,
    ):
        for _ in range(options.rounds):
            clean.append(asyncio.run(run(running, options, 0.0)))
            mixed.append(asyncio.run(run(running, options, options.share)))
        isolation = metric(running, "autobatch_isolation_calls_total")
        calls = metric(running, "autobatch_upstream_calls_total")
    speeds = [statistics.median(each["200"] for each in rounds) / options.seconds for rounds in (clean, mixed)]
    total = sum(mixed[1:], mixed[0])
    failed = sum(total.values()) - total["200"] - total["422"]
    success = total["200"] / (total["200"] + failed)
    report.note("answers a second, all clean", speeds[0])
    report.note("clean answers a second beside poison", speeds[1])
    report.note("isolation calls of upstream calls", f"{isolation:.0f} of {calls:.0f}")
    for outcome, count in sorted(total.items()):
        report.note(f"  {outcome}", count)
    report.demand("clean requests answered", success, "all", failed == 0)
    goodput = speeds[1] / (speeds[0] * (1 - options.share))
    report.demand("goodput", goodput, "0.7 at least", goodput >= 0.7)
    return report.close()
