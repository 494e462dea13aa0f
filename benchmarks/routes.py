"""CPU per request of the service's routes, each in turn in one run, over a TEI upstream and one that speaks OpenAI.

`python -m benchmarks.routes` prints medians and their ratio to `/embed` over TEI. Clients and upstream run on the first
core, the service on the last.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import precise_loop, processes, report, schedule, wire
from benchmarks.client import closed_loop

if TYPE_CHECKING:
    from collections.abc import Sequence

FIXED_MS, DIMENSIONS = 5.0, 384


class Route(NamedTuple):
    """A route over an upstream, and what stands in its bodies."""

    upstream: str
    path: str
    member: str
    encoding: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.path, self.encoding, "over", self.upstream)))


ROUTES = [
    Route("tei", "/embed", "inputs"),
    Route("tei", "/v1/embeddings", "input", "float"),
    Route("tei", "/v1/embeddings", "input", "base64"),
    Route("openai", "/embed", "inputs"),
    Route("openai", "/v1/embeddings", "input", "base64"),
]


def requests(url: str, route: Route) -> tuple[wire.Endpoint, list[bytes]]:
    """Return where to send what: one text in each request."""
    target = wire.endpoint(url, route.path)
    texts = schedule.texts(256, (8,), 1)
    more = {"encoding_format": route.encoding} if route.encoding else {}
    bodies = [json.dumps({route.member: text, **more}).encode() for text in texts]
    return target, [wire.build_request(target, body) for body in bodies]


def microseconds(service: processes.Service, route: Route, clients: int, seconds: float) -> float:
    """Return the processor time of one request."""
    target, asked = requests(service.url, route)
    readings: list[processes.Usage] = []
    recording = precise_loop.run(
        closed_loop(
            target,
            asked,
            clients=clients,
            warmup=1.0,
            seconds=seconds,
            on_window=lambda _: readings.append(processes.usage(service.pid)),
        )
    )
    if recording.errors:
        raise processes.ServiceError(f"{route}: {dict(recording.errors)}")
    summary = report.summarize(recording, before=readings[0], after=readings[-1])
    return summary.cpu_us or float("nan")


def upstream_command() -> list[str]:
    """Return the command of the simulated upstream, which speaks both APIs."""
    flags = ["--port", "{port}", "--fixed-ms", str(FIXED_MS), "--per-item-ms", "0"]
    return processes.module_command("benchmarks.upstream", *flags)


def proxy_command(url: str, api: str) -> list[str]:
    """Return the command of a proxy that speaks ``api`` to the upstream."""
    flags = ["--port", "{port}", "--inference-url", url, "--upstream-api", api, "--cpu-affinity", "off"]
    return [sys.executable, "app.py", *flags]


def main(argv: Sequence[str] | None = None) -> None:
    """Command-line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=64)
    options = parser.parse_args(argv)
    cores = sorted(os.sched_getaffinity(0))
    others, own = cores[:1], cores[-1:]
    processes.pin(others)
    with ExitStack() as stack:
        start = functools.partial(processes.running, ready_path="/health")
        upstream = stack.enter_context(start("upstream", upstream_command(), cpus=others))
        services = {
            api: stack.enter_context(start(api, proxy_command(upstream.url, api), cpus=own))
            for api in ("tei", "openai")
        }
        costs: dict[Route, list[float]] = {route: [] for route in ROUTES}
        for turn in range(options.rounds):
            for route in ROUTES if turn % 2 else reversed(ROUTES):
                cost = microseconds(services[route.upstream], route, options.clients, options.seconds)
                costs[route].append(cost)
    for route, told in costs.items():
        ratio = statistics.median(cost / base for cost, base in zip(told, costs[ROUTES[0]], strict=True))
        print(f"{route!s:40} {statistics.median(told):7.1f} us   {ratio:.2f} of {ROUTES[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
