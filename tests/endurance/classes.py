"""Interactive requests beside a flood of bulk: they take little longer, and bulk gets what they leave."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tests.endurance.client import Crowd, Wish, one_text
from tests.endurance.stage import Report, Upstream, metric, service
from tests.endurance.windows import Latency, latency, median, rate, until_quiet

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tests.support.service import Service

#: What is promised, as multiples of what each class gets without the other.
MOST_P50, MOST_P99, LEAST_BULK, LEAST_AFTER = 1.6, 2.2, 0.8, 0.97
#: The least for bulk under other keys, whose items cannot ride in interactive calls.
LEAST_OF_OTHER_KEYS = 0.4
#: Texts of one bulk request.
BULK = 1000


class Round(NamedTuple):
    """Interactive latencies and bulk items a second: each class without the other, both, and bulk afterwards."""

    alone: Latency
    beside: Latency
    bulk_alone: float
    bulk_beside: float
    bulk_after: float


def bulk_wish(keys: int, chance: random.Random, number: int) -> Wish:
    """Ask for many texts, by turns under so many keys that no interactive request has; 0: under the same."""
    run = chance.random()
    options = f',"prompt_name":"{number % keys}"' if keys else ""
    return Wish([f"bulk {number} {run} {at}" for at in range(BULK)], "X-Priority: bulk\r\n", options)


async def one_round(options: argparse.Namespace, running: Service, outcomes: Counter[str]) -> Round:
    crowd = Crowd(running.port, options.clients, one_text, timed=True, think=options.think_ms / 1e3)

    def bulk_items() -> float:
        # Of all that came back in batches, the interactive answers: a bulk request ends seldom, and 1000 items at once.
        return metric(running, "autobatch_batch_size_items_sum") - crowd.tally.outcomes["200"]

    flood = Crowd(running.port, options.flood, partial(bulk_wish, options.keys))
    flood.start()
    await asyncio.sleep(options.settle)
    bulk_alone = await rate(options.seconds, bulk_items)
    crowd.start()
    await asyncio.sleep(options.settle)
    began = time.monotonic()
    bulk_beside = await rate(options.seconds, bulk_items)
    beside = latency(crowd, began, time.monotonic())
    outcomes += (await crowd.stop()).outcomes
    await asyncio.sleep(options.settle)
    bulk_after = await rate(options.seconds, bulk_items)
    await flood.hang_up()
    outcomes += flood.tally.outcomes
    await until_quiet(running)
    crowd = Crowd(running.port, options.clients, one_text, timed=True, think=options.think_ms / 1e3)
    crowd.start()
    await asyncio.sleep(options.settle)
    began = time.monotonic()
    await asyncio.sleep(options.seconds)
    alone = latency(crowd, began, time.monotonic())
    outcomes += (await crowd.stop()).outcomes
    return Round(alone, beside, bulk_alone, bulk_beside, bulk_after)


async def load(options: argparse.Namespace, running: Service, outcomes: Counter[str]) -> list[Round]:
    return [await one_round(options, running, outcomes) for _ in range(options.rounds)]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance classes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each of the four windows of a round")
    parser.add_argument("--settle", type=float, default=1.5, help="seconds before each window")
    parser.add_argument("--clients", type=int, default=8, help="interactive ones")
    parser.add_argument("--think-ms", type=float, default=50.0)
    parser.add_argument("--flood", type=int, default=10, help=f"bulk requests of {BULK} texts at once")
    parser.add_argument("--keys", type=int, default=0, help="batch keys of bulk; 0: the one of interactive requests")
    parser.add_argument("--bulk-max-wait-ms", type=int, default=20_000)
    parser.add_argument("--fixed-ms", type=float, default=20.0)
    parser.add_argument("--per-item-ms", type=float, default=0.5)
    parser.add_argument("--budget", type=int, default=80, help="percent by which bulk may lengthen a call")
    options = parser.parse_args(argv)
    outcomes: Counter[str] = Counter()
    settings = {
        "max_queued_items": 2 * options.flood * BULK,
        "bulk_latency_budget": options.budget,
        "bulk_max_wait_ms": options.bulk_max_wait_ms,
    }
    least_bulk = LEAST_OF_OTHER_KEYS if options.keys else LEAST_BULK
    behaviour = {"fixed": options.fixed_ms, "per_item": options.per_item_ms, "serial": True}
    with Upstream(**behaviour) as upstream, service(inference_url=upstream.url, **settings) as running:
        rounds = asyncio.run(load(options, running, outcomes))
    report = Report("classes")
    report.note("answers", dict(outcomes))
    for which in ("alone", "beside"):
        for name in Latency._fields:
            report.note(f"interactive {name} {which}, ms", median([getattr(getattr(r, which), name) for r in rounds]))
    for which in ("alone", "beside", "after"):
        report.note(f"bulk {which}, items/s", median([getattr(r, f"bulk_{which}") for r in rounds]))
    for name, most in (("p50", MOST_P50), ("p99", MOST_P99)):
        ratio = median([getattr(r.beside, name) / getattr(r.alone, name) for r in rounds])
        report.demand(f"interactive {name}, beside / alone", ratio, f"at most {most}", ratio <= most)
    for which, least in (("beside", least_bulk), ("after", LEAST_AFTER)):
        share = median([getattr(r, f"bulk_{which}") / r.bulk_alone for r in rounds])
        report.demand(f"bulk, {which} / alone", share, f"at least {least}", share >= least)
    report.demand("all answered 200", set(outcomes) == {"200"}, "True", set(outcomes) == {"200"})
    return report.close()
