"""Alternating runs of several services against one upstream: medians, ratios and their spread.

On a shared machine the clock speed, the load of other processes and the caches change from minute to minute.
Runs that are to be compared therefore follow each other at once, in an order that rotates from round to round,
and ratios are taken within a round before the median is.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchmarks import precise_loop, processes, report, schedule, wire
from benchmarks.client import closed_loop
from benchmarks.optimum import crowd_optimum
from benchmarks.peers import install
from wiring.check.progress import Progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from benchmarks.processes import Service, Usage

T = TypeVar("T")

#: Clients that ask at once while answers are checked.
_CHECKERS = 32
#: Largest difference of a number: a service may print it with fewer digits.
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Target:
    """A service to be measured, and how it is asked."""

    name: str
    url: str
    pid: int | None
    #: Texts in a request.
    batch: int = 1
    #: Clients, where that does not follow the comparison's.
    clients: int | None = None
    #: Whether its calls reach the upstream whose counters are read.
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one target."""

    target: str
    clients: int
    round: int
    summary: report.Summary
    #: Mean items of the calls the upstream saw; None where it does not count.
    upstream_batch: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """All rounds of one target at one number of clients."""

    target: str
    clients: int
    items_per_second: report.Spread
    p50_ms: report.Spread
    p99_ms: report.Spread
    upstream_batch: float | None
    cpu_us: report.Spread | None
    switches: float | None
    rss_mb: float | None
    errors: int


def rotated(targets: Sequence[T], turn: int) -> list[T]:
    """The order of round `turn`: each target goes first, and last, equally often."""
    at = turn % len(targets)
    return [*targets[at:], *targets[:at]]


def ratios(
    samples: Sequence[Sample], of: str, to: str, clients: int, figure: Callable[[report.Summary], float | None]
) -> report.Spread | None:
    """`figure` of one target over that of another, round by round; None where either has none."""
    by_round: dict[int, dict[str, float | None]] = {}
    for sample in samples:
        if sample.clients == clients and sample.target in {of, to}:
            by_round.setdefault(sample.round, {})[sample.target] = figure(sample.summary)
    quotients = [above / below for pair in by_round.values() if (above := pair.get(of)) and (below := pair.get(to))]
    return report.spread(quotients) if quotients else None


def lines(samples: Sequence[Sample]) -> list[Line]:
    """One line per number of clients and target, in order of appearance."""
    groups: dict[tuple[int, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.clients, sample.target), []).append(sample)
    return [_line(target, clients, group) for (clients, target), group in groups.items()]


def _line(target: str, clients: int, group: Sequence[Sample]) -> Line:
    def known(figure: Callable[[Sample], float | None]) -> list[float]:
        return [value for value in map(figure, group) if value is not None]

    def median(values: list[float]) -> float | None:
        return report.spread(values).median if values else None

    cpu = known(lambda sample: sample.summary.cpu_us)
    return Line(
        target=target,
        clients=clients,
        items_per_second=report.spread([sample.summary.items_per_second for sample in group]),
        p50_ms=report.spread(known(lambda sample: sample.summary.p50_ms) or [0.0]),
        p99_ms=report.spread(known(lambda sample: sample.summary.p99_ms) or [0.0]),
        upstream_batch=median(known(lambda sample: sample.upstream_batch)),
        cpu_us=report.spread(cpu) if cpu else None,
        switches=median(
            known(
                lambda sample: (
                    (sample.summary.voluntary_switches or 0) + (sample.summary.involuntary_switches or 0)
                    if sample.summary.cpu_us is not None
                    else None
                )
            )
        ),
        rss_mb=median(known(lambda sample: sample.summary.rss_mb)),
        errors=sum(sum(sample.summary.errors.values()) for sample in group),
    )


def lines_table(rows: Sequence[Line]) -> str:
    """The medians as a table."""
    headers = [
        "clients",
        "service",
        "items/s",
        "p50 ms",
        "p99 ms",
        "batch",
        "CPU us/req",
        "switches",
        "RSS MB",
        "errors",
    ]
    return report.table(
        headers,
        [
            [
                row.clients,
                row.target,
                row.items_per_second,
                row.p50_ms.median,
                row.p99_ms.median,
                row.upstream_batch,
                row.cpu_us or "-",
                row.switches,
                row.rss_mb,
                row.errors,
            ]
            for row in rows
        ],
    )


