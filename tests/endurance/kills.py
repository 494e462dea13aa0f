"""``kill -9`` of the worker loses at most what it held, and the service is back within two seconds."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from typing import TYPE_CHECKING

from tests.endurance.client import LOST, Client, Crowd, Tally, Wish, one_text
from tests.endurance.stage import Report, Upstream, kill_worker, service, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service

BACK = 2.0


async def load(options: argparse.Namespace, running: Service) -> tuple[Crowd, list[int], list[int], list[float]]:
    crowd = Crowd(running.port, options.clients, one_text, retries=False)
    crowd.start()
    held, lost, back = [], [], []
    for _ in range(options.times):
        answered = crowd.tally.outcomes["200"]
        await wait_for(lambda: crowd.tally.outcomes["200"] > answered + 200)  # noqa: B023
        before = crowd.tally.outcomes[LOST]
        held.append(crowd.tally.under_way)
        kill_worker(running)
        killed = time.monotonic()
        # A new connection each: the listener outlives the worker, so a request waits for the next one.
        while await Client(running.port, Tally(), retries=False).ask(Wish(["back?"])) != "200":
            await asyncio.sleep(0.01)
        back.append(time.monotonic() - killed)
        await asyncio.sleep(0.2)
        lost.append(crowd.tally.outcomes[LOST] - before)
    await crowd.stop()
    return crowd, held, lost, back


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance kills", description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--clients", type=int, default=64)
    options = parser.parse_args(argv)
    report = Report("kills")
    with Upstream(fixed=10) as upstream, service(inference_url=upstream.url) as running:
        crowd, held, lost, back = asyncio.run(load(options, running))
    tally = crowd.tally
    report.note("kills", len(back))
    for outcome, count in sorted(tally.outcomes.items()):
        report.note(f"  {outcome}", count)
    within = all(one <= most for one, most in zip(lost, held, strict=True))
    report.demand("lost at most, of", f"{max(lost)} of {max(held)}", "what the worker held", within)
    others = set(tally.outcomes) - {"200", LOST}
    report.demand("other outcomes", sorted(others) or "none", "none", not others)
    report.note("back after, median s", statistics.median(back))
    report.demand("back after, longest s", max(back), f"{BACK} at most", max(back) <= BACK)
    report.demand("mixed up", tally.mixed_up, "0", tally.mixed_up == 0)
    return report.close()
