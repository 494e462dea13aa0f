"""Fixes when an open loop sends, and what, before the first request leaves."""

from __future__ import annotations

import json
import random

_WORDS = (
    "vector",
    "search",
    "finds",
    "near",
    "texts",
    "by",
    "meaning",
    "not",
    "letters",
    "proxy",
    "batch",
    "model",
)


def poisson_times(rate: float, seconds: float, seed: int) -> list[float]:
    """Send times in seconds from 0 to `seconds`, at `rate` a second on average.

    The gaps are exponential (a Poisson process), as between the arrivals of many independent
    clients. The same seed gives the same times. Raises ValueError unless both are positive.
    """
    if rate <= 0 or seconds <= 0:
        raise ValueError("rate and seconds must be positive")
    random_source = random.Random(seed)
    times: list[float] = []
    now = random_source.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += random_source.expovariate(rate)
    return times


def texts(count: int, words: tuple[int, ...], seed: int) -> list[str]:
    """`count` distinct texts whose lengths cycle through `words` (a word is about a token)."""
    random_source = random.Random(seed)
    return [
        " ".join([f"q{index}", *random_source.choices(_WORDS, k=words[index % len(words)] - 1)])
        for index in range(count)
    ]


def bodies(contents: list[str], batch: int) -> list[bytes]:
    """TEI request bodies: one text each, or lists of `batch` texts where that is more than 1."""
    if batch == 1:
        return [json.dumps({"inputs": text}).encode() for text in contents]
    groups = (contents[at : at + batch] for at in range(0, len(contents) - batch + 1, batch))
    return [json.dumps({"inputs": group}).encode() for group in groups]
