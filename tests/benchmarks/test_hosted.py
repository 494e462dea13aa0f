"""The simulated hosted upstream: its calls are paced by the real governor, and what leaves stays within its limits."""

from __future__ import annotations

import pytest

from benchmarks.hosted import AccountOf, Hosted
from benchmarks.mixture import Group, Mixture, Share
from benchmarks.rate_limits import NONE, Rates
from benchmarks.simulate import LONG

SECONDS = 180.0
RATES = Rates(60, 100_000)
CLIENTS = Group("clients", 40, 0.002)


def run(account: AccountOf, group: Group = CLIENTS) -> tuple[Share, Hosted]:
    mixture = Mixture(LONG, [group], account=account)
    return mixture.run(SECONDS, begin=0.0)[group.name], mixture.hosted


def test_paced_calls_use_what_the_account_allows_and_no_client_gets_429() -> None:
    share, hosted = run(AccountOf(RATES))
    assert hosted.account.admitted >= 0.95 * SECONDS
    assert hosted.account.refused.total() == 0
    assert share.refused == 0


def test_calls_that_are_not_paced_run_into_429_and_the_clients_get_it() -> None:
    share, hosted = run(AccountOf(RATES, is_paced=False))
    assert hosted.account.refused.total() > 0
    assert share.refused > 0


def test_calls_get_fuller_where_they_are_scarce() -> None:
    share, hosted = run(AccountOf(RATES))
    assert share.rate * SECONDS / hosted.account.admitted > 0.9 * CLIENTS.clients


def test_a_refused_call_goes_back_to_the_queue_whole() -> None:
    """The upstream tells no limits, so the first minute ends in a refusal."""
    share, hosted = run(AccountOf(Rates(60, 100_000, headers=NONE)), Group("lists", 10, 0.002, items=7))
    assert hosted.account.refused["calls"] > 0
    assert share.refused == 0
    assert share.rate > 0


def test_settings_pace_an_upstream_that_tells_no_limits() -> None:
    _, hosted = run(AccountOf(Rates(60, 100_000, headers=NONE), (60, 100_000)))
    assert hosted.account.refused.total() == 0
    assert hosted.account.admitted == pytest.approx(SECONDS, rel=0.05)
