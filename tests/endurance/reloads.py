"""SIGHUP under load loses no request."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from tests.endurance.client import Crowd, one_text
from tests.endurance.stage import Report, Upstream, reload, service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service


async def load(options: argparse.Namespace, running: Service) -> tuple[Crowd, int]:
    crowd = Crowd(running.port, options.clients, one_text, requests=options.requests)
    crowd.start()
    done = 0
    for number in range(options.times):
        # Spread over the requests, whatever the machine's speed.
        while crowd.tally.begun < options.requests * (number + 0.5) / options.times:
            await asyncio.sleep(0.02)
        done += await reload(running)
    await crowd.finish()
    return crowd, done


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance reloads", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=64)
    options = parser.parse_args(argv)
    report = Report("reloads")
    with Upstream(fixed=5) as upstream, service(inference_url=upstream.url) as running:
        crowd, done = asyncio.run(load(options, running))
    tally = crowd.tally
    report.demand("reloads", done, f"{options.times}", done == options.times)
    report.note("answered 200", tally.outcomes["200"])
    report.note("sent again on a new connection", tally.retried)
    lost = tally.begun - tally.outcomes["200"]
    report.demand("lost, or not 200", lost, "0", lost == 0 and tally.begun == options.requests)
    report.demand("mixed up", tally.mixed_up + tally.unasked, "0", tally.mixed_up + tally.unasked == 0)
    for outcome, count in sorted(tally.outcomes.items()):
        report.note(f"  {outcome}", count)
    return report.close()
