"""Many clients that ask for the same few texts: each text is computed once at a time, and every answer is right."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from tests.endurance.client import Crowd, Wish
from tests.endurance.stage import Report, Upstream, metric, service

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tests.endurance.client import Tally

#: Items that go upstream for each answer, at most.
MOST = 0.2


async def load(options: argparse.Namespace, port: int) -> Tally:
    def wish(chance: random.Random, number: int) -> Wish:
        return Wish([f"text {chance.randrange(options.texts)}"])

    crowd = Crowd(port, options.clients, wish)
    crowd.start()
    await asyncio.sleep(options.seconds)
    return await crowd.stop()


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance duplicates", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--texts", type=int, default=10)
    parser.add_argument("--off", action="store_true", help="without deduplicate: the promise is broken")
    options = parser.parse_args(argv)
    report = Report("duplicates")
    behaviour = {"fixed": 20.0, "per_item": 0.5, "serial": True}
    settings = {"deduplicate": "off" if options.off else "on"}
    with Upstream(**behaviour) as upstream, service(inference_url=upstream.url, **settings) as running:
        tally = asyncio.run(load(options, running.port))
        sent = metric(running, "autobatch_batch_size_items_sum")
    answers = tally.outcomes["200"]
    report.note("answers a second", answers / options.seconds)
    report.note("items upstream", int(sent))
    report.demand("items upstream for each answer", sent / answers, f"at most {MOST}", sent <= MOST * answers)
    report.demand("mixed up", tally.mixed_up, "0", tally.mixed_up == 0)
    others = set(tally.outcomes) - {"200"}
    report.demand("other outcomes", sorted(others) or "none", "none", not others)
    return report.close()
