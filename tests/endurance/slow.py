"""As many slow clients as the service has threads delay no other client once their read deadline has passed."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.endurance.client import Crowd, one_text
from tests.endurance.stage import Report, Upstream, quantile, service

if TYPE_CHECKING:
    from collections.abc import Sequence

WANTED = 1.0
HEAD = b"POST /embed HTTP/1.1\r\nHost: slow\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n"


async def drip(port: int, number: int, until: float, ends: Counter[str]) -> None:
    """Send a byte now and then, of the header or of the body, and never end; once ended, begin again."""
    while time.monotonic() < until:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + (b"\r\n{" if number % 2 else b"X-Slow: "))
            answer = asyncio.ensure_future(reader.read(12))
            while time.monotonic() < until and not answer.done():
                writer.write(b" " if number % 2 else b"a")
                await asyncio.wait([answer], timeout=0.5)
            answer.cancel() if not answer.done() else ends.update([_end(answer)])
            writer.close()
        await asyncio.sleep(0.05)


def _end(answer: asyncio.Future[bytes]) -> str:
    return "reset" if answer.exception() else answer.result()[9:12].decode() or "closed"


async def load(options: argparse.Namespace, port: int) -> tuple[list[tuple[float, float, str]], float, Counter[str]]:
    ends: Counter[str] = Counter()
    began = time.monotonic()
    until = began + options.seconds
    slow = [asyncio.create_task(drip(port, number, until, ends)) for number in range(options.clients)]
    await asyncio.sleep(0.5)
    crowd = Crowd(port, 8, one_text, timed=True)
    crowd.start()
    await asyncio.sleep(until - time.monotonic())
    tally = await crowd.stop()
    await asyncio.gather(*slow)
    return tally.timed or [], began, ends


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance slow", description=__doc__)
    parser.add_argument("--clients", type=int, default=592)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--read-timeout", type=float, default=5.0)
    options = parser.parse_args(argv)
    report = Report("slow")
    settings: dict[str, Any] = {"read_timeout_ms": int(options.read_timeout * 1e3)}
    with Upstream(fixed=5) as upstream, service(inference_url=upstream.url, **settings) as running:
        timed, began, ends = asyncio.run(load(options, running.port))
    deadline = began + options.read_timeout
    for end, count in sorted(ends.items()):
        report.note(f"slow clients ended by {end}", count)
    for when, some in (
        ("before the deadline", [each for each in timed if each[0] < deadline]),
        ("after it", [each for each in timed if each[0] >= deadline]),
    ):
        report.note(f"others' answers {when}", len(some))
        report.note(f"their p99 {when}, s", quantile([each[1] for each in some], 0.99))
        report.note(f"their longest {when}, s", max((each[1] for each in some), default=float("nan")))
    after = [each for each in timed if each[0] >= deadline]
    late = quantile([each[1] for each in after], 0.99)
    report.demand("others' p99 after the deadline, s", late, f"below {WANTED}", late < WANTED)
    failed = sum(each[2] != "200" for each in timed)
    report.demand("others not answered 200", failed, "0", failed == 0)
    return report.close()
