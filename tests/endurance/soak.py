"""Half an hour of every fault at once, and the worker holds no more memory, descriptors or threads than at its start.

Rounds of faults, each followed by a silence without any connection, in which the worker is looked at: what it holds
then belongs to no request.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.endurance.client import Crowd, Wish
from tests.endurance.stage import Report, Upstream, service
from tests.endurance.upstream import POISON

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tests.support.service import Service

#: Admission small enough for each round to fill the pool of threads.
SETTINGS = {"max_concurrent_requests": 64, "read_timeout_ms": 500, "upstream_timeout_ms": 800}
SLOW_CLIENTS = 160
#: Seconds, but no more than half of the whole.
WARM_UP = 300.0
#: What the upstream does, one after the other. None: it is not there.
PHASES: tuple[dict[str, float] | None, ...] = (
    {"fixed": 3},
    {"fixed": 5, "random": 50},
    {"fails": 0.2},
    {"fails": 0.2, "status": 429},
    {"fails": 0.2, "status": 503},
    {"stalls": 0.05, "stall": 1500},
    None,
)
OPTIONS = ("", ',"normalize":false', ',"truncate":true', ',"prompt_name":"query"')


@dataclass(frozen=True)
class Sample:
    """What a silent worker holds."""

    at: float
    pid: int
    rss: int
    descriptors: int
    threads: int


def wish(chance: random.Random, number: int) -> Wish:
    count = chance.randint(2, 5) if chance.random() < 0.1 else 1
    kind = chance.random()
    first = POISON if kind < 0.01 else "text"
    texts = [f"{first} {number} {position} {chance.random()}" for position in range(count)]
    headers = f"X-Request-Timeout-Ms: {chance.randint(1, 200)}\r\n" if 0.01 <= kind < 0.03 else ""
    hang_up = chance.random() * 0.05 if 0.03 <= kind < 0.05 else None
    return Wish(texts, headers, chance.choice(OPTIONS), hang_up)


async def be_slow(port: int) -> None:
    """Begin a request and never end it."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /embed HTTP/1.1\r\nHost: slow\r\nContent-Le")
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(), 5.0)
        writer.close()


async def one_round(options: argparse.Namespace, running: Service, upstream: Upstream) -> tuple[Counter[str], int]:
    crowd = Crowd(running.port, options.clients, wish, pause=0.01)
    crowd.start()
    for phase in PHASES:
        if phase is None:
            upstream.kill()
        else:
            await asyncio.to_thread(upstream.behave, **phase)
        slow = asyncio.gather(*[be_slow(running.port) for _ in range(SLOW_CLIENTS)])
        await asyncio.sleep(options.phase)
        await asyncio.to_thread(running.get, "/metrics")
        await slow
        if phase is None:
            await asyncio.to_thread(upstream.start)
    tally = await crowd.stop()
    return tally.outcomes, tally.mixed_up + tally.unasked + tally.without_outcome


def look(running: Service, at: float) -> Sample:
    worker = psutil.Process(running.workers[0])
    return Sample(at, worker.pid, worker.memory_info().rss, worker.num_fds(), worker.num_threads())


async def soak(
    options: argparse.Namespace, running: Service, upstream: Upstream
) -> tuple[list[Sample], Counter[str], int]:
    samples: list[Sample] = []
    outcomes: Counter[str] = Counter()
    wrong = 0
    began = time.monotonic()
    while (at := time.monotonic() - began) < options.minutes * 60:
        some, bad = await one_round(options, running, upstream)
        outcomes += some
        wrong += bad
        # Longer than the service lingers over connections that it has closed.
        await asyncio.sleep(3.0)
        samples.append(look(running, at))
        if options.verbose:
            print(f"{at:7.0f} s  {samples[-1].rss / 1e6:7.1f} MB  {samples[-1].descriptors} descriptors  "
                  f"{samples[-1].threads} threads", flush=True)  # fmt: skip
    return samples, outcomes, wrong


def growth_of(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Return the bytes held in the first and in the last fifth of the samples, and the growth between them."""
    some = max(1, len(samples) // 5)
    first, last = (statistics.median(each.rss for each in part) for part in (samples[:some], samples[-some:]))
    return first, last, (last - first) / first


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=48)
    parser.add_argument("--phase", type=float, default=2.0, help="seconds that each kind of fault lasts")
    parser.add_argument("--leak", action="store_true", help="leak on purpose, which has to be found")
    parser.add_argument("--verbose", action="store_true", help="print every sample")
    options = parser.parse_args(argv)
    variant = "leaking" if options.leak else None
    with Upstream() as upstream, service(variant=variant, inference_url=upstream.url, **SETTINGS) as running:
        samples, outcomes, wrong = asyncio.run(soak(options, running, upstream))
        log = running.log
    # Warming up: each of 150 threads has to have met the deepest of its paths once.
    warm = [each for each in samples if each.at >= min(WARM_UP, options.minutes * 30)] or samples[-1:]
    first, last, growth = growth_of(warm)
    descriptors = [each.descriptors for each in warm]
    spread = max(descriptors) - min(descriptors)
    threads = {each.threads for each in warm}
    report = Report("soak" + (" with a leak" if options.leak else ""))
    report.note("rounds, of them warm", f"{len(samples)}, {len(warm)}")
    for outcome, count in sorted(outcomes.items()):
        report.note(f"  {outcome}", count)
    report.note("RSS after warm-up, at the end, MB", f"{first / 1e6:.1f}, {last / 1e6:.1f}")
    if options.leak:
        report.demand("growth found", growth, "0.05 or more", growth >= 0.05)
        report.demand("descriptors found", spread, "more than 5", spread > 5)
        return report.close()
    report.demand("growth", growth, "below 0.05", growth < 0.05)
    report.demand("descriptors, least and most", f"{min(descriptors)}, {max(descriptors)}", "5 apart", spread <= 5)
    # The pool makes its last threads only when so many connections happen to be busy at once; it never ends any.
    report.demand("threads", sorted(threads), "5 apart", max(threads) - min(threads) <= 5)
    report.demand("mixed up, or without one outcome", wrong, "0", wrong == 0)
    report.demand("worker", f"{len({each.pid for each in samples})}", "the same all the time",
                  len({each.pid for each in samples}) == 1)  # fmt: skip
    report.demand("tracebacks logged", log.count("Traceback"), "0", "Traceback" not in log)
    return report.close()
