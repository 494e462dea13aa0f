"""What a check has found, and how it is told: as text and as members of a JSON object. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wiring.check.payoff import Line, Pair, fit

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class UpstreamFindings:
    """What one upstream says and does."""

    url: str
    #: One sentence on what it speaks; and why it cannot be used, empty if it can.
    speaks: str = ""
    problem: str = ""
    model: str | None = None
    #: Texts of one call, and tokens, that it takes; calls that it takes at once. None: it does not tell.
    most_items: int | None = None
    most_tokens: int | None = None
    most_at_once: int | None = None
    #: Numbers of a vector, and seconds of the first call of one text.
    dimension: int = 0
    first_call: float | None = None
    #: Seconds of calls by their texts, and why larger ones were not measured.
    times: dict[int, float] = field(default_factory=dict)
    stopped_by: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it has answered a text with a vector."""
        return not self.problem

    @property
    def line(self) -> Line | None:
        """The line through the times; None where fewer than two sizes were measured."""
        return fit(self.times) if len(self.times) > 1 else None

    def lines(self) -> list[str]:
        """Return what is told of it."""
        told = [f"upstream {self.url} {self.speaks}".rstrip()]
        if self.problem:
            return [*told, f"  not ready: {self.problem}"]
        limits = [
            f"{figure} {what}"
            for figure, what in (
                (self.most_items, "texts a call"),
                (self.most_tokens, "tokens a call"),
                (self.most_at_once, "calls at once"),
            )
            if figure
        ]
        told.append(f"  model: {self.model or 'not told'}; limits: {', '.join(limits) or 'none told'}")
        if self.first_call is not None:
            told.append(f"  one text: a vector of {self.dimension} numbers in {self.first_call * 1000:.1f} ms")
        if self.line is not None:
            told += ["", *_times(self.times, self.line), ""]
        if self.stopped_by:
            told.append(f"  {self.stopped_by}")
        return told

    def members(self) -> dict[str, Any]:
        """Return the same for JSON; times are milliseconds."""
        line = self.line
        return {
            "url": self.url,
            "ready": self.is_ready,
            "speaks": self.speaks,
            "problem": self.problem,
            "model": self.model,
            "limits": {"texts": self.most_items, "tokens": self.most_tokens, "calls_at_once": self.most_at_once},
            "dimension": self.dimension,
            "first_call_ms": _ms(self.first_call),
            "call_ms": {str(size): _ms(seconds) for size, seconds in self.times.items()},
            "fixed_ms": None if line is None else _ms(line.fixed),
            "per_text_ms": None if line is None else _ms(line.per_item),
            "stopped_by": self.stopped_by,
        }


def table(pairs: Sequence[Pair]) -> list[str]:
    """Return the lines that tell what crowds get without and with batching."""
    heads = ("clients", "one by one, requests/s", "batched, requests/s", "gain", "texts a call")
    rows = [
        (
            str(pair.clients),
            f"{pair.direct:.0f}",
            f"{pair.batched:.0f}",
            f"{pair.gain:.2f}",
            f"{pair.batch_size:.1f}",
        )
        for pair in pairs
    ]
    return _aligned(heads, rows)


def pair_members(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return the same for JSON."""
    return [
        {
            "clients": pair.clients,
            "direct_per_second": round(pair.direct, 1),
            "batched_per_second": round(pair.batched, 1),
            "gain": round(pair.gain, 3),
            "batch_size": round(pair.batch_size, 2),
        }
        for pair in pairs
    ]


def _times(times: dict[int, float], line: Line) -> list[str]:
    rows = [
        (str(size), f"{seconds * 1000:.1f}", f"{line.of(size) * 1000:.1f}", f"{size / seconds:.0f}")
        for size, seconds in times.items()
    ]
    head = f"  a call of n texts takes {line.fixed * 1000:.1f} + {line.per_item * 1000:.2f}·n ms"
    return [head, *_aligned(("texts", "ms", "by the line", "texts/s"), rows)]


def _aligned(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (heads, *rows)
    ]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
