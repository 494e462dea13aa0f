"""How the service is put together: who hears of what, and in which order it ends."""

from __future__ import annotations

import itertools
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from batching.errors import Unsupported, UpstreamBroke, UpstreamError, UpstreamUnavailable
from config import Settings
from tests.support.fakes import FakeUpstream
from tests.support.upstream import ScriptedUpstream, TeiForm
from upstream.breaker import Breaker
from upstream.dialects.dialect import UpstreamInfo
from wiring.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from batching import BatchKey, Item
    from upstream.health import Health


TEXTS = itertools.count()


class NamedUpstream(FakeUpstream):
    """A fake upstream with an address of its own that counts how often its health is asked."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.url = f"http://upstream-{number}"
        self.probes = 0
        self.said: UpstreamInfo | None = None

    def health(self, timeout: float) -> Health:
        self.probes += 1
        return super().health(timeout)

    def info(self, timeout: float) -> UpstreamInfo | None:
        return self.said


@pytest.fixture
def upstreams() -> list[NamedUpstream]:
    return [NamedUpstream(0), NamedUpstream(1)]


def running(upstreams: list[NamedUpstream], **settings: Any) -> Iterator[Service]:
    service = Service(Settings(batch_timing="fixed", max_wait_time_ms=0, **settings), endpoints=upstreams)
    service.batcher.start()
    yield service
    service.stop()


@pytest.fixture
def service(upstreams: list[NamedUpstream]) -> Iterator[Service]:
    """A service whose calls wait for no upstream that cannot be reached."""
    yield from running(upstreams, unavailable_wait_ms=0)


@pytest.fixture
def waiting_service(upstreams: list[NamedUpstream]) -> Iterator[Service]:
    yield from running(upstreams)


def ask_for_another_text(service: Service) -> tuple[int, Any]:
    return post(service, input=f"text {next(TEXTS)}")


def post(service: Service, **body: Any) -> tuple[int, Any]:
    response = service.app.test_client().post("/embed", json=body)
    return response.status_code, response.json


def test_a_failed_call_makes_the_monitor_of_its_upstream_look_again(
    service: Service, upstreams: list[NamedUpstream]
) -> None:
    assert service.readiness.check(1e9) == {each.url: True for each in upstreams}
    assert [each.probes for each in upstreams] == [1, 1]
    upstreams[0].failures = [UpstreamError("500")]
    assert post(service, input="a")[0] == 502
    assert service.readiness.check(1e9) == {each.url: True for each in upstreams}
    assert [each.probes for each in upstreams] == [1, 1]  # the last look is not 0.1 s old: it answers for a burst
    assert repr(service.pool).count("1 different failures in a row") == 1


def test_an_upstream_that_was_seen_to_answer_is_tried_at_once(service: Service, upstreams: list[NamedUpstream]) -> None:
    for each in upstreams:
        each.healthy = False
    assert not any(service.readiness.check(0.0).values())
    for each in upstreams:
        each.failures = [UpstreamBroke("gone")] * 100
    while repr(service.pool).count("<Breaker open") < 2:
        ask_for_another_text(service)
    assert post(service, input="a")[1]["error"] == "no upstream answers at present"
    for each in upstreams:
        each.failures, each.healthy = [], True
    assert all(service.readiness.check(0.0).values())
    assert post(service, input="a")[0] == 200


def test_what_an_upstream_says_of_itself_bounds_the_batches(service: Service, upstreams: list[NamedUpstream]) -> None:
    upstreams[1].said = UpstreamInfo("m", max_client_batch_size=3, max_concurrent_requests=5)
    service.readiness.check(0.0)
    assert service.capacity.batch_size == 3
    status, vectors = post(service, inputs=["a", "b", "c", "d", "e"])
    assert (status, len(vectors)) == (200, 5)
    assert sorted(size for each in upstreams for size in each.sizes) == [2, 3]


def test_each_upstream_has_its_own_batches_in_flight(service: Service) -> None:
    assert service.capacity.batches(0.0) == 2 * Settings().max_inflight_batches


def test_a_key_that_no_upstream_can_do_is_refused_with_the_reason(
    service: Service, upstreams: list[NamedUpstream]
) -> None:
    asked: list[BatchKey] = []

    def fit(key: BatchKey, items: Sequence[Item]) -> BatchKey:
        asked.append(key)
        if key.options.dimensions is not None:
            raise Unsupported("this kind of server cannot shorten its vectors", field="dimensions")
        return key

    upstreams[0].fit = fit  # type: ignore[method-assign]
    status, error = post(service, inputs="a", dimensions=8)
    assert (status, error["error"]) == (422, "this kind of server cannot shorten its vectors")
    assert error["error_type"] == "Validation"
    assert post(service, inputs="a")[0] == 200
    assert [key.options.dimensions for key in asked] == [8, None]
    assert sum(len(each.batches) for each in upstreams) == 1


def test_a_stop_is_told_step_by_step(upstreams: list[NamedUpstream], caplog: pytest.LogCaptureFixture) -> None:
    service = Service(Settings(), endpoints=upstreams)
    service.start()
    with caplog.at_level(logging.DEBUG):
        service.stop()
    assert [record.message.split()[0] for record in caplog.records if record.name == "wiring.service"] == [
        "stopping:",
        "stopped:",
    ]
    assert "closed" in repr(service.queue)


def test_an_ejection_needs_as_many_failures_as_the_breaker_says(
    service: Service, upstreams: list[NamedUpstream]
) -> None:
    upstreams[0].failures = [UpstreamError("500")] * Breaker.FAILURES
    upstreams[1].failures = [UpstreamError("500")] * Breaker.FAILURES
    statuses = [ask_for_another_text(service)[0] for _ in range(2 * Breaker.FAILURES + 1)]
    assert statuses == [502] * 2 * Breaker.FAILURES + [503]


def test_a_call_waits_where_no_upstream_can_be_reached(
    waiting_service: Service, upstreams: list[NamedUpstream]
) -> None:
    for each in upstreams:
        each.failures = [UpstreamUnavailable("refused")] * 3
    assert ask_for_another_text(waiting_service)[0] == 200


def test_without_a_time_to_wait_it_does_not(service: Service, upstreams: list[NamedUpstream]) -> None:
    for each in upstreams:
        each.failures = [UpstreamUnavailable("refused")] * 3
    assert ask_for_another_text(service)[0] == 503


def test_an_upstream_that_serves_another_model_is_not_ready() -> None:
    forms = [TeiForm({"model_id": model}) for model in ("one", "one", "another")]
    with ExitStack() as stack:
        urls = tuple(stack.enter_context(ScriptedUpstream(form)).url for form in forms)
        service = Service(Settings(inference_url=urls))
        stack.callback(service.stop)
        assert list(service.readiness.check(0.0).values()) == [True, True, False]
        assert service.readiness.reasons() == {urls[2]: f"it serves 'another', and {urls[0]} serves 'one'"}


def test_the_log_tells_what_fails_and_why(
    service: Service, upstreams: list[NamedUpstream], caplog: pytest.LogCaptureFixture
) -> None:
    service.readiness.check(0.0)
    upstreams[0].healthy = False
    service.readiness.check(-1.0)
    for each in upstreams:
        each.failures = [UpstreamUnavailable("refused", reason="connection refused")] * 3
    ask_for_another_text(service)
    lines = [record.getMessage() for record in caplog.records if record.name == "instrumentation.logs"]
    assert [line for line in lines if "not ready: down" in line and upstreams[0].url in line]
    assert [line for line in lines if "connection refused" in line and upstreams[1].url in line]


def test_every_upstream_has_its_series_before_anything_has_happened(
    service: Service, upstreams: list[NamedUpstream]
) -> None:
    scrape = service.app.test_client().get("/metrics").get_data(as_text=True)
    for each in upstreams:
        assert f'autobatch_upstream_calls_total{{result="ok",upstream="{each.url}"}} 0.0' in scrape
        assert f'autobatch_upstream_ejections_total{{upstream="{each.url}"}} 0.0' in scrape
        assert f'autobatch_upstream_up{{upstream="{each.url}"}} 0.0' in scrape
