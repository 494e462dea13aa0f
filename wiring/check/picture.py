"""Draws what a check has measured: calls by their texts, and crowds without and with batching. Needs matplotlib."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wiring.check.findings import UpstreamFindings
    from wiring.check.payoff import Pair

#: What to do where it is not there.
MISSING = "--png needs matplotlib: pip install -r requirements-bench.txt"


def pyplot() -> Any:
    """Return matplotlib's plotting module; raises ``ImportError``."""
    importlib.import_module("matplotlib").use("Agg")
    return importlib.import_module("matplotlib.pyplot")


def draw(plot: Any, upstreams: Sequence[UpstreamFindings], pairs: Sequence[Pair], path: Path) -> None:
    """Write the picture. ``plot``: what ``pyplot`` returns."""
    figure, (left, right) = plot.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for each in upstreams:
        if each.line is None:
            continue
        sizes = list(each.times)
        (points,) = left.plot(sizes, [1000 * each.times[size] for size in sizes], "o", label=each.url)
        left.plot(sizes, [1000 * each.line.of(size) for size in sizes], "--", color=points.get_color())
    left.set(xlabel="texts of a call", ylabel="ms", ylim=(0, None), title="A call, and the line a + b·n")
    if pairs:
        clients = [str(pair.clients) for pair in pairs]
        right.plot(clients, [pair.direct for pair in pairs], "o-", label="one by one")
        right.plot(clients, [pair.batched for pair in pairs], "o-", label="batched")
    right.set(xlabel="clients", ylabel="requests/s", ylim=(0, None), title="Clients that wait for each answer")
    for axis in (left, right):
        axis.grid(visible=True, alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend()
    figure.savefig(path, dpi=100)
    plot.close(figure)
