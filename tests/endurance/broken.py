"""An upstream that fails every call is left out after about five; another serves all, or clients are told at once."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.endurance.client import Crowd, one_text
from tests.endurance.stage import Report, Upstream, metric, quantile, service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service

CLIENTS = 12
#: Failed calls until the upstream is left out: those in flight when the fifth fails may fail too.
MOST_CALLS = 9


async def load(running: Service, upstream: Upstream, status: int, seconds: float) -> Crowd:
    crowd = Crowd(running.port, CLIENTS, one_text, timed=True, pause=0.05)
    crowd.start()
    await asyncio.sleep(2.0)
    await asyncio.to_thread(upstream.behave, fixed=10, fails=1.0, status=status)
    await asyncio.sleep(seconds)
    await crowd.stop()
    return crowd


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance broken", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args(argv)
    report = Report("broken")
    for status, count in ((500, 1), (424, 1), (500, 2), (424, 2)):
        with ExitStack() as stack:
            upstreams = [stack.enter_context(Upstream(fixed=10)) for _ in range(count)]
            running = stack.enter_context(service(inference_url=",".join(each.url for each in upstreams)))
            crowd = asyncio.run(load(running, upstreams[0], status, options.seconds))
            failed = metric(running, "autobatch_upstream_calls_total", 'result="Backend"')
            isolation = metric(running, "autobatch_isolation_calls_total")
            calls = metric(running, "autobatch_upstream_calls_total")
            ejections = metric(running, "autobatch_upstream_ejections_total")
        outcomes = crowd.tally.outcomes
        name = f"{status}, {count} upstream{'s' if count > 1 else ''}"
        report.note(f"{name}: answers", dict(outcomes))
        # Each probe after the ejection costs one call more.
        first = failed - (ejections - 1)
        report.demand(f"{name}: failed calls until left out", first, f"{MOST_CALLS} at most", first <= MOST_CALLS)
        report.demand(
            f"{name}: isolation calls", f"{isolation:.0f} of {calls:.0f}", "a tenth", isolation <= 0.1 * calls
        )
        if count > 1:
            errors = crowd.tally.begun - outcomes["200"]
            report.demand(f"{name}: not 200", errors, "0", errors == 0)
        else:
            timed = crowd.tally.timed or []
            slowest = quantile([took for _, took, out in timed if out != "200"], 0.99)
            others = set(outcomes) - {"200", str(status), "502"}
            report.demand(f"{name}: statuses beside 200 and 502", sorted(others), "none", not others)
            report.demand(f"{name}: p99 of failures, s", slowest, "2 at most", slowest <= 2.0)
    hung(report, options.seconds)
    return report.close()


def hung(report: Report, seconds: float) -> None:
    """One of two upstreams takes calls and answers none, though its health check does."""
    with ExitStack() as stack:
        upstreams = [stack.enter_context(Upstream(fixed=10)) for _ in range(2)]
        urls = ",".join(each.url for each in upstreams)
        running = stack.enter_context(service(inference_url=urls, upstream_timeout_ms=2000))
        crowd = asyncio.run(load_hung(running, upstreams[0], seconds))
        late = metric(running, "autobatch_upstream_calls_total", 'result="Timeout"')
    report.note("hung, 2 upstreams: answers", dict(crowd.tally.outcomes))
    report.demand("hung, 2 upstreams: calls that timed out", late, "4, its batches in flight", late <= 4)
    errors = crowd.tally.begun - crowd.tally.outcomes["200"]
    report.demand("hung, 2 upstreams: not 200", errors, "0: each is asked of the other", errors == 0)


async def load_hung(running: Service, upstream: Upstream, seconds: float) -> Crowd:
    crowd = Crowd(running.port, CLIENTS, one_text, timed=True, pause=0.05)
    crowd.start()
    await asyncio.sleep(2.0)
    await asyncio.to_thread(upstream.behave, stalls=1.0, stall=1e6)
    await asyncio.sleep(2 * seconds)
    await crowd.stop()
    return crowd
