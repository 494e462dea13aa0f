"""Turns recordings into figures: percentiles, summaries, tables, JSON and pictures."""

from __future__ import annotations

import importlib
import json
import math
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.client import Recording
    from benchmarks.processes import Usage


@dataclass(frozen=True, slots=True)
class Summary:
    """One measured window in figures. A field is None where it was not measured or there is nothing to divide by.

    Throughput is per second; latencies are in milliseconds; CPU is microseconds of processor time per good
    reply, of the service's process tree and of the load generator.
    """

    requests: int
    items: int
    seconds: float
    errors: dict[str, int]
    requests_per_second: float
    items_per_second: float
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    mean_batch: float | None
    batch_sizes: dict[int, int]
    cpu_us: float | None
    voluntary_switches: float | None
    involuntary_switches: float | None
    rss_mb: float | None
    generator_us: float | None


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the lowest and highest value behind it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.median)} [{number(self.low)}-{number(self.high)}]"


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that `share` (0-1) of all do not exceed.

    `ordered` ascends. Raises ValueError where it is empty.
    """
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest. Raises ValueError where `values` is empty."""
    if not values:
        raise ValueError("no values")
    return Spread(statistics.median(values), min(values), max(values))


def mean_size(sizes: Mapping[int, int]) -> float | None:
    """Mean size of a batch, from the number of replies by the batch size that they name; None without replies.

    A batch of n items has n replies that name it, so each of the `count` replies of `size` counts as 1 / size of a
    batch.
    """
    batches = sum(count / size for size, count in sizes.items())
    return sum(sizes.values()) / batches if batches else None


def summarize(
    recording: Recording,
    *,
    items_per_request: int = 1,
    before: Usage | None = None,
    after: Usage | None = None,
) -> Summary:
    """Turn a recording, and the service's clocks at both ends of its window, into figures."""
    latencies = sorted(recording.latencies)
    count = len(latencies)

    def at(share: float) -> float | None:
        return percentile(latencies, share) * 1e3 if latencies else None

    def per_request(value: float) -> float | None:
        return value / count if count else None

    measured = before is not None and after is not None
    cpu = voluntary = involuntary = rss = None
    if measured and before and after:
        cpu = per_request((after.cpu_seconds - before.cpu_seconds) * 1e6)
        voluntary = per_request(after.voluntary_switches - before.voluntary_switches)
        involuntary = per_request(after.involuntary_switches - before.involuntary_switches)
        rss = after.rss_bytes / 1e6
    return Summary(
        requests=count,
        items=count * items_per_request,
        seconds=recording.seconds,
        errors=dict(recording.errors),
        requests_per_second=count / recording.seconds,
        items_per_second=count * items_per_request / recording.seconds,
        p50_ms=at(0.5),
        p90_ms=at(0.9),
        p99_ms=at(0.99),
        max_ms=at(1.0),
        mean_batch=mean_size(recording.batch_sizes),
        batch_sizes=dict(sorted(recording.batch_sizes.items())),
        cpu_us=cpu,
        voluntary_switches=voluntary,
        involuntary_switches=involuntary,
        rss_mb=rss,
        generator_us=per_request(recording.generator_cpu * 1e6),
    )


def number(value: float | None) -> str:
    """Three significant digits, whole from 100 up; a dash where there is no value."""
    if value is None:
        return "-"
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table with columns aligned: the first to the left, the others to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(header), *(len(row[at]) for row in cells), 3) for at, header in enumerate(headers)]

    def line(values: Sequence[str]) -> str:
        padded = [value.rjust(width) for value, width in zip(values, widths, strict=True)]
        padded[0] = values[0].ljust(widths[0])
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if at else "-") for at, width in enumerate(widths)) + "|"
    return "\n".join([line(headers), rule, *map(line, cells)])


def _cell(value: object) -> str:
    return number(value) if value is None or isinstance(value, int | float) else str(value)


def summary_table(summary: Summary) -> str:
    """One run, a figure a line."""
    sizes = ", ".join(f"{size}: {count}" for size, count in summary.batch_sizes.items())
    rows: list[tuple[str, object]] = [
        ("requests", summary.requests),
        ("errors", ", ".join(f"{kind}: {count}" for kind, count in summary.errors.items()) or "none"),
        ("requests/s", summary.requests_per_second),
        ("items/s", summary.items_per_second),
        ("p50 ms", summary.p50_ms),
        ("p90 ms", summary.p90_ms),
        ("p99 ms", summary.p99_ms),
        ("max ms", summary.max_ms),
        ("mean batch", summary.mean_batch),
        ("replies by batch size", sizes or "-"),
        ("CPU per request, us", summary.cpu_us),
        ("voluntary switches per request", summary.voluntary_switches),
        ("involuntary switches per request", summary.involuntary_switches),
        ("RSS, MB", summary.rss_mb),
        ("generator CPU per request, us", summary.generator_us),
    ]
    return table(["figure", "value"], rows)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write `content`; dataclasses become objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, default=asdict) + "\n")


def _pyplot() -> Any:
    """matplotlib, needed for pictures alone and therefore imported late. Raises SystemExit without it."""
    try:
        importlib.import_module("matplotlib").use("Agg")
        return importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise SystemExit("--png needs matplotlib: pip install -r requirements-bench.txt") from None


def draw_run(path: Path, summary: Summary, latencies: Sequence[float], title: str) -> None:
    """Latencies (seconds) as a cumulative curve, and the replies by batch size."""
    pyplot = _pyplot()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    ordered = sorted(latencies)
    left.plot(
        [value * 1e3 for value in ordered],
        [100 * (at + 1) / len(ordered) for at in range(len(ordered))],
    )
    left.set(xlabel="latency, ms", ylabel="% of replies no slower", ylim=(0, 100))
    left.grid(visible=True, alpha=0.3)
    right.bar(list(summary.batch_sizes), list(summary.batch_sizes.values()))
    right.set(xlabel="X-Batch-Size", ylabel="replies")
    figure.suptitle(title)
    _save(pyplot, figure, path)


def draw_lines(path: Path, series: Mapping[str, Mapping[int, float]], *, title: str, xlabel: str, ylabel: str) -> None:
    """One line per name over a logarithmic x, as for items/s over clients."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, points in series.items():
        axes.plot(list(points), list(points.values()), marker="o", label=name)
    ticks = sorted({x for points in series.values() for x in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    _save(pyplot, figure, path)


def _save(pyplot: Any, figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
