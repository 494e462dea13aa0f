"""Clients that read slowly, say nothing or ask for metrics all the time cost the others next to nothing."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import psutil

from benchmarks.processes import fetch, free_port
from tests.endurance.client import Crowd, one_text
from tests.endurance.stage import Report, Upstream, service
from tests.support.service import ROOT, embed_request, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.service import Answer, Service

#: Bytes a second that a slow client takes, and seconds between two of its reads.
SPEED, READ_EVERY = 25_000, 0.2
#: Seconds between two looks of a client that wants an answer soon.
ASK_EVERY = 0.1
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
METRICS = b"GET /metrics HTTP/1.1\r\nHost: door\r\n\r\n"


@contextmanager
def many_numbers(dimensions: int) -> Iterator[str]:
    """Run an upstream with vectors of so many numbers, which is quick; the URL."""
    port = free_port()
    flags = ["--port", str(port), "--dimensions", str(dimensions), "--servers", "64"]
    flags += ["--fixed-ms", "2", "--per-item-ms", "0.01"]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.upstream", *flags], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        with suppress(OSError):
            return fetch(url, "/health", timeout=1.0)[0] == 200
        return False

    try:
        eventually(answers)
        yield url
    finally:
        process.terminate()
        process.wait()


async def read_slowly(port: int, texts: int, until: float, ends: Counter[str]) -> None:
    """Ask for as many vectors as there are texts, and take them at ``SPEED``."""
    loop = asyncio.get_running_loop()
    end = "reading"
    with closing(socket.socket()) as sock:
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, embed_request([f"text {number}" for number in range(texts)]))
            data = await loop.sock_recv(sock, 12)
            end = "reading" if data[9:12] == b"200" else data[9:12].decode()
            while time.monotonic() < until and end == "reading":
                await asyncio.sleep(READ_EVERY)
                if not await loop.sock_recv(sock, int(SPEED * READ_EVERY)):
                    end = "closed"
        except OSError:
            end = "reset"
    ends[end] += 1


async def ask_often(ask: Callable[[], Answer], until: float) -> list[tuple[int, float]]:
    """Ask now and then; return the status and the seconds of each answer, 0 for none."""
    seen = []
    while time.monotonic() < until:
        began = time.monotonic()
        status = 0
        with suppress(OSError):
            status = (await asyncio.to_thread(ask)).status
        seen.append((status, time.monotonic() - began))
        await asyncio.sleep(ASK_EVERY)
    return seen


def rss(running: Service) -> int:
    return sum(psutil.Process(pid).memory_info().rss for pid in running.workers)


async def beside_slow_readers(options: argparse.Namespace, running: Service, report: Report) -> None:
    for _ in range(3):  # what the first answers of this size leave behind is not the slow readers'
        await asyncio.to_thread(running.embed, [f"text {number}" for number in range(options.texts)])
    before = most = rss(running)
    until = time.monotonic() + options.seconds
    ends: Counter[str] = Counter()
    slow = [asyncio.create_task(read_slowly(running.port, options.texts, until, ends)) for _ in range(options.readers)]
    while time.monotonic() < until - options.seconds / 2:  # all of them are answered meanwhile
        most = max(most, rss(running))
        await asyncio.sleep(0.05)
    seen = await ask_often(lambda: running.embed("one text"), until)
    most = max(most, rss(running))
    await asyncio.gather(*slow)
    for name, count in sorted(ends.items()):
        report.note(f"slow readers: {name}", count)
    grown = (most - before) / 1e6
    report.demand("memory grows by, MB", grown, "below 250", grown < 250)
    demand_soon(report, "a single text beside them, s", seen, 0.1)


async def beside_silence(options: argparse.Namespace, running: Service, report: Report) -> None:
    loop = asyncio.get_running_loop()
    silent = []
    try:
        until = time.monotonic() + options.seconds
        asking = [
            asyncio.create_task(ask_often(lambda: running.get("/health/live"), until)),
            asyncio.create_task(ask_often(lambda: running.embed("a new client"), until)),
        ]
        for number in range(options.silent):
            sock = socket.socket()
            sock.setblocking(False)
            silent.append(sock)
            with suppress(TimeoutError):
                await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", running.port)), 1.0)
            if number % 100 == 99:
                await asyncio.sleep(0.02)
        live, new = await asyncio.gather(*asking)
    finally:
        for sock in silent:
            sock.close()
    report.note("silent connections", len(silent))
    demand_soon(report, "/health/live beside silent connections, s", live, 0.5)
    demand_soon(report, "a new client beside them, s", new, 0.5)


def demand_soon(report: Report, what: str, seen: list[tuple[int, float]], within: float) -> None:
    statuses = Counter(status for status, _ in seen)
    slowest = max(seconds for _, seconds in seen)
    report.note(f"{what}: answers", json.dumps(statuses))
    held = set(statuses) == {200} and slowest <= within
    report.demand(f"{what}: slowest", slowest, f"all 200 within {within}", held)


async def scrape(port: int, until: float, scraped: Counter[str]) -> None:
    """Ask for metrics again and again on one connection."""
    while time.monotonic() < until:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with closing(writer):
                while time.monotonic() < until:
                    writer.write(METRICS)
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = _LENGTH.search(head)
                    await reader.readexactly(int(length[1]) if length else 0)
                    scraped[head[9:12].decode()] += 1
        await asyncio.sleep(0.01)


async def scrape_all(port: int, scrapers: int, seconds: float) -> Counter[str]:
    """Let so many clients do so; return how often each status came."""
    scraped: Counter[str] = Counter()
    until = time.monotonic() + seconds
    await asyncio.gather(*(scrape(port, until, scraped) for _ in range(scrapers)))
    return scraped


async def speed(port: int, seconds: float) -> float:
    """Return the answers a second that eight clients get."""
    crowd = Crowd(port, 8, one_text)
    crowd.start()
    await asyncio.sleep(seconds)
    tally = await crowd.stop()
    return tally.outcomes["200"] / seconds


async def beside_scrapers(options: argparse.Namespace, running: Service, report: Report) -> None:
    alone, beside = [], []
    scraped: Counter[str] = Counter()
    leg = options.seconds / 6
    # In a process of their own: what their side costs is not the service's.
    command = (sys.executable, "-m", __name__, str(running.port), str(options.scrapers), str(leg + 0.5))
    await speed(running.port, 1.0)
    for _ in range(3):
        alone.append(await speed(running.port, leg))
        scrapers = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
        await asyncio.sleep(0.5)
        beside.append(await speed(running.port, leg))
        scraped.update(json.loads((await scrapers.communicate())[0]))
    kept = sum(beside) / sum(alone)
    report.note("/metrics answered", json.dumps(scraped))
    report.note("answers a second alone", sum(alone) / len(alone))
    report.note("answers a second beside scrapers", sum(beside) / len(beside))
    report.demand("speed kept beside scrapers", kept, "0.8 at least", kept >= 0.8)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.endurance door", description=__doc__)
    parser.add_argument("--readers", type=int, default=60)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--dimensions", type=int, default=512)
    parser.add_argument("--silent", type=int, default=4800)
    parser.add_argument("--scrapers", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=12.0, help="for each of the three parts")
    parser.add_argument("--part", choices=("readers", "silence", "scrapers"), help="this part alone")
    options = parser.parse_args(argv)
    report = Report("door")
    if options.part in {None, "readers"}:
        # Room for all of them at once: it is answers that the memory is for.
        with many_numbers(options.dimensions) as url, service(inference_url=url, max_queued_items=100_000) as running:
            asyncio.run(beside_slow_readers(options, running, report))
    for part, measure in (("silence", beside_silence), ("scrapers", beside_scrapers)):
        if options.part in {None, part}:
            with Upstream(fixed=2) as upstream, service(inference_url=upstream.url) as running:
                asyncio.run(measure(options, running, report))
    return report.close()


if __name__ == "__main__":  # the scrapers' process
    port, scrapers, seconds = sys.argv[1:]
    sys.stdout.write(json.dumps(asyncio.run(scrape_all(int(port), int(scrapers), float(seconds)))))
