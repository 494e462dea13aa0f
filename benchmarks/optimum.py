"""Computes what the best possible batching of a closed crowd reaches, for `compare` to measure against."""

from __future__ import annotations

import math


def crowd_optimum(
    clients: int,
    *,
    fixed: float,
    per_item: float,
    away: float = 0.0,
    max_batch: int = 32,
    servers: int = 1,
) -> float:
    """Items a second that a closed crowd of `clients` can get at best; all times in seconds.

    The upstream needs a + b·n for n items (`fixed`, `per_item`) and works on `servers` calls at
    once; a client that got its answer is `away` (think time plus the measured round trip without
    the upstream's own work) before its next request can be there.

    Computed as the best cyclic schedule. Split the crowd of N into k cohorts of at most
    ceil(N / k) clients, each sent as one call when all of it is back. A cycle serves all N and lasts

        max((k·a + b·N) / servers,  a + b·ceil(N / k) + away)

    (the upstream's work, or one cohort's own round trip, whichever is longer). The optimum is the
    largest N / cycle over every k with ceil(N / k) ≤ `max_batch`. For a crowd that fits one batch and
    is quickly back (away < a), k = 1 wins and this is N / (a + b·N + away). A crowd
    slightly above the maximum may do better by leaving the surplus waiting and sending full
    batches of B = `max_batch`: B / (a + b·B + away) is considered too.

    Raises ValueError where a count is not positive.
    """
    if min(clients, max_batch, servers) < 1:
        raise ValueError("clients, max_batch and servers must be at least 1")
    best = 0.0
    for cohorts in range(math.ceil(clients / max_batch), clients + 1):
        work = (cohorts * fixed + per_item * clients) / servers
        trip = fixed + per_item * math.ceil(clients / cohorts) + away
        best = max(best, clients / max(work, trip))
    if clients > max_batch:
        best = max(best, max_batch / (fixed + per_item * max_batch + away))
    return best
