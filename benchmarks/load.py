"""The load tool: `python -m benchmarks.load closed|open|compare`, see --help of each."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks import client, compare, precise_loop, processes, report, schedule, wire
from benchmarks.peers import install
from wiring.check.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from benchmarks.client import Recording
    from benchmarks.processes import Usage

_BAR_PERIOD = 0.25


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    commands = parser.add_subparsers(required=True)

    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--path", default="/embed")
    shared.add_argument("--words", type=_numbers, default=(8,), help="words of a text; several: 8,32,128")
    shared.add_argument("--cpus", type=_numbers, default=(), help="cores for the generator: 0 or 0,1")
    shared.add_argument("--json", type=Path, help="write the figures to this file")
    shared.add_argument("--png", type=Path, help="draw them into this file")

    single = argparse.ArgumentParser(add_help=False, parents=[shared])
    single.add_argument("--url", required=True)
    single.add_argument("--seconds", type=float, default=10.0)
    single.add_argument("--warmup", type=float, default=1.0, help="seconds before the measured ones")
    single.add_argument("--batch", type=int, default=1, help="texts in a request")
    single.add_argument("--timeout", type=float, default=30.0, help="seconds a reply may take")
    single.add_argument("--seed", type=int, default=1, help="of the texts and the schedule")
    single.add_argument("--pid", type=int, help="process whose tree's CPU, switches and RSS are read")

    closed = commands.add_parser("closed", parents=[single], help="clients that wait for their reply")
    closed.add_argument("--clients", type=int, default=64)
    closed.add_argument("--think-ms", type=float, default=0.0)
    closed.set_defaults(run=run_closed)

    opened = commands.add_parser("open", parents=[single], help="Poisson arrivals, sent without waiting for replies")
    opened.add_argument("--rate", type=float, required=True, help="requests a second")
    opened.add_argument("--max-connections", type=int, default=1000)
    opened.set_defaults(run=run_open)

    versus = commands.add_parser("compare", parents=[shared], help="services in turn, one upstream")
    _compare_options(versus)
    versus.set_defaults(run=run_compare)
    return parser.parse_args(argv)


def _compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clients", type=_numbers, default=(1, 4, 16, 64))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured in each run")
    parser.add_argument("--warmup", type=float, default=1.0, help="before them")
    parser.add_argument("--think-ms", type=float, default=0.0)
    parser.add_argument("--stock", action="store_true", help="CPU per request against a constant handler")
    parser.add_argument("--peers", type=_peers, default=[], help="mosec,bentoml (installed on demand)")
    parser.add_argument(
        "--also",
        type=_named_command,
        action="append",
        default=[],
        help="NAME='command with {port} and {upstream}'",
    )
    parser.add_argument("--proxy-command", type=shlex.split, help="instead of app.py; {port}, {upstream}")
    parser.add_argument("--proxy-arg", action="append", default=[], help="one more argument of app.py")
    parser.add_argument("--proxy-ready", default="/health/ready")
    parser.add_argument("--upstream-command", type=shlex.split, help="instead of the simulated one; {port}")
    parser.add_argument("--upstream-cpus", type=_numbers, default=())
    parser.add_argument("--fixed-ms", type=float, default=20.0)
    parser.add_argument("--per-item-ms", type=float, default=0.5)
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--pad", action="store_true")
    parser.add_argument("--rebatch", action="store_true")
    parser.add_argument("--max-batch", type=int, default=32, help="batch of `ideal` and the optimum")
    parser.add_argument("--inflight", type=int, default=4, help="clients of `ideal`")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _peers(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(install.READY_PATHS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def _named_command(text: str) -> tuple[str, list[str]]:
    name, found, command = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError("expected NAME=COMMAND")
    return name, shlex.split(command)


def run_closed(options: argparse.Namespace) -> None:
    """`closed`: measure, print, write."""
    target, requests = _requests(options)
    readings: list[Usage] = []
    loop = client.closed_loop(
        target,
        requests,
        clients=options.clients,
        seconds=options.seconds,
        warmup=options.warmup,
        think=options.think_ms / 1e3,
        timeout=options.timeout,
        on_window=lambda _: _read(options.pid, readings),
    )
    _run(options, loop, readings, f"{options.clients} clients, think {options.think_ms:g} ms")


def run_open(options: argparse.Namespace) -> None:
    """`open`: measure, print, write."""
    target, requests = _requests(options)
    readings: list[Usage] = []
    loop = client.open_loop(
        target,
        requests,
        schedule.poisson_times(options.rate, options.warmup + options.seconds, options.seed),
        warmup=options.warmup,
        max_connections=options.max_connections,
        timeout=options.timeout,
        on_window=lambda _: _read(options.pid, readings),
    )
    _run(options, loop, readings, f"Poisson, {options.rate:g} requests/s")


def run_compare(options: argparse.Namespace) -> None:
    """`compare`: measure, print, write."""
    result = compare.compare(options)
    if options.json:
        report.write_json(options.json, result)
    if options.png:
        compare.draw(options, result)


def _requests(options: argparse.Namespace) -> tuple[wire.Endpoint, list[bytes]]:
    processes.pin(options.cpus)
    target = wire.endpoint(options.url, options.path)
    texts = schedule.texts(max(256, 4 * options.batch), options.words, options.seed)
    return target, [wire.build_request(target, body) for body in schedule.bodies(texts, options.batch)]


def _read(pid: int | None, readings: list[Usage]) -> None:
    if pid is not None:
        readings.append(processes.usage(pid))


async def _with_bar(loop: Coroutine[Any, Any, Recording], seconds: float, label: str) -> Recording:
    progress = Progress()
    running = asyncio.get_running_loop()
    started = running.time()
    task = asyncio.ensure_future(loop)
    while not task.done():
        progress.show((running.time() - started) / seconds, label)
        await asyncio.wait([task], timeout=_BAR_PERIOD)
    progress.clear()
    return task.result()


def _run(options: argparse.Namespace, loop: Coroutine[Any, Any, Recording], readings: list[Usage], title: str) -> None:
    recording = precise_loop.run(_with_bar(loop, options.warmup + options.seconds, title))
    summary = report.summarize(
        recording,
        items_per_request=options.batch,
        before=readings[0] if readings else None,
        after=readings[-1] if readings else None,
    )
    print(f"{title}, {options.seconds:g} s, {options.url}{options.path}\n")
    print(report.summary_table(summary))
    if options.json:
        report.write_json(options.json, {"title": title, "summary": summary})
    if options.png:
        report.draw_run(options.png, summary, recording.latencies, title)


def main(argv: Sequence[str] | None = None) -> None:
    """Command-line entry; ends with a message, not a trace, where a service is at fault."""
    options = arguments(argv)
    try:
        options.run(options)
    except (processes.ServiceError, wire.WireError, OSError, psutil.NoSuchProcess) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        with contextlib.suppress(BrokenPipeError):
            sys.exit(130)


if __name__ == "__main__":
    main()
