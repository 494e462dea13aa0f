"""Divides a whole number into whole shares that add up to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """Return a share of ``total`` for each weight, in proportion, whose sum is ``total`` exactly.

    Largest remainder: each share is its exact part rounded down, and what is left goes, one each, to those that lost
    most by rounding; of two that lost the same, to the first. ``total`` and the weights are 0 or more. Without any
    weight above 0 all weigh the same; without weights there are no shares.
    """
    if len(weights) == 1:
        return [total]
    whole = sum(weights)
    if not whole:
        weights, whole = [1] * len(weights), len(weights)
    parts, remainders = [], []
    for weight in weights:
        part, remainder = divmod(total * weight, whole)
        parts.append(part)
        remainders.append(remainder)
    if left := total - sum(parts):
        for at in sorted(range(len(parts)), key=remainders.__getitem__, reverse=True)[:left]:
            parts[at] += 1
    return parts
