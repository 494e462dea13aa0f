"""An upstream that goes and comes back: no storm of retries, and full speed within five seconds of its return.

With two upstreams only one of them goes, and hardly a client notices.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.endurance.client import Crowd, one_text
from tests.endurance.stage import Report, Upstream, metric, service

if TYPE_CHECKING:
    from collections.abc import Sequence

SOON = 5.0
#: Seconds over which a speed is taken.
WINDOW = 3.0
#: Seconds that a client waits after a failure.
PAUSE = 0.05


def speed(timed: Sequence[tuple[float, float, str]], since: float) -> float:
    """Return how many good answers a second came in the window."""
    return sum(out == "200" and since <= at + took < since + WINDOW for at, took, out in timed) / WINDOW


async def load(options: argparse.Namespace, port: int, upstream: Upstream) -> tuple[Crowd, list[float], list[float]]:
    """Return the speeds before each outage and after it."""
    crowd = Crowd(port, options.clients, one_text, timed=True, pause=PAUSE)
    crowd.start()
    timed = crowd.tally.timed
    assert timed is not None
    before, after = [], []
    await asyncio.sleep(3)
    for _ in range(options.times):
        began = time.monotonic()
        await asyncio.sleep(WINDOW)
        before.append(speed(timed, began))
        upstream.kill()
        await asyncio.sleep(options.seconds)
        await asyncio.to_thread(upstream.start)
        back = time.monotonic()
        await asyncio.sleep(SOON + WINDOW)
        after.append(speed(timed, back + SOON))
    await crowd.stop()
    return crowd, before, after


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance outages", description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each outage lasts")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--upstreams", type=int, choices=(1, 2), default=1)
    options = parser.parse_args(argv)
    report = Report("outages")
    with ExitStack() as stack:
        # Slow enough for the upstream to be the limit: what is measured is the way back, not the machine's mood.
        upstreams = [stack.enter_context(Upstream(fixed=40)) for _ in range(options.upstreams)]
        running = stack.enter_context(service(inference_url=",".join(each.url for each in upstreams)))
        crowd, before, after = asyncio.run(load(options, running.port, upstreams[0]))
        retries = metric(running, "autobatch_retries_total")
        calls = metric(running, "autobatch_upstream_calls_total")
    tally = crowd.tally
    for outcome, count in sorted(tally.outcomes.items()):
        report.note(f"  {outcome}", count)
    baseline, slowest = before[0], min(after)
    report.note("speed before, answers/s", baseline)
    report.note("slowest after a return, answers/s", slowest)
    report.demand("of the speed before", slowest / baseline, "0.95 at least", slowest >= 0.95 * baseline)
    share = retries / calls if calls else 0.0
    report.demand("retries of upstream calls", f"{retries:.0f} of {calls:.0f}", "10 % at most", share <= 0.1)
    if options.upstreams > 1:
        errors = (tally.begun - tally.outcomes["200"]) / tally.begun
        report.demand("errors that clients saw", errors, "0.01 at most", errors <= 0.01)
    report.demand("mixed up", tally.mixed_up + tally.unasked, "0", tally.mixed_up + tally.unasked == 0)
    return report.close()
