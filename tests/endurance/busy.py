"""An upstream that is too busy to answer its health check is ready while its batches come back."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.endurance.client import Crowd, one_text
from tests.endurance.stage import Report, Upstream, service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service


async def load(running: Service, probes: int) -> tuple[Crowd, list[tuple[int, float]]]:
    crowd = Crowd(running.port, 4, one_text)
    crowd.start()
    seen = []
    for _ in range(probes):
        began = time.monotonic()
        status = (await asyncio.to_thread(running.get, "/health/ready")).status
        seen.append((status, time.monotonic() - began))
        await asyncio.sleep(0.2)
    await crowd.stop()
    return crowd, seen


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance busy", description=__doc__)
    parser.add_argument("--probes", type=int, default=100)
    options = parser.parse_args(argv)
    report = Report("busy")
    with Upstream(fixed=10) as upstream, service(inference_url=upstream.url) as running:
        upstream.behave(fixed=2500, serial=True, blocks=True)
        crowd, seen = asyncio.run(load(running, options.probes))
    statuses, slowest = Counter(status for status, _ in seen), max(took for _, took in seen)
    report.note("answers", dict(crowd.tally.outcomes))
    report.demand("/health/ready", dict(statuses), "all 200", set(statuses) == {200})
    report.demand("slowest, s", slowest, "0.1 at most", slowest <= 0.1)
    return report.close()
