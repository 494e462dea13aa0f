"""A restart of the only upstream is invisible: requests wait for it, and none is refused.

It is killed; or something before it answers 502 or 503 in its place meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from tests.endurance.client import Crowd, one_text
from tests.endurance.stage import Report, Upstream, metric, quantile, service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service


async def load(running: Service, upstream: Upstream, how: str, options: argparse.Namespace) -> Crowd:
    crowd = Crowd(running.port, options.clients, one_text, timed=True)
    crowd.start()
    for _ in range(options.times):
        await asyncio.sleep(2.0)
        if how == "killed":
            upstream.kill()
        else:
            await asyncio.to_thread(upstream.behave, fixed=20, fails=1.0, status=int(how))
        await asyncio.sleep(options.seconds)
        if how == "killed":
            await asyncio.to_thread(upstream.start)
        else:
            await asyncio.to_thread(upstream.behave, fixed=20)
    await asyncio.sleep(2.0)
    await crowd.stop()
    return crowd


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance restart", description=__doc__)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long the upstream is away")
    parser.add_argument("--clients", type=int, default=12)
    options = parser.parse_args(argv)
    report = Report("restart")
    for how in ("killed", "502", "503"):
        with Upstream(fixed=20) as upstream, service(inference_url=upstream.url) as running:
            crowd = asyncio.run(load(running, upstream, how, options))
            retries = metric(running, "autobatch_retries_total")
            calls = metric(running, "autobatch_upstream_calls_total")
        tally = crowd.tally
        report.note(f"{how}: answers", dict(tally.outcomes))
        report.note(f"{how}: retries of upstream calls", f"{retries:.0f} of {calls:.0f}")
        report.note(f"{how}: longest wait, s", quantile([took for _, took, _ in tally.timed or []], 1.0))
        refused = tally.begun - tally.outcomes["200"]
        report.demand(f"{how}: not 200", refused, "0", refused == 0)
    return report.close()
