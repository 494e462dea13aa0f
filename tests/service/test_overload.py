"""More clients than the service takes: the surplus is refused at once, each other client gets its own vector."""

from __future__ import annotations

import resource
import statistics
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.service import Service, embed_request, eventually
from tests.support.upstream import ScriptedUpstream, vector_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.answer import Answer

ADMITTED = 512
CLIENTS = 2000


@contextmanager
def open_files(count: int) -> Iterator[None]:
    """Let this process, and the services it starts, open so many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"the system allows {hard} open files, {count} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def service(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    settings: dict[str, Any] = {"inference_url": upstream.url, "max_concurrent_requests": ADMITTED}
    with open_files(3 * CLIENTS), Service(tmp_path_factory.mktemp("overload"), **settings) as service:
        yield service


def surplus_of(answers: list[Answer | None], texts: list[str]) -> list[Answer]:
    """Check that each client got its own vector or a proper 429; return the latter."""
    surplus = []
    for answer, text in zip(answers, texts, strict=True):
        assert answer is not None
        if answer.status == 200:
            assert answer.body == b"[" + vector_for(text) + b"]"
        else:
            assert answer.status == 429
            assert answer.headers["retry-after"] in {"1", "2", "3"}
            assert answer.json["error_type"] == "Overloaded"
            assert answer.json["request_id"] == answer.headers["x-request-id"]
            surplus.append(answer)
    return surplus


def test_of_2000_clients_at_once_the_surplus_is_told_so_while_the_others_are_served(
    service: Service, upstream: ScriptedUpstream
) -> None:
    texts = [f"text {number}" for number in range(CLIENTS)]
    upstream.delay = 0.3
    medians = []
    try:
        for _ in range(3):
            surplus = surplus_of(service.crowd([embed_request(text) for text in texts]), texts)
            assert CLIENTS - 2 * ADMITTED <= len(surplus) <= CLIENTS - ADMITTED
            medians.append(statistics.median(answer.took for answer in surplus))
    finally:
        upstream.delay = 0.0
    # 30 to 75 ms on two slow cores that this test's clients share: a refusal costs the main loop 35 us.
    assert statistics.median(medians) < 0.1


def test_a_full_service_refuses_within_milliseconds(service: Service, upstream: ScriptedUpstream) -> None:
    upstream.gate.clear()
    inside = [service.connect() for _ in range(ADMITTED)]
    try:
        for number, connection in enumerate(inside):
            connection.sendall(embed_request(f"inside {number}"))
        calls = f"autobatch_calls_in_progress {ADMITTED}.0"
        eventually(lambda: calls in service.get("/metrics").body.decode())
        texts = [f"text {number}" for number in range(300)]
        surplus = surplus_of(service.crowd([embed_request(text) for text in texts], gap=0.002), texts)
        assert len(surplus) == len(texts)
        assert statistics.median(answer.took for answer in surplus) < 0.05
        assert service.get("/health/live").took < 0.5
        assert service.get("/health/ready").status == 200
        refused = service.embed("a", {"X-Request-Id": "my-own"})
        assert (refused.status, refused.headers["x-request-id"]) == (429, "my-own")
    finally:
        upstream.gate.set()
        for connection in inside:
            connection.close()
    eventually(lambda: service.embed("room again").status == 200)


def test_what_was_refused_is_counted(service: Service) -> None:
    counted: Counter[str] = Counter()
    for line in service.get("/metrics").body.decode().splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("autobatch_http_request_duration_seconds_count") and 'status="429"' in name:
            counted[name] = int(float(value))
    assert sum(counted.values()) >= CLIENTS - 2 * ADMITTED + 300