def measure(target: Target, clients: int, options: argparse.Namespace, upstream_url: str, turn: int) -> Sample:
    """One run: `options.seconds` after `options.warmup`, closed loop. Raises OSError."""
    endpoint = wire.endpoint(target.url, options.path)
    texts = schedule.texts(max(256, 4 * target.batch), options.words, seed=1)
    requests = [wire.build_request(endpoint, body) for body in schedule.bodies(texts, target.batch)]
    readings: list[Usage] = []

    def read_clocks(_: bool) -> None:
        if target.pid is not None:
            readings.append(processes.usage(target.pid))

    before = _calls(upstream_url)
    recording = precise_loop.run(
        closed_loop(
            endpoint,
            requests,
            clients=target.clients or clients,
            seconds=options.seconds,
            warmup=options.warmup,
            think=options.think_ms / 1e3,
            on_window=read_clocks,
        )
    )
    after = _calls(upstream_url)
    upstream_batch = None
    if target.counted and before and after and after[0] > before[0]:
        upstream_batch = (after[1] - before[1]) / (after[0] - before[0])
    summary = report.summarize(
        recording,
        items_per_request=target.batch,
        before=readings[0] if readings else None,
        after=readings[-1] if readings else None,
    )
    return Sample(target.name, clients, turn, summary, upstream_batch)


def _calls(upstream_url: str) -> tuple[int, int] | None:
    """Calls and items the upstream has counted so far, if it counts."""
    if not upstream_url:
        return None
    stats = processes.fetch_json(upstream_url, "/stats")
    return (stats["calls"], stats["items"]) if stats else None


def check_answers(service: Service, upstream_url: str, path: str) -> None:
    """Ask distinct texts all at once; every vector must be the one the upstream gives for that text.

    Raises ServiceError where one is not, and OSError.
    """
    texts = schedule.texts(_CHECKERS, (8,), seed=2)
    status, body = processes.fetch(upstream_url, "/embed", {"inputs": texts})
    if status != 200:
        raise processes.ServiceError(f"the upstream answered {status}")
    expected = json.loads(body)
    with ThreadPoolExecutor(_CHECKERS) as pool:
        answers = list(pool.map(lambda text: processes.fetch(service.url, path, {"inputs": text}), texts))
    for text, (answered, reply), vector in zip(texts, answers, expected, strict=True):
        if answered != 200:
            raise processes.ServiceError(f"answered {answered}: {reply[:200]!r}")
        got = json.loads(reply)
        if len(got) != 1 or len(got[0]) != len(vector):
            raise processes.ServiceError(f"answered the wrong shape for {text!r}")
        if any(abs(one - other) > _TOLERANCE for one, other in zip(got[0], vector, strict=True)):
            raise processes.ServiceError(f"answered another text's vector for {text!r}")


def run_rounds(
    targets: Sequence[Target], crowds: Sequence[int], options: argparse.Namespace, upstream_url: str
) -> list[Sample]:
    """Every target at every number of clients, `options.rounds` times, in rotating order."""
    progress = Progress()
    samples: list[Sample] = []
    total = len(crowds) * options.rounds * len(targets)
    for clients in crowds:
        for turn in range(options.rounds):
            for target in rotated(targets, turn):
                label = f"{clients} clients, round {turn + 1}/{options.rounds}, {target.name}"
                progress.show(len(samples) / total, label)
                samples.append(measure(target, clients, options, upstream_url, turn))
    progress.clear()
    return samples


def upstream_command(options: argparse.Namespace) -> list[str]:
    """The command of the upstream: the one given, or the simulated accelerator."""
    if options.upstream_command:
        command: list[str] = options.upstream_command
        return command
    flags = ["--port", "{port}", "--fixed-ms", str(options.fixed_ms), "--per-item-ms", str(options.per_item_ms)]
    flags += ["--servers", str(options.servers), "--dimensions", str(options.dimensions)]
    flags += ["--noise", str(options.noise), *(["--rebatch"] if options.rebatch else [])]
    flags += ["--pad"] if options.pad else []
    return processes.module_command("benchmarks.upstream", *flags)


def proxy_command(options: argparse.Namespace) -> list[str]:
    """The command of the proxy, `{port}` and `{upstream}` still to be filled in."""
    if options.proxy_command:
        command: list[str] = options.proxy_command
        return command
    return [sys.executable, "app.py", "--port", "{port}", "--inference-url", "{upstream}", *options.proxy_arg]


def stock_command(threads: int) -> list[str]:
    """A stock gunicorn gthread server of the constant handler, with a thread for every client."""
    flags = ["--worker-class", "gthread", "--workers", "1", "--threads", str(threads)]
    flags += ["--bind", "127.0.0.1:{port}", "benchmarks.stock:create_app()"]
    return processes.module_command("gunicorn", *flags)


def start_services(stack: contextlib.ExitStack, options: argparse.Namespace, upstream: Service) -> list[Service]:
    """Start the proxy, the peers and the `--also` commands, and check that each answers correctly."""

    def check(service: Service) -> None:
        check_answers(service, upstream.url, options.path)

    def start(name: str, command: Sequence[str], ready_path: str, environment: dict[str, str] | None = None) -> Service:
        filled = [part.replace("{upstream}", upstream.url) for part in command]
        return stack.enter_context(
            processes.running(name, filled, ready_path=ready_path, environment=environment, check=check)
        )

    services = [start("proxy", proxy_command(options), options.proxy_ready)]
    for name, command in options.also:
        services.append(start(name, command, options.proxy_ready))
    for name in options.peers:
        environment = install.environment(name, upstream.url)
        services.append(start(name, install.command(name), install.READY_PATHS[name], environment))
    return services


