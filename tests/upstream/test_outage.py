"""What calls are told and how long they wait while no upstream takes batches depends on how the upstreams fail."""

from __future__ import annotations

import pytest

from batching.clock import NOW
from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamMisconfigured,
    UpstreamProtocolError,
    UpstreamUnavailable,
)
from tests.support.fakes import FakeUpstream
from upstream.member import Member
from upstream.outage import PROBE_GRACE, no_upstream, outage_of

THREW = UpstreamFailed("the upstream answered with status 500", words="poison", reason="status 500")
WRONG_KEY = UpstreamMisconfigured("the upstream answered with status 401", reason="status 401: ask http://10.1.2.3")
NONSENSE = UpstreamProtocolError("the upstream's reply is no HTTP")
DOWN = UpstreamUnavailable("refused", reason="10.1.2.3:80: connection refused")
BROKE = UpstreamBroke("reset")
#: The outage began at this moment, and calls wait so long from then on.
SINCE, WAIT = 100.0, 5.0


def ejected(error: UpstreamError, *, until: float = 101.0, tried_at: float | None = None, in_flight: int = 0) -> Member:
    """Return an upstream that is left out because its calls end like this."""
    member = Member(FakeUpstream(), 4, has_others=True)
    member.last_error = error
    member.breaker.failed(100.0, at_once=True)
    member.breaker.until = until
    member.in_flight = in_flight
    if tried_at is not None:
        member.breaker.probe()
        member.probed_at = tried_at
    return member


@pytest.mark.parametrize(
    ("members", "now", "ends_at"),
    [
        # They cannot be reached: calls wait from its beginning on.
        ([ejected(DOWN)], 100.0, 105.0),
        ([ejected(BROKE)], 103.0, 105.0),
        ([ejected(DOWN), ejected(DOWN)], 200.0, 105.0),
        ([ejected(DOWN), ejected(THREW)], 100.0, 105.0),
        # They answer, and badly.
        ([ejected(THREW)], 100.0, NOW),
        ([ejected(THREW), ejected(WRONG_KEY), ejected(NONSENSE)], 100.0, NOW),
        # One is being tried.
        ([ejected(THREW, tried_at=100.0)], 100.0, 100.0 + PROBE_GRACE),
        ([ejected(THREW), ejected(WRONG_KEY, tried_at=100.0)], 100.5, 100.0 + PROBE_GRACE),
        ([ejected(DOWN, tried_at=100.0)], 100.0, 105.0),
        ([ejected(DOWN, tried_at=104.5)], 104.9, 104.5 + PROBE_GRACE),
        ([ejected(DOWN, tried_at=200.0)], 200.5, 200.0 + PROBE_GRACE),
    ],
)
def test_calls_wait_until_then(members: list[Member], now: float, ends_at: float) -> None:
    assert outage_of(members, SINCE, WAIT, now).ends_at == ends_at


def test_calls_under_way_are_told_from_probes() -> None:
    members = [ejected(DOWN, in_flight=2), ejected(THREW, in_flight=1)]
    assert outage_of(members, SINCE, WAIT, 100.0).under_way == 3


@pytest.mark.parametrize(
    ("members", "status", "text"),
    [
        ([ejected(DOWN)], 503, "no upstream answers at present"),
        ([ejected(THREW), ejected(DOWN)], 503, "no upstream answers at present"),
        ([ejected(THREW)], 502, "every call to the upstream fails at present: status 500"),
        (
            [ejected(WRONG_KEY), ejected(THREW)],
            502,
            "every call to the upstream fails at present: the upstream answered with status 401",
        ),
        ([ejected(NONSENSE)], 502, "every call to the upstream fails at present: the upstream's reply is no HTTP"),
    ],
)
def test_clients_are_told_this(members: list[Member], status: int, text: str) -> None:
    error = no_upstream(members, 100.0)
    assert (error.status, error.message) == (status, text)


@pytest.mark.parametrize(
    ("untils", "now", "retry_after"),
    [([101.0], 100.0, 1.0), ([104.0, 108.0], 100.0, 4.0), ([104.0], 103.9, 1.0), ([104.0], 200.0, 1.0)],
)
def test_they_are_told_when_the_first_is_tried_again(untils: list[float], now: float, retry_after: float) -> None:
    members = [ejected(DOWN, until=until) for until in untils]
    assert no_upstream(members, now).retry_after == pytest.approx(retry_after)
