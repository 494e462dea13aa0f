"""Large answers that are passed on slowly delay no batched request: its p99 stays within a fifth of what it was."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.endurance.client import Crowd, one_text
from tests.endurance.stage import Report, Upstream, quantile, service
from tests.endurance.upstream import PASSED

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What the p99 of batched requests may be while answers are passed on, as a multiple of what it is otherwise.
MOST = 1.2
#: Bytes that a client of a large answer reads at once.
PIECE = 65_536
BODY = json.dumps({"inputs": {"source_sentence": "a", "sentences": ["b"]}}).encode()


Outcome = tuple[tuple[list[list[float]], list[list[float]]], Counter[str], Counter[str]]


async def pass_on(port: int, size: int, pause: float, ends: Counter[str]) -> None:
    """Ask for a large answer and read it with a pause (s) before each piece; note whether all of it came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {PASSED} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    writer.write(head.encode() + BODY)
    status = (await reader.readuntil(b"\r\n\r\n"))[9:12].decode()
    came = 0
    while came < size and (piece := await reader.read(PIECE)):
        came += len(piece)
        await asyncio.sleep(pause)
    writer.close()
    ends[status if came == size else f"{status}, {came} bytes"] += 1


async def load(options: argparse.Namespace, port: int) -> Outcome:
    """Let windows with and without passed answers follow one another, so that what else the machine does hits both.

    Return the latencies of each window, those without passed answers first; and how both kinds of requests ended.
    """
    pause = options.seconds * PIECE / options.size if options.slow == "client" else 0.0
    ends: Counter[str] = Counter()
    windows: list[tuple[float, float, bool]] = []
    crowd = Crowd(port, options.clients, one_text, timed=True)
    crowd.start()
    await asyncio.sleep(1.0)
    for number in range(2 * options.rounds):
        began, passes = time.monotonic(), number % 2 == 1
        if passes:
            await asyncio.gather(*[pass_on(port, options.size, pause, ends) for _ in range(options.at_once)])
        else:
            await asyncio.sleep(options.seconds)
        windows.append((began, time.monotonic(), passes))
    tally = await crowd.stop()
    timed = tally.timed or []
    sides: tuple[list[list[float]], list[list[float]]] = ([], [])
    for start, end, passes in windows:
        sides[passes].append([seconds for began, seconds, _ in timed if start <= began and began + seconds <= end])
    return sides, ends, tally.outcomes


def typical(windows: list[list[float]], share: float) -> float:
    """Return the median of the windows' quantiles: one window in which the machine did something else says little."""
    return quantile([quantile(window, share) for window in windows], 0.5)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance forward", description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--size", type=int, default=5_000_000)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="that an answer takes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slow", choices=["upstream", "client"], default="upstream")
    parser.add_argument("--plant", action="store_true", help="wait for the upstream with the queue's lock held")
    options = parser.parse_args(argv)
    report = Report("forward")
    behaviour = {"fixed": 20, "passed": options.size, "passed_in": options.seconds * 1e3 * (options.slow == "upstream")}
    variant = "blocking" if options.plant else None
    with Upstream(**behaviour) as upstream, service(variant=variant, inference_url=upstream.url) as running:
        (alone, beside), ends, outcomes = asyncio.run(load(options, running.port))
    for end, count in sorted(ends.items()):
        report.note(f"answers passed on, ended by {end}", count)
    for which, windows in (("alone", alone), ("beside them", beside)):
        report.note(f"batched answers {which}", sum(map(len, windows)))
        report.note(f"their median {which}, s", typical(windows, 0.5))
        report.note(f"their p99 {which}, s", typical(windows, 0.99))
    for name, share in (("median", 0.5), ("p99", 0.99)):
        ratio = typical(beside, share) / typical(alone, share)
        report.demand(f"{name} beside them / alone", ratio, f"at most {MOST}", ratio <= MOST)
    whole = ends == Counter({"200": options.rounds * options.at_once})
    report.demand("all came whole", whole, "True", whole)
    report.demand("batched, all answered 200", set(outcomes) == {"200"}, "True", set(outcomes) == {"200"})
    return report.close()
