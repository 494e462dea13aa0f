"""Benches of upstreams, queue and batcher, whose threads end with the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.batching.failover_bench import FailoverBench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def failover_of() -> Iterator[Callable[..., FailoverBench]]:
    benches: list[FailoverBench] = []

    def failover_of(count: int = 2, *, permits: int = 1_000_000, wait: float = 0.0) -> FailoverBench:
        benches.append(FailoverBench(count, permits=permits, unavailable_wait=wait))
        return benches[-1]

    yield failover_of
    for bench in benches:
        bench.workers.finish()