def compare(options: argparse.Namespace) -> dict[str, object]:
    """Run the comparison, print its tables, return everything measured.

    Raises ServiceError where a service does not start or answers wrongly, and OSError.
    """
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(
            processes.running("upstream", upstream_command(options), ready_path="/health", cpus=options.upstream_cpus)
        )
        services = start_services(stack, options, upstream)
        targets = [Target(service.name, service.url, service.pid) for service in services]
        if options.stock:
            targets.append(_start_stock(stack, options))
        else:
            targets.insert(0, Target("direct", upstream.url, None))
            targets.append(Target("ideal", upstream.url, None, batch=options.max_batch, clients=options.inflight))
        # Only now: a service started later would inherit it.
        processes.pin(options.cpus)
        away = _measure_away(options, upstream)
        samples = run_rounds(targets, options.clients, options, upstream.url)
    rows = lines(samples)
    print(lines_table(rows))
    print()
    print(_stock_table(samples, options) if options.stock else _ratio_table(samples, targets, options, away))
    return {
        "settings": {key: value for key, value in vars(options).items() if key not in {"run", "json", "png"}},
        "away_seconds": away,
        "lines": rows,
        "samples": samples,
    }


def _start_stock(stack: contextlib.ExitStack, options: argparse.Namespace) -> Target:
    service = stack.enter_context(
        processes.running(
            "stock",
            stock_command(max(options.clients)),
            ready_path="/health",
            environment={"EMBED_DIMENSIONS": str(options.dimensions), "PYTHONPATH": str(processes.REPOSITORY)},
            # gunicorn reads a gunicorn.conf.py of its working directory: here, the proxy's own.
            cwd=Path(tempfile.gettempdir()),
        )
    )
    return Target("stock", service.url, service.pid, counted=False)


def _measure_away(options: argparse.Namespace, upstream: Service) -> float | None:
    """Seconds between the end of a service and the earliest start of the same client's next.

    Measured on one client that talks to the upstream directly: its median latency less a + b, plus think time.
    None where the upstream's cost is not known.
    """
    if options.upstream_command or options.pad:
        return None
    sample = measure(Target("direct", upstream.url, None), 1, options, "", 0)
    service: float = options.fixed_ms + options.per_item_ms
    think: float = options.think_ms
    return max(0.0, (sample.summary.p50_ms or service) - service + think) / 1e3


def optimum(options: argparse.Namespace, clients: int, away: float | None) -> float | None:
    """`crowd_optimum` for the upstream of `options`; None where its cost is not known."""
    if away is None:
        return None
    return crowd_optimum(
        clients,
        fixed=options.fixed_ms / 1e3,
        per_item=options.per_item_ms / 1e3,
        away=away,
        max_batch=options.max_batch,
        servers=options.servers,
    )


def _ratio_table(
    samples: Sequence[Sample], targets: Sequence[Target], options: argparse.Namespace, away: float | None
) -> str:
    rows: list[list[object]] = []
    others = [target.name for target in targets if target.name != "proxy"]
    for clients in options.clients:
        items = {line.target: line.items_per_second.median for line in lines(samples) if line.clients == clients}
        best = optimum(options, clients, away)
        over = [
            ratios(samples, "proxy", name, clients, lambda summary: summary.items_per_second) or "-" for name in others
        ]
        rows.append([clients, best, items["proxy"] / best if best else None, *over])
    title = "items/s of the proxy over that of each other service; the optimum's are absolute"
    headers = ["clients", "optimum items/s", "proxy/optimum", *(f"proxy/{name}" for name in others)]
    return f"{title}:\n\n{report.table(headers, rows)}"


def _stock_table(samples: Sequence[Sample], options: argparse.Namespace) -> str:
    rows = [
        [clients, ratios(samples, "proxy", "stock", clients, lambda summary: summary.cpu_us) or "-"]
        for clients in options.clients
    ]
    return "CPU per request:\n\n" + report.table(["clients", "proxy/stock"], rows)


def draw(options: argparse.Namespace, result: dict[str, object]) -> None:
    """Items/s over clients, a line per service (CPU per request for `--stock`)."""
    rows = result["lines"]
    away = result["away_seconds"]
    assert isinstance(rows, list)
    series: dict[str, dict[int, float]] = {}
    for row in rows:
        value = row.cpu_us.median if options.stock and row.cpu_us else row.items_per_second.median
        series.setdefault(row.target, {})[row.clients] = value
    if isinstance(away, float) and not options.stock:
        best = {clients: optimum(options, clients, away) or 0.0 for clients in options.clients}
        series["optimum"] = best
    report.draw_lines(
        options.png,
        series,
        title=f"upstream {options.fixed_ms:g} + {options.per_item_ms:g} n ms, {options.servers} server(s)"
        if not options.upstream_command
        else "given upstream",
        xlabel="clients",
        ylabel="CPU per request, us" if options.stock else "items/s",
    )
