"""The monitor asks again which API its upstream speaks when it has been away, and when calls speak against the API."""

from __future__ import annotations

import pytest

from batching.errors import UpstreamMisconfigured
from tests.upstream.monitor_bench import URL, MonitorBench, ProbedUpstream
from upstream.dialects.plain import PlainDialect
from upstream.dialects.tei import TeiDialect
from upstream.health import Health
from upstream.spoken import Finding

REFUSED = Health(False, "connection refused")
NO_HEALTH = Health(False, "GET /health is answered with status 404", is_unknown=True)
NOT_FOUND = Health(False, "calls are answered with status 404", is_answered=True)
TEI = Finding(TeiDialect(), "speaks TEI's API")
PLAIN = Finding(PlainDialect(), "speaks a plain API of its own")


class SearchedUpstream(ProbedUpstream):
    """Tells what it speaks, by itself or by small calls; calls are answered well in that API only."""

    def __init__(self) -> None:
        super().__init__()
        self.speaks = ""
        self.finding, self.by_calls = TEI, TEI
        self.asked: list[bool] = []

    def find_out(self, timeout: float, *, may_call: bool = False) -> Finding | None:
        self.asked.append(may_call)
        found = self.by_calls if may_call else self.finding
        if found.dialect is not None:
            self.speaks = found.dialect.name
        return found

    def try_out(self, timeout: float) -> Health:
        self.trials.append(timeout)
        assert self.by_calls.dialect is not None
        return Health(True) if self.speaks == self.by_calls.dialect.name else NOT_FOUND


@pytest.fixture
def upstream() -> SearchedUpstream:
    return SearchedUpstream()


@pytest.fixture
def bench(upstream: SearchedUpstream) -> MonitorBench:
    bench = MonitorBench(upstream)
    bench.look()
    bench.clock.time += 1.0
    return bench


def test_one_that_comes_back_is_asked_before_it_is_tried_out(bench: MonitorBench, upstream: SearchedUpstream) -> None:
    bench.succeeds()
    bench.clock.time += 1.0
    upstream.says = REFUSED
    assert not bench.look()
    upstream.says, upstream.finding, upstream.by_calls = NO_HEALTH, PLAIN, PLAIN
    assert bench.look()
    assert upstream.speaks == "plain"
    assert bench.observer.dialects == [URL, URL]
    assert (upstream.asked, len(upstream.trials)) == ([False, False], 1)


def test_a_call_that_the_api_does_not_explain_has_it_asked_again(
    bench: MonitorBench, upstream: SearchedUpstream
) -> None:
    upstream.by_calls = PLAIN
    bench.fails(UpstreamMisconfigured("404", reason="status 404"))
    assert bench.look()
    assert (upstream.speaks, upstream.asked) == ("plain", [False, True])
    assert bench.observer.states == [(URL, True)]


def test_one_that_is_well_is_not_asked_again(bench: MonitorBench, upstream: SearchedUpstream) -> None:
    for _ in range(5):
        bench.succeeds()
        bench.clock.time += 10.0
        assert bench.look()
    assert upstream.asked == [False]


def test_a_success_before_the_api_was_taken_says_nothing_of_it(bench: MonitorBench, upstream: SearchedUpstream) -> None:
    bench.succeeds()
    bench.clock.time += 1.0
    upstream.says = REFUSED
    bench.look()
    upstream.says, upstream.finding = NO_HEALTH, Finding(PlainDialect(), "is taken for it", is_guess=True)
    bench.look()
    bench.clock.time += 1.0
    bench.look()
    assert upstream.asked == [False, False, True]
