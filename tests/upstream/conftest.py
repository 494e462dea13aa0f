"""Fixtures of the upstream side's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from batching import SystemClock
from tests.support.observers import RecordingObserver
from tests.support.upstream import ScriptedUpstream, TeiForm
from tests.upstream.endpoint_bench import TIMEOUT
from tests.upstream.pool_bench import PoolBench
from tests.upstream.transport_bench import Client
from upstream.dialects.tei import TeiDialect
from upstream.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.upstream.endpoint_bench import Connect

INFO = {"model_id": "scripted", "max_client_batch_size": 32, "max_concurrent_requests": 512}


@pytest.fixture
def pool_of() -> Iterator[Callable[..., PoolBench]]:
    """A maker of pools, whose calls all end with the test."""
    benches: list[PoolBench] = []

    def pool_of(count: int = 1, *, each: int = 4, latency: float = 0.0, wait: float = 0.0) -> PoolBench:
        benches.append(PoolBench(count, each=each, latency=latency, wait=wait))
        return benches[-1]

    yield pool_of
    for bench in benches:
        bench.workers.finish()


@pytest.fixture(scope="module")
def running_upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream(TeiForm(INFO)) as upstream:
        yield upstream


@pytest.fixture
def upstream(running_upstream: ScriptedUpstream) -> ScriptedUpstream:
    """An upstream that answers properly, and to which no request has come."""
    running_upstream.calm()
    return running_upstream


@pytest.fixture
def observer() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def connect(observer: RecordingObserver) -> Iterator[Connect]:
    """A maker of endpoints, whose connections are closed with the test."""
    endpoints: list[Endpoint] = []

    def connect(upstream: ScriptedUpstream | str, *, timeout: float = TIMEOUT, **options: Any) -> Endpoint:
        url = upstream if isinstance(upstream, str) else upstream.url
        dialect = options.pop("dialect", TeiDialect())
        endpoint = Endpoint(url, dialect, SystemClock(), connections=4, timeout=timeout, observer=observer, **options)
        endpoints.append(endpoint)
        return endpoint

    yield connect
    for endpoint in endpoints:
        endpoint.close()


@pytest.fixture
def endpoint(upstream: ScriptedUpstream, connect: Connect) -> Endpoint:
    return connect(upstream)


@pytest.fixture
def plain() -> Iterator[ScriptedUpstream]:
    """An upstream of one test only."""
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
def client_of() -> Iterator[Callable[..., Client]]:
    """A maker of adapters, whose sessions are closed with the test."""
    clients: list[Client] = []

    def client_of(url: str, **options: Any) -> Client:
        clients.append(Client(url, **options))
        return clients[-1]

    yield client_of
    for client in clients:
        client.session.close()
