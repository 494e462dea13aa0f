"""Ten times more than the upstream can do: the surplus is told so at once, the rest is served as if it were alone.

An open loop: the moments of sending are fixed before the first request, and latencies count from them.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import precise_loop
from benchmarks.processes import module_command
from benchmarks.processes import running as process
from benchmarks.schedule import poisson_times
from tests.endurance.client import LOST, REFUSED, Connection, LostError, Tally, Wish, embed
from tests.endurance.stage import Report, quantile, service

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 32


class OpenLoop:
    """Sends on schedule, on a connection that is free or on a new one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Connection] = []
        self._tally = Tally()
        #: When it should have left, how late it left, seconds until the answer, outcome.
        self.records: list[tuple[float, float, float, str]] = []

    async def run(self, times: Sequence[float]) -> None:
        loop = asyncio.get_running_loop()
        zero = loop.time() + 0.1
        tasks: set[asyncio.Task[None]] = set()
        for number, moment in enumerate(times):
            if (wait := zero + moment - loop.time()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self._ask(number, zero, moment))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def _ask(self, number: int, zero: float, moment: float) -> None:
        loop = asyncio.get_running_loop()
        late = loop.time() - zero - moment
        try:
            connection = await self._connection()
            outcome = (await connection.ask(embed(self._port, Wish([f"text {number}"]), "x")))[0]
            if connection.usable:
                self._free.append(connection)
        except LostError:
            outcome = LOST
        except OSError:
            outcome = REFUSED
        self.records.append((moment, late, loop.time() - zero - moment, outcome))

    async def _connection(self) -> Connection:
        while self._free:
            if (connection := self._free.pop()).usable:
                return connection
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: Connection(self._tally), "127.0.0.1", self._port))[1]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--times", type=float, default=10.0, help="how many times the capacity is asked for")
    parser.add_argument("--fixed-ms", type=float, default=80.0)
    parser.add_argument("--per-item-ms", type=float, default=2.0)
    parser.add_argument("--deadline-ms", type=int, default=5000)
    options = parser.parse_args(argv)
    capacity = BATCH / (options.fixed_ms + BATCH * options.per_item_ms) * 1e3
    upstream = module_command(
        "benchmarks.upstream", "--port", "{port}", "--dimensions", "8",
        "--fixed-ms", str(options.fixed_ms), "--per-item-ms", str(options.per_item_ms),
    )  # fmt: skip
    settings = {"request_timeout_ms": options.deadline_ms}
    with (
        process("upstream", upstream, ready_path="/health") as backend,
        service(inference_url=backend.url, **settings) as running,
    ):
        open_loop = OpenLoop(running.port)
        times = poisson_times(capacity * options.times, options.seconds, seed=1)
        began = time.process_time()
        precise_loop.run(open_loop.run(times))
        used = time.process_time() - began
    # The queue fills first; what happens from then on is overload.
    warm = options.seconds * 0.2
    records = [each for each in open_loop.records if each[0] >= warm]
    took = {status: [each[2] for each in records if each[3] == status] for status in ("200", "429")}
    ended = [each for each in open_loop.records if each[3] == "200" and warm <= each[0] + each[2] < options.seconds]
    goodput = len(ended) / (options.seconds - warm)
    report = Report("overload")
    report.note("capacity, items/s", capacity)
    report.note("asked for, requests/s", len(times) / options.seconds)
    report.note("the generator's lateness, p99 ms", 1e3 * quantile([each[1] for each in records], 0.99))
    report.note("the generator's share of a core", used / options.seconds)
    for status in sorted({each[3] for each in records}):
        report.note(f"  {status}", sum(each[3] == status for each in records))
    report.note("429, p50 ms", 1e3 * quantile(took["429"], 0.5))
    since_left = [took - late for _, late, took, outcome in records if outcome == "429"]
    report.note("429, p99 ms since it really left", 1e3 * quantile(since_left, 0.99))
    shed = 1e3 * quantile(took["429"], 0.99)
    report.demand("429, p99 ms", shed, "below 50", shed < 50)
    report.demand("goodput of capacity", goodput / capacity, "0.9 at least", goodput >= 0.9 * capacity)
    admitted = 1e3 * quantile(took["200"], 0.99)
    report.demand("admitted, p99 ms", admitted, f"{options.deadline_ms} at most", admitted <= options.deadline_ms)
    others = {each[3] for each in records} - {"200", "429"}
    report.demand("other outcomes", sorted(others) or "none", "none", not others)
    sys.stdout.flush()
    return report.close()
